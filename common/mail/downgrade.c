/* SPDX-License-Identifier: ISC */
#include "mail/downgrade.h"

#include <string.h>

#include "mail/charset.h"
#include "mail/encoding.h"
#include "mail/header.h"
#include "mail/limits.h"
#include "mail/mime.h"
#include "mail/status.h"

enum { LINE_TEXT = 998 }; /* RFC 5322 2.1.1 */

struct work {
	struct buf *out;
	struct span message;
	unsigned what; /* DOWNGRADE_ bits */
	size_t copied; /* bytes of the message put out, or replaced */
};

/* Lines of at most max bytes, each but the last with CRLF, and no NUL. */
static bool
in_lines(struct span s, size_t max)
{
	if (s.n && memchr(s.p, '\0', s.n))
		return false;
	while (s.n) {
		size_t lf = span_chr(s, '\n');
		struct span line = span_sub(s, 0, lf == SIZE_MAX ? s.n : lf);
		size_t cr = span_chr(line, '\r');

		if (line.n - (cr != SIZE_MAX) > max)
			return false;
		if (lf == SIZE_MAX ? cr != SIZE_MAX : line.n == 0 || cr != line.n - 1)
			return false;
		s = span_from(s, line.n + 1);
	}
	return true;
}

static bool
is_binary(const struct work *w, struct span s)
{
	return w->what & DOWNGRADE_BINARY && !in_lines(s, LINE_TEXT);
}

/* It has what must go. */
static bool
is_unfit(const struct work *w, struct span s)
{
	return (w->what & DOWNGRADE_8BIT && utf8_has_8bit(s)) || is_binary(w, s);
}

/* Lines between parts (preamble, epilogue) mean nothing: those that do not fit are emptied, but what may be a boundary
 * stays. */
static void
copy_to(struct work *w, size_t to, bool header)
{
	struct span s = span_sub(w->message, w->copied, to > w->copied ? to - w->copied : 0);

	w->copied += s.n;
	if (header || !is_unfit(w, s)) {
		buf_put(w->out, s);
		return;
	}
	while (s.n) {
		size_t lf = span_chr(s, '\n');
		struct span line = span_sub(s, 0, lf == SIZE_MAX ? s.n : lf + 1);

		s = span_from(s, line.n);
		if (is_unfit(w, line) && !span_starts(line, SPAN("--")))
			line = lf == SIZE_MAX ? SPAN_NONE : SPAN("\r\n");
		buf_put(w->out, line);
	}
}

static bool
is_encoding(const struct header_field *f, void *arg)
{
	(void)arg;
	return span_caseeq(f->name, SPAN("Content-Transfer-Encoding"));
}

/* The part's header with another encoding, and the empty line. */
static void
put_header(struct work *w, const struct mime_part *part, enum encoding encoding)
{
	struct span header = mime_span(w->message, &part->header);
	struct header_field f;
	size_t n;

	copy_to(w, part->header.at, false);
	(void)header_size(header, &n);
	header = span_sub(header, 0, n);
	header_filter(w->out, header, is_encoding, NULL);
	if (part->envelope && !header_find(header, SPAN("MIME-Version"), &f))
		buf_puts(w->out, "MIME-Version: 1.0\r\n");
	if (part->kind == MIME_LEAF && !part->type_given) /* RFC 1428 3 */
		buf_puts(w->out, "Content-Type: text/plain; charset=unknown-8bit\r\n");
	buf_printf(w->out, "Content-Transfer-Encoding: %s\r\n\r\n", encoding_name(encoding));
	w->copied = part->header.at + part->header.n;
}

/* A line of quoted-printable with stray bytes, which are escaped; no boundary may come of it. */
static void
put_qp_line(struct work *w, struct span line)
{
	if (span_starts(line, SPAN("--"))) {
		buf_puts(w->out, "=2D");
		line = span_from(line, 1);
	}
	for (size_t i = 0; i < line.n; i++) {
		unsigned char c = (unsigned char)line.p[i];

		if (c & 0x80)
			buf_printf(w->out, "=%02X", c);
		else
			buf_putc(w->out, (char)c);
	}
}

/* A line of base64 with stray bytes: left out, with all else that decoders pass over (RFC 2045 6.8), so that what stays
 * is neither a boundary nor a field. */
static void
put_base64_line(struct work *w, struct span line)
{
	for (size_t i = 0; i < line.n; i++) {
		char c = line.p[i];

		if (ascii_alnum(c) || c == '+' || c == '/' || c == '=' || c == '\r' || c == '\n')
			buf_putc(w->out, c);
	}
}

/* Already encoded, but with stray bytes. */
static void
put_strays(struct work *w, struct span body, bool qp)
{
	while (body.n) {
		size_t lf = span_chr(body, '\n');
		struct span line = span_sub(body, 0, lf == SIZE_MAX ? body.n : lf + 1);

		body = span_from(body, line.n);
		if (!utf8_has_8bit(line))
			buf_put(w->out, line);
		else if (qp)
			put_qp_line(w, line);
		else
			put_base64_line(w, line);
	}
}

/* The header as it is. One that no empty line ends gets it where what follows may become a field: those of a message
 * inside, or a line whose stray bytes go. */
