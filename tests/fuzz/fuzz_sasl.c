/* SPDX-License-Identifier: ISC
 *
 * First byte: the mechanism and whether an initial response comes; then lines.
 */
#include "net/sasl.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct span rest = span_of(data, size);
	struct sasl s;
	struct fail why;
	enum sasl_result r;
	const struct sasl_mechanism *m;

	if (size == 0)
		return 0;
	m = sasl_find(data[0] & 1 ? SPAN("PLAIN") : SPAN("LOGIN"));
	rest = span_from(rest, 1);
	sasl_init(&s);
	r = data[0] & 2 ? sasl_begin(&s, m, true, span_cut(&rest, '\n'), &why) : sasl_begin(&s, m, false, SPAN_NONE, &why);
	for (int i = 0; i < 4 && r == SASL_CHALLENGE; i++)
		r = sasl_step(&s, span_cut(&rest, '\n'), &why);
	if (r == SASL_CHECK && (s.user.n == 0 || s.password.n == 0 || s.user.n > SASL_NAME_MAX || s.password.n > SASL_PASSWORD_MAX))
		__builtin_trap();
	sasl_end(&s);
	return 0;
}
