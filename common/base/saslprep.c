/* SPDX-License-Identifier: ISC
 *
 * The library's own way from text to text begins anew with a little more room until there is enough, which a hostile
 * text makes it do a hundred times; here there is enough at once.
 */
#include "base/saslprep.h"

#include <stdlib.h>
#include <string.h>
#include <stringprep.h>

enum { GROWS = 18 }; /* code points for one, at most: U+FDFA by NFKC */

static bool
is_ascii(struct span text, bool *clean)
{
	*clean = true;
	for (size_t i = 0; i < text.n; i++) {
		unsigned char c = (unsigned char)text.p[i];

		if (c >= 0x80)
			return false;
		*clean = *clean && c >= ' ' && c != 0x7f; /* RFC 4013 2.3: no controls */
	}
	return true;
}

static bool
prepare(uint32_t *points, size_t n, size_t room, struct buf *out)
{
	size_t bytes = 0;
	char *made;

	if (stringprep_4i(points, &n, room, 0, stringprep_saslprep) != STRINGPREP_OK || n == 0)
		return false;
	made = stringprep_ucs4_to_utf8(points, (ssize_t)n, NULL, &bytes);
	if (made)
		buf_put(out, span_of(made, bytes));
	if (made)
		explicit_bzero(made, bytes);
	free(made);
	return made && buf_ok(out);
}

bool
saslprep(struct span text, struct buf *out)
{
	char given[SASLPREP_MAX + 1];
	uint32_t *points, *larger;
	size_t n = 0, room;
	bool clean, ok = false;

	if (text.n == 0 || text.n > SASLPREP_MAX)
		return false;
	if (is_ascii(text, &clean)) {
		if (clean)
			buf_put(out, text);
		return clean && buf_ok(out);
	}
	if (!span_cstr(text, given, sizeof(given)) || strlen(given) != text.n)
		return false;
	points = stringprep_utf8_to_ucs4(given, -1, &n); /* NULL: not UTF-8 */
	room = n * GROWS + 1;
	larger = points ? calloc(room, sizeof(*larger)) : NULL;
	if (larger) {
		memcpy(larger, points, n * sizeof(*points));
		ok = prepare(larger, n, room, out);
		explicit_bzero(larger, room * sizeof(*larger));
	}
	if (points)
		explicit_bzero(points, n * sizeof(*points));
	explicit_bzero(given, sizeof(given));
	free(points);
	free(larger);
	return ok;
}

struct span
saslprep_or_given(struct span text, struct buf *out)
{
	size_t had = buf_len(out);

	return saslprep(text, out) ? span_from(buf_span(out), had) : text;
}
