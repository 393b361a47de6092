/* SPDX-License-Identifier: ISC */
#include "mail/submission.h"

#include "mail/content.h"
#include "mail/date.h"
#include "mail/header.h"
#include "mail/limits.h"
#include "mail/word.h"

static bool
plain_words(struct span s)
{
	for (size_t i = 0; i < s.n; i++)
		if (!ascii_alnum(s.p[i]) && s.p[i] != ' ')
			return false;
	return true;
}

static bool
printable(struct span s)
{
	for (size_t i = 0; i < s.n; i++)
		if (!ascii_print(s.p[i]))
			return false;
	return true;
}

/* A display name as phrase (RFC 5322 3.2.5, RFC 2047 5). */
static void
put_phrase(struct buf *out, struct span name)
{
	if (plain_words(name) || !printable(name)) {
		word_encode(out, name);
		return;
	}
	buf_putc(out, '"');
	for (size_t i = 0; i < name.n; i++) {
		if (name.p[i] == '"' || name.p[i] == '\\')
			buf_putc(out, '\\');
		buf_putc(out, name.p[i]);
	}
	buf_putc(out, '"');
}

static void
put_from(struct buf *out, const struct submission *s)
{
	buf_puts(out, "From: ");
	if (s->full_name.n) {
		put_phrase(out, s->full_name);
		buf_putc(out, ' ');
	}
	buf_printf(out, "<%.*s>\r\n", SPAN_ARG(s->sender));
}

void
submission_missing(struct buf *out, unsigned present, const struct submission *s)
{
	char date[DATE_SIZE];

	if (!(present & CONTENT_FIELD(FROM)) && s->sender.n)
		put_from(out, s);
	if (!(present & (CONTENT_FIELD(TO) | CONTENT_FIELD(CC))))
		buf_puts(out, "To: undisclosed-recipients:;\r\n");
	if (!(present & CONTENT_FIELD(DATE)))
		buf_printf(out, "Date: %s\r\n", date_format(date, s->time, s->zone));
	if (!(present & CONTENT_FIELD(MESSAGE_ID)) && s->unique.n)
		buf_printf(out, "Message-ID: <%.*s@%.*s>\r\n", SPAN_ARG(s->unique), SPAN_ARG(s->domain));
}

static unsigned
field_bit(struct span name)
{
	static const struct span names[CONTENT_BIT_COUNT] = {
#define X(id, text) [CONTENT_BIT_##id] = SPAN_INIT(text),
		CONTENT_FIELDS(X)
#undef X
	};

	for (unsigned i = 0; i < CONTENT_BIT_COUNT; i++)
		if (span_caseeq(name, names[i]))
			return 1u << i;
	return 0;
}

bool
submission_fix(struct buf *out, struct span header, const struct submission *s)
{
	struct header_walk w = header_walk(header);
	struct header_field f;
	unsigned present = 0;

	while (header_next(&w, &f)) {
		unsigned bit = field_bit(f.name);

		if (!s->keep_bcc && bit & (CONTENT_FIELD(BCC) | CONTENT_FIELD(RESENT_BCC)))
			continue;
		if (bit && !span_trim(f.value).n) /* says nothing, and RFC 5322 has none of these empty */
			continue;
		present |= bit;
		buf_put(out, f.whole);
	}
	submission_missing(out, present, s);
	return buf_ok(out) && w.at == header.n && w.fields <= LIMIT_HEADER_FIELDS;
}
