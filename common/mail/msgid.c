/* SPDX-License-Identifier: ISC */
#include "mail/msgid.h"

enum { MSGID_MAX = 998 };

/* Until ">" outside quotes; false: there is none, or it is no id. */
static bool
take(struct span *rest, struct buf *out)
{
	size_t before = buf_len(out);
	bool quoted = false, at = false;

	for (size_t i = 0; i < rest->n && i < MSGID_MAX; i++) {
		char c = rest->p[i];

		if (c == '>' && !quoted) {
			*rest = span_from(*rest, i + 1);
			if (at)
				return buf_ok(out);
			break;
		}
		if (c == '<' && !quoted) /* it was not the beginning of one */
			break;
		if (c == '"') {
			quoted = !quoted;
			continue;
		}
		if (c == '\\' && quoted && i + 1 < rest->n)
			c = rest->p[++i];
		at = at || c == '@';
		if (c > ' ' && c != 0x7f)
			buf_putc(out, c);
	}
	buf_cut(out, before);
	return false;
}

bool
msgid_next(struct span *rest, struct buf *out)
{
	size_t open;

	while ((open = span_chr(*rest, '<')) != SIZE_MAX) {
		*rest = span_from(*rest, open + 1);
		if (take(rest, out))
			return true;
	}
	return false;
}
