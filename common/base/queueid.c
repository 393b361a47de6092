/* SPDX-License-Identifier: ISC */
#include "base/queueid.h"

#include <string.h>

static const char alphabet[] = "0123456789ABCDEFGHJKMNPQRSTVWXYZ";

_Static_assert(sizeof(alphabet) == 33, "32 characters");

struct span
queueid_text(uint64_t id, char text[QUEUEID_TEXT + 1])
{
	char digits[QUEUEID_TEXT];
	size_t n = 0;

	do {
		digits[n++] = alphabet[id & 31];
		id >>= 5;
	} while (id);
	for (size_t i = 0; i < n; i++)
		text[i] = digits[n - 1 - i];
	text[n] = '\0';
	return span_of(text, n);
}

bool
queueid_parse(struct span s, uint64_t *id)
{
	uint64_t v = 0;

	if (s.n == 0 || s.n > QUEUEID_TEXT)
		return false;
	for (size_t i = 0; i < s.n; i++) {
		const char *at = memchr(alphabet, ascii_upper(s.p[i]), 32);

		if (!at || v >> 59)
			return false;
		v = v << 5 | (uint64_t)(at - alphabet);
	}
	*id = v;
	return v > 0 && (s.n == 1 || s.p[0] != '0');
}

uint64_t
queueid_new(uint64_t *last, int64_t unix_us, unsigned instance)
{
	uint64_t id = (uint64_t)unix_us << 4 | (instance & (QUEUEID_INSTANCES - 1));

	if (id <= *last) /* the same microsecond, or the clock went back */
		id = ((*last >> 4) + 1) << 4 | (instance & (QUEUEID_INSTANCES - 1));
	*last = id;
	return id;
}
