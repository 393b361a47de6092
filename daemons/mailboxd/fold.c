/* SPDX-License-Identifier: ISC */
#include "daemons/mailboxd/fold.h"

#include "mail/charset.h"

/* Upper-case letters lo..hi are `step` apart and become themselves + add. */
static const struct {
	uint32_t lo, hi, step, add;
} cases[] = {
	{ 0x00c0, 0x00d6, 1, 32 }, /* Latin-1 */
	{ 0x00d8, 0x00de, 1, 32 },
	{ 0x0100, 0x012e, 2, 1 },  /* Latin Extended-A, where pairs begin even */
	{ 0x0132, 0x0136, 2, 1 },
	{ 0x0139, 0x0147, 2, 1 },  /* and odd */
	{ 0x014a, 0x0176, 2, 1 },
	{ 0x0179, 0x017d, 2, 1 },
	{ 0x0386, 0x0386, 1, 38 }, /* Greek */
	{ 0x0388, 0x038a, 1, 37 },
	{ 0x0391, 0x03a1, 1, 32 },
	{ 0x03a3, 0x03ab, 1, 32 },
	{ 0x0400, 0x040f, 1, 80 }, /* Cyrillic */
	{ 0x0410, 0x042f, 1, 32 },
	{ 0x0460, 0x0480, 2, 1 },
	{ 0x048a, 0x04be, 2, 1 },
	{ 0x04d0, 0x052e, 2, 1 },
	{ 0x1e00, 0x1e94, 2, 1 },  /* Latin Extended Additional */
	{ 0x1ea0, 0x1efe, 2, 1 },
};

static uint32_t
fold_char(uint32_t c)
{
	for (size_t i = 0; i < sizeof cases / sizeof *cases && cases[i].lo <= c; i++)
		if (c <= cases[i].hi && (c - cases[i].lo) % cases[i].step == 0)
			return c + cases[i].add;
	return c;
}

void
fold_text(struct span utf8, struct buf *out)
{
	char *room = buf_room(out, utf8.n + utf8.n / 2 + 8);
	size_t n = 0;

	if (!room)
		return;
	for (size_t at = 0; at < utf8.n;) {
		uint32_t c;
		size_t len;
		struct buf piece = { .mem = room, .end = n, .size = utf8.n + utf8.n / 2 + 8, .cap = utf8.n + utf8.n / 2 + 8 };

		if ((unsigned char)utf8.p[at] < 0x80) {
			room[n++] = ascii_lower(utf8.p[at++]);
			continue;
		}
		len = utf8_next(span_from(utf8, at), &c);
		if (!len) { /* not UTF-8: as it is */
			room[n++] = utf8.p[at++];
			continue;
		}
		utf8_put(&piece, fold_char(c));
		n = piece.end;
		at += len;
	}
	buf_added(out, n);
}
