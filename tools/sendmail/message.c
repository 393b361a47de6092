/* SPDX-License-Identifier: ISC */
#include <string.h>

#include "base/map.h"
#include "mail/addrlist.h"
#include "mail/charset.h"
#include "mail/content.h"
#include "mail/header.h"
#include "mail/status.h"
#include "mail/submission.h"
#include "tools/sendmail/sendmail.h"

/* The next line of *rest without its end, which is LF, CRLF or CR. */
static struct span
take_line(struct span *rest)
{
	size_t n = 0;
	struct span line;

	while (n < rest->n && rest->p[n] != '\n' && rest->p[n] != '\r')
		n++;
	line = span_sub(*rest, 0, n);
	if (n + 1 < rest->n && rest->p[n] == '\r' && rest->p[n + 1] == '\n')
		n++;
	*rest = span_from(*rest, n + 1);
	return line;
}

static void
put_without_nul(struct buf *out, struct span s)
{
	while (s.p)
		buf_put(out, span_cut(&s, '\0'));
}

/* A line too long for a message goes on behind a fold, in a header at a place where one may be. */
static void
put_line(struct buf *out, struct span line, unsigned max, bool header)
{
	bool first = true;

	do {
		struct span part = span_sub(line, 0, first ? max : max - 1);

		if (!first)
			buf_puts(out, header ? " " : "");
		put_without_nul(out, part);
		buf_puts(out, "\r\n");
		line = span_from(line, part.n);
		first = false;
	} while (line.n);
}

bool
message_canonical(struct buf *out, struct span text, unsigned line_max, bool dots)
{
	struct span rest = text;
	bool header = true, first = true;

	while (rest.n && buf_ok(out)) {
		struct span line = take_line(&rest);

		if (!dots && span_eq(line, SPAN(".")))
			break;
		if (first && header_mbox_line(line)) {
			first = false;
			continue;
		}
		first = false;
		header = header && line.n;
		put_line(out, line, line_max, header);
	}
	return buf_ok(out);
}

static bool
add_recipient(struct message *m, const struct addrlist_item *item, struct span origin, struct arena *arena,
	      struct fail *why)
{
	struct address a;

	if (!address_make(&a, item->local, item->domain.p ? item->domain : origin, ADDRESS_UTF8 | ADDRESS_LONG_LOCAL,
			  why))
		return fail_set(why, FAIL_PERM, STATUS_BAD_SYNTAX_RECIPIENT, "%.*s%s%.*s: not an address",
				SPAN_ARG(item->local), item->domain.p ? "@" : "", SPAN_ARG(item->domain));
	if (m->nrecipients == RECIPIENTS_MAX)
		return fail_set(why, FAIL_LIMIT, STATUS_TOO_MANY_RECIPIENTS_PERM, "more than %d recipients",
				RECIPIENTS_MAX);
	if ((m->nrecipients & (m->nrecipients - 1)) == 0) { /* at each power of two: room for as many again */
		struct address *more = arena_alloc(arena, (m->nrecipients ? m->nrecipients * 2 : 1) * sizeof(a));

		if (!more)
			return fail_set(why, FAIL_LIMIT, STATUS_SYSTEM_LOCAL_TEMP, "out of memory for recipients");
		if (m->nrecipients)
			memcpy(more, m->recipients, m->nrecipients * sizeof(a));
		m->recipients = more;
	}
	m->recipients[m->nrecipients++] = a;
	return true;
}

struct seen {
	struct map_node node;
};

/* Keeps the first of equal addresses. */
static bool
unite(struct message *m, struct arena *arena, struct fail *why)
{
	struct map map;
	size_t kept = 0;
	bool ok = true;

	map_init(&map);
	for (size_t i = 0; i < m->nrecipients && ok; i++) {
		struct seen *s = NULL;

		if (map_get(&map, address_text(&m->recipients[i])))
			continue;
		m->recipients[kept] = m->recipients[i];
		s = ARENA_NEW(arena, struct seen);
		ok = s && map_put(&map, &s->node, address_text(&m->recipients[kept]));
		kept++;
	}
	map_free(&map);
	m->nrecipients = kept;
	return ok || fail_set(why, FAIL_LIMIT, STATUS_SYSTEM_LOCAL_TEMP, "out of memory for recipients");
}

bool
message_add_recipients(struct message *m, struct span list, struct span origin, struct arena *arena, struct fail *why)
{
	struct addrlist items;

	if (!addrlist_parse(&items, list, arena))
		return fail_set(why, FAIL_LIMIT, STATUS_SYSTEM_LOCAL_TEMP, "out of memory for recipients");
	for (const struct addrlist_item *it = items.first; it; it = it->next)
		if (it->kind == ADDRLIST_MAILBOX && !add_recipient(m, it, origin, arena, why))
			return false;
	return unite(m, arena, why);
}

static const struct {
	struct span name;
	bool resent;
} recipient_fields[] = {
	{ SPAN_INIT("To"), false },        { SPAN_INIT("Cc"), false },
	{ SPAN_INIT("Bcc"), false },       { SPAN_INIT("Apparently-To"), false },
	{ SPAN_INIT("Resent-To"), true },  { SPAN_INIT("Resent-Cc"), true },
	{ SPAN_INIT("Resent-Bcc"), true },
};

enum { NOT_RECIPIENTS, RECIPIENTS, RESENT_RECIPIENTS };

static int
recipient_field(struct span name)
{
	for (size_t i = 0; i < sizeof(recipient_fields) / sizeof(recipient_fields[0]); i++)
		if (span_caseeq(name, recipient_fields[i].name))
			return recipient_fields[i].resent ? RESENT_RECIPIENTS : RECIPIENTS;
	return NOT_RECIPIENTS;
}

bool
message_header_recipients(struct message *m, struct span origin, struct arena *arena, struct fail *why)
{
	struct header_walk w = header_walk(buf_span(&m->content));
	struct header_field f;
	int wanted = RECIPIENTS;

	while (header_next(&w, &f))
		if (recipient_field(f.name) == RESENT_RECIPIENTS)
			wanted = RESENT_RECIPIENTS;
	w = header_walk(buf_span(&m->content));
	while (header_next(&w, &f))
		if (recipient_field(f.name) == wanted && !message_add_recipients(m, f.value, origin, arena, why))
			return false;
	return true;
}

static bool
is_bcc(const struct header_field *f, void *arg)
{
	(void)arg;
	return span_caseeq(f->name, SPAN("Bcc")) || span_caseeq(f->name, SPAN("Resent-Bcc"));
}

bool
message_fix_header(struct message *m, struct span full_name)
{
	struct span content = buf_span(&m->content);
	size_t header_n, whole = header_size(content, &header_n);
	struct header_field f;
	struct buf fixed;
	bool ok;

	buf_init(&fixed, m->content.cap);
	header_filter(&fixed, span_sub(content, 0, header_n), is_bcc, NULL);
	if (!header_find(content, SPAN("From"), &f))
		submission_missing(&fixed, ~CONTENT_FIELD(FROM),
				   &(struct submission){ .sender = address_text(&m->sender),
							 .full_name = utf8_valid(full_name) ? full_name : SPAN_NONE });
	if (whole == header_n && buf_len(&fixed))
		buf_puts(&fixed, "\r\n");
	buf_put(&fixed, span_from(content, header_n));
	ok = buf_ok(&fixed);
	buf_free(&m->content);
	m->content = fixed;
	m->eightbit = utf8_has_8bit(buf_span(&m->content));
	return ok;
}