static void
copy_header(struct work *w, const struct mime_part *part, bool eightbit)
{
	struct span header = mime_span(w->message, &part->header);
	size_t n;

	copy_to(w, part->header.at, false);
	copy_to(w, part->header.at + part->header.n, true);
	if (eightbit && part->kind != MIME_MULTIPART && header_size(header, &n) == n)
		buf_puts(w->out, "\r\n");
}

static void
put_leaf(struct work *w, const struct mime_part *part)
{
	struct span body = mime_span(w->message, &part->body);
	struct encoder e;

	if (part->encoding == ENCODING_QP || part->encoding == ENCODING_BASE64) {
		copy_header(w, part, true);
		put_strays(w, body, part->encoding == ENCODING_QP);
	} else {
		encoder_init(&e, mime_is(part, SPAN("text"), SPAN_NONE) ? ENCODING_QP : ENCODING_BASE64);
		put_header(w, part, e.kind);
		encoder_feed(&e, body, w->out);
		encoder_end(&e, w->out);
	}
	w->copied = part->body.at + part->body.n;
}

/* Its boundary stands nowhere in it: what it holds is shown as it is, or as nothing. */
static bool
has_no_parts(const struct mime_part *part)
{
	return part->kind == MIME_MULTIPART && part->nchildren == 1 && !part->children->header.n && !part->children->body.n;
}

/* RFC 1847 2.1: with all that is in it, down to the labels. */
static bool
is_sealed(const struct mime_part *part)
{
	return mime_is(part, SPAN("multipart"), SPAN("signed")) || mime_is(part, SPAN("multipart"), SPAN("encrypted"));
}

static bool
must_not_change(const struct mime_part *part)
{
	return is_sealed(part) || has_no_parts(part) ||
	       (part->kind == MIME_LEAF &&
		(mime_is(part, SPAN("message"), SPAN_NONE) || mime_is(part, SPAN("multipart"), SPAN_NONE)));
}

/* Said to be encoded, but binary: what it stands for is anybody's guess. */
static bool
is_broken(const struct work *w, const struct mime_part *part, struct span body)
{
	return (part->encoding == ENCODING_QP || part->encoding == ENCODING_BASE64) && is_binary(w, body);
}

/* The label of a part whose content stays, as its body or what is within it will be; UNKNOWN: the one it has. */
static enum encoding
relabel(const struct work *w, const struct mime_part *part, struct span body)
{
	bool labelled = part->encoding == ENCODING_8BIT || part->encoding == ENCODING_BINARY;

	if (part->kind != MIME_LEAF && labelled && w->what & DOWNGRADE_8BIT)
		return ENCODING_7BIT;
	if (part->encoding == ENCODING_BINARY && w->what & DOWNGRADE_BINARY)
		return part->kind != MIME_LEAF || utf8_has_8bit(body) ? ENCODING_8BIT : ENCODING_7BIT;
	return ENCODING_UNKNOWN;
}

static bool
put_part(struct work *w, const struct mime_part *part, struct fail *why)
{
	struct span body = mime_span(w->message, &part->body);
	bool unfit = is_unfit(w, body);
	enum encoding label;

	if (unfit) {
		if (must_not_change(part) || is_broken(w, part, body))
			return fail_set(why, FAIL_PERM, STATUS_CONVERSION_REQUIRED,
					"a %.*s/%.*s part with %s content cannot be converted", SPAN_ARG(part->type),
					SPAN_ARG(part->subtype), is_binary(w, body) ? "binary" : "8-bit");
		if (part->kind == MIME_LEAF) {
			put_leaf(w, part);
			return true;
		}
	}
	label = relabel(w, part, body);
	if (label != ENCODING_UNKNOWN)
		put_header(w, part, label);
	else
		copy_header(w, part, unfit);
	if (part->kind == MIME_LEAF) { /* the end of its last line may be none, which is another matter */
		buf_put(w->out, body);
		w->copied = part->body.at + part->body.n;
	}
	return true;
}

/* The part behind this one in the order of the message; those of a sealed one go with it. */
static const struct mime_part *
next_part(const struct mime_part *part)
{
	if (part->children && !is_sealed(part))
		return part->children;
	while (part && !part->next)
		part = part->parent;
	return part ? part->next : NULL;
}

bool
downgrade(struct buf *out, struct span message, unsigned what, struct arena *arena, struct fail *why)
{
	struct work w = { .out = out, .message = message, .what = what };
	size_t from = buf_len(out);
	const struct mime_part *root = mime_parse(message, arena);
	unsigned parts = 0;

	for (const struct mime_part *it = root; it && !arena->failed; it = next_part(it)) {
		if (++parts >= LIMIT_MIME_PARTS) /* the last may have others in it */
			return fail_set(why, FAIL_PERM, STATUS_CONVERSION_REQUIRED, "it has too many parts");
		if (!put_part(&w, it, why))
			return false;
	}
	copy_to(&w, message.n, false);
	if (!root || arena->failed || !buf_ok(out))
		return fail_set(why, FAIL_LIMIT, STATUS_SYSTEM_LOCAL_TEMP, "no memory to convert the message");
	if (what & DOWNGRADE_BINARY && !in_lines(span_from(buf_span(out), from), SIZE_MAX)) /* a field or a boundary that is no line */
		return fail_set(why, FAIL_PERM, STATUS_CONVERSION_REQUIRED, "its structure is broken");
	return true;
}
