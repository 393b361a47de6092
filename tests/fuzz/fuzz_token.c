/* SPDX-License-Identifier: ISC
 *
 * An issuer's answer: whatever it is, a login without blanks and control characters comes of it, or none.
 */
#include <string.h>

#include "daemons/tokend/reply.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct reply_want want = { SPAN("a.username"), SPAN("mail"), SPAN("us") };
	struct reply r;

	if (size && data[0] & 1)
		want = (struct reply_want){ SPAN("username"), SPAN_NONE, SPAN_NONE };
	reply_read(span_of(size ? data + 1 : data, size ? size - 1 : 0), &want, 1000, &r);
	if ((r.result == TOKEN_GOOD) != (r.user[0] != '\0') || (r.result == TOKEN_GOOD) == (r.why[0] != '\0'))
		__builtin_trap();
	for (const char *c = r.user; *c; c++)
		if ((unsigned char)*c <= ' ' || *c == 0x7f)
			__builtin_trap();
	return 0;
}
