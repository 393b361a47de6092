/* SPDX-License-Identifier: ISC */
#include "daemons/mailboxd/preview.h"

#include "mail/charset.h"
#include "mail/html.h"

enum { RAW_MAX = 32 << 10 }; /* octets looked at */

/* The first text part, a plain one before one of HTML; not in attached messages. */
static const struct mime_part *
find_text(const struct mime_part *p, struct span subtype)
{
	const struct mime_part *found = NULL;

	if (p->kind == MIME_LEAF)
		return mime_is(p, SPAN("text"), subtype) && !span_caseeq(p->disposition, SPAN("attachment")) ? p : NULL;
	if (p->kind == MIME_MESSAGE)
		return NULL;
	for (const struct mime_part *c = p->children; c && !found; c = c->next)
		found = find_text(c, subtype);
	return found;
}

static void
decode(struct span message, const struct mime_part *p, struct buf *out)
{
	struct span charset = SPAN_NONE, body = span_sub(mime_span(message, &p->body), 0, RAW_MAX);
	struct buf bytes;

	buf_init(&bytes, RAW_MAX * 2);
	(void)param_raw(&p->params, SPAN("charset"), &charset);
	if (p->encoding == ENCODING_QP || p->encoding == ENCODING_BASE64) {
		(void)encoding_decode(p->encoding, body, &bytes);
		body = buf_span(&bytes);
	}
	if (!charset_to_utf8(charset.n ? charset : SPAN("utf-8"), body, out))
		(void)charset_to_utf8(SPAN("iso-8859-1"), body, out);
	buf_free(&bytes);
}

/* Blanks and control characters run together, quoted lines left out. */
static void
squeeze(struct span s, bool html, struct buf *out)
{
	unsigned chars = 0;
	bool gap = false, line = true;

	while (s.n && chars < PREVIEW_CHARS) {
		size_t n = utf8_next(s, NULL);
		struct span c = span_sub(s, 0, n ? n : 1);

		if (line && !html && s.p[0] == '>') {
			size_t lf = span_chr(s, '\n');

			s = lf == SIZE_MAX ? SPAN_NONE : span_from(s, lf + 1);
			continue;
		}
		line = s.p[0] == '\n';
		if ((unsigned char)s.p[0] <= ' ' || s.p[0] == 0x7f) {
			gap = chars > 0;
			s = span_from(s, 1);
			continue;
		}
		s = span_from(s, c.n);
		if (!n)
			continue;
		if (gap && ++chars < PREVIEW_CHARS)
			buf_putc(out, ' ');
		gap = false;
		chars++;
		buf_put(out, c);
	}
}

void
preview_put(struct span message, const struct mime_part *root, struct buf *out)
{
	const struct mime_part *plain = find_text(root, SPAN("plain")), *part = plain ? plain : find_text(root, SPAN("html"));
	struct buf text, bare;

	if (!part)
		return;
	buf_init(&text, RAW_MAX * 4);
	buf_init(&bare, RAW_MAX * 4);
	decode(message, part, &text);
	if (!plain)
		html_text(buf_span(&text), &bare);
	squeeze(buf_span(plain ? &text : &bare), !plain, out);
	buf_free(&text);
	buf_free(&bare);
}
