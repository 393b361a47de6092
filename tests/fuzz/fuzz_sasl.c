/* SPDX-License-Identifier: ISC
 *
 * First byte: the mechanism, whether an initial response comes, and what the channel is like; then lines.
 */
#include "net/oauth.h"
#include "net/sasl.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static bool
binding(void *arg, struct span type, struct buf *out)
{
	(void)arg;
	buf_puts(out, "EEEE");
	return span_eq(type, SPAN("tls-exporter"));
}

/* As authd and its front would go on. */
static enum sasl_result
answer(struct sasl *s, enum sasl_result r, struct fail *why)
{
	struct buf message;

	if (r == SASL_PROVE)
		return sasl_proved(s, SPAN("0123456789abcdef0123456789abcdef"), why);
	if (r == SASL_TOKEN) {
		if (s->password.n == 0 || s->password.n > OAUTH_TOKEN_MAX || s->user.n > SASL_NAME_MAX || !s->offer.tls)
			__builtin_trap();
		return sasl_refused(s, SPAN("{\"status\":\"invalid_token\"}"), why);
	}
	if (r != SASL_BEGIN)
		return r;
	if (s->user.n == 0 || s->user.n > SASL_NAME_MAX || s->nonce.n == 0 || s->nonce.n > SCRAM_NONCE_MAX || s->bare.n > SCRAM_BARE_MAX)
		__builtin_trap();
	buf_init(&message, 2000);
	buf_printf(&message, "r=%.*sXYZ,s=c2FsdA==,i=4096", SPAN_ARG(s->nonce));
	r = sasl_challenged(s, buf_span(&message), why);
	buf_free(&message);
	if (r != SASL_CHALLENGE)
		__builtin_trap();
	return r;
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const struct span names[] = { SPAN_INIT("LOGIN"), SPAN_INIT("PLAIN"), SPAN_INIT("SCRAM-SHA-256"), SPAN_INIT("SCRAM-SHA-256-PLUS"), SPAN_INIT("EXTERNAL"), SPAN_INIT("OAUTHBEARER"),
		SPAN_INIT("XOAUTH2"), SPAN_INIT("EXTERNAL") };
	struct sasl_offer offer = { .mechanisms = (1u << SASL_MECHANISM_COUNT) - 1, .closed = true };
	struct span rest = span_of(data, size);
	struct sasl s;
	struct fail why;
	enum sasl_result r;
	const struct sasl_mechanism *m;

	if (size == 0)
		return 0;
	m = sasl_find(names[(data[0] & 1) | (data[0] & 4) >> 1 | (data[0] & 16) >> 2]);
	if (data[0] & 8)
		offer.binding = binding;
	offer.certificate = offer.tls = true;
	rest = span_from(rest, 1);
	sasl_init(&s);
	r = data[0] & 2 ? sasl_begin(&s, m, &offer, true, span_cut(&rest, '\n'), &why) : sasl_begin(&s, m, &offer, false, SPAN_NONE, &why);
	for (int i = 0; i < 6 && (r = answer(&s, r, &why)) == SASL_CHALLENGE; i++)
		r = sasl_step(&s, span_cut(&rest, '\n'), &why);
	if (r == SASL_CHECK && (s.user.n == 0 || s.password.n == 0 || s.user.n > SASL_NAME_MAX || s.password.n > SASL_PASSWORD_MAX))
		__builtin_trap();
	if (r == SASL_IDENTIFY && s.authzid.n > SASL_NAME_MAX)
		__builtin_trap();
	sasl_end(&s);
	return 0;
}
