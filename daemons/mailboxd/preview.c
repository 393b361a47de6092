/* SPDX-License-Identifier: ISC */
#include "daemons/mailboxd/preview.h"

#include "mail/charset.h"

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

/* What stands between tags; not what scripts and styles hold. */
static void
strip(struct span html, struct buf *out)
{
	static const struct span silent[] = { SPAN_INIT("script"), SPAN_INIT("style"), SPAN_INIT("head"), SPAN_INIT("title") };

	while (html.n) {
		size_t open = span_chr(html, '<'), close;
		struct span tag;

		buf_put(out, span_sub(html, 0, open));
		if (open == SIZE_MAX)
			return;
		html = span_from(html, open + 1);
		close = span_chr(html, '>');
		tag = span_sub(html, 0, close);
		html = close == SIZE_MAX ? SPAN_NONE : span_from(html, close + 1);
		buf_putc(out, ' ');
		for (size_t i = 0; i < sizeof silent / sizeof *silent; i++) {
			if (!span_casestarts(tag, silent[i]) || (tag.n > silent[i].n && ascii_alnum(tag.p[silent[i].n])))
				continue;
			/* to its end tag: at "</" that this name follows */
			while (html.n && !(span_starts(html, SPAN("</")) && span_casestarts(span_from(html, 2), silent[i]))) {
				size_t next = span_chr(span_from(html, 1), '<');

				html = next == SIZE_MAX ? SPAN_NONE : span_from(html, next + 1);
			}
			break;
		}
	}
}

static const struct {
	struct span name, text;
} entities[] = {
	{ SPAN_INIT("&nbsp;"), SPAN_INIT(" ") },
	{ SPAN_INIT("&amp;"), SPAN_INIT("&") },
	{ SPAN_INIT("&lt;"), SPAN_INIT("<") },
	{ SPAN_INIT("&gt;"), SPAN_INIT(">") },
	{ SPAN_INIT("&quot;"), SPAN_INIT("\"") },
	{ SPAN_INIT("&#39;"), SPAN_INIT("'") },
};

static struct span
take_entity(struct span *s)
{
	for (size_t i = 0; i < sizeof entities / sizeof *entities; i++)
		if (span_casestarts(*s, entities[i].name)) {
			*s = span_from(*s, entities[i].name.n);
			return entities[i].text;
		}
	*s = span_from(*s, 1);
	return SPAN("&");
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
		if (html && s.p[0] == '&')
			c = take_entity(&s);
		else
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
		strip(buf_span(&text), &bare);
	squeeze(buf_span(plain ? &text : &bare), !plain, out);
	buf_free(&text);
	buf_free(&bare);
}
