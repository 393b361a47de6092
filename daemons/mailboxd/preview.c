/* SPDX-License-Identifier: ISC */
#include "daemons/mailboxd/preview.h"

#include <string.h>

#include "mail/charset.h"
#include "mail/html.h"

enum {
	RAW_MAX = 32 << 10, /* octets looked at, */
	RAW_FIRST = 1024,   /* where not so many of plain text are enough */
	CHAR_MAX = 4,
};

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

/* Of no more than n octets; where those are not all, to the last line's end, so that no character is cut.
 * False: there is none. */
static bool
decode(struct span message, const struct mime_part *p, size_t n, struct buf *out)
{
	struct span charset = SPAN_NONE, body = mime_span(message, &p->body);
	bool cut = body.n > n, ok = true;
	struct buf bytes;

	body = span_sub(body, 0, n);
	buf_init(&bytes, RAW_MAX * 2);
	(void)param_raw(&p->params, SPAN("charset"), &charset);
	if (p->encoding == ENCODING_QP || p->encoding == ENCODING_BASE64) {
		(void)encoding_decode(p->encoding, body, &bytes);
		body = buf_span(&bytes);
	}
	if (cut && n < RAW_MAX) {
		size_t lf = span_rchr(body, '\n');

		ok = lf != SIZE_MAX && !span_casestarts(charset, SPAN("utf-16")) && !span_casestarts(charset, SPAN("utf-32")) && !span_casestarts(charset, SPAN("ucs"));
		body = span_sub(body, 0, lf + 1);
	}
	if (ok && !charset_to_utf8(charset.n ? charset : SPAN("utf-8"), body, out))
		(void)charset_to_utf8(SPAN("iso-8859-1"), body, out);
	buf_free(&bytes);
	return ok;
}

/* Blanks and control characters run together, quoted lines left out. False: more could follow. */
static bool
squeeze(struct span s, bool html, struct buf *out)
{
	char text[PREVIEW_CHARS * CHAR_MAX];
	size_t to = 0, n;
	unsigned chars = 0;
	bool gap = false, line = true;

	for (size_t at = 0; at < s.n && chars < PREVIEW_CHARS; at += n) {
		unsigned char first = (unsigned char)s.p[at];

		if (line && !html && first == '>') {
			size_t lf = span_chr(span_from(s, at), '\n');

			n = lf == SIZE_MAX ? s.n - at : lf + 1;
			continue;
		}
		line = first == '\n';
		n = first < 0x80 ? 1 : utf8_next(span_from(s, at), NULL);
		if (first <= ' ' || first == 0x7f) {
			gap = chars > 0;
			continue;
		}
		if (!n) {
			n = 1;
			continue;
		}
		if (gap && ++chars < PREVIEW_CHARS)
			text[to++] = ' ';
		gap = false;
		chars++;
		for (size_t i = 0; i < n; i++)
			text[to++] = s.p[at + i];
	}
	buf_put(out, span_of(text, to));
	return chars >= PREVIEW_CHARS;
}

void
preview_put(struct span message, const struct mime_part *root, struct buf *out)
{
	const struct mime_part *plain = find_text(root, SPAN("plain")), *part = plain ? plain : find_text(root, SPAN("html"));
	size_t before = buf_len(out);
	struct buf text, bare;
	bool enough;

	if (!part)
		return;
	buf_init(&text, RAW_MAX * 4);
	enough = plain && decode(message, part, RAW_FIRST, &text) && squeeze(buf_span(&text), false, out);
	if (!enough) {
		buf_init(&bare, RAW_MAX * 4);
		buf_reset(&text);
		buf_cut(out, before);
		(void)decode(message, part, RAW_MAX, &text);
		if (!plain)
			html_text(buf_span(&text), &bare);
		(void)squeeze(buf_span(plain ? &text : &bare), !plain, out);
		buf_free(&bare);
	}
	buf_free(&text);
}
