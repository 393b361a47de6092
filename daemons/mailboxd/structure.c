/* SPDX-License-Identifier: ISC */
#include "daemons/mailboxd/structure.h"

#include "net/imapsyntax.h"

static void
put_sp(struct buf *out)
{
	buf_putc(out, ' ');
}

/* RFC 3501 7.4.2: (name route mailbox host); a group begins with its name as
 * mailbox and no host, and ends with neither. */
static void
put_addresses(struct buf *out, const struct addrlist *list)
{
	if (!list->count) {
		buf_put(out, SPAN("NIL"));
		return;
	}
	buf_putc(out, '(');
	for (const struct addrlist_item *a = list->first; a; a = a->next) {
		bool mailbox = a->kind == ADDRLIST_MAILBOX;

		buf_putc(out, '(');
		imap_put_nstring(out, mailbox ? a->name : SPAN_NONE);
		put_sp(out);
		imap_put_nstring(out, a->route);
		put_sp(out);
		if (mailbox)
			imap_put_string(out, a->local);
		else
			imap_put_nstring(out, a->kind == ADDRLIST_GROUP ? (a->name.p ? a->name : SPAN("")) : SPAN_NONE);
		put_sp(out);
		if (mailbox)
			imap_put_string(out, a->domain);
		else
			buf_put(out, SPAN("NIL"));
		buf_putc(out, ')');
	}
	buf_putc(out, ')');
}

void
structure_envelope(struct buf *out, const struct envelope *e)
{
	const struct addrlist *lists[] = { &e->from, envelope_sender(e), envelope_reply_to(e), &e->to, &e->cc, &e->bcc };

	buf_putc(out, '(');
	imap_put_nstring(out, e->date);
	put_sp(out);
	imap_put_nstring(out, e->subject);
	for (size_t i = 0; i < sizeof lists / sizeof *lists; i++) {
		put_sp(out);
		put_addresses(out, lists[i]);
	}
	put_sp(out);
	imap_put_nstring(out, e->in_reply_to);
	put_sp(out);
	imap_put_nstring(out, e->message_id);
	buf_putc(out, ')');
}

static void
put_params(struct buf *out, const struct param_list *list)
{
	if (!list->first) {
		buf_put(out, SPAN("NIL"));
		return;
	}
	buf_putc(out, '(');
	for (const struct param *p = list->first; p; p = p->next) {
		if (p != list->first)
			put_sp(out);
		imap_put_string(out, p->name);
		put_sp(out);
		imap_put_string(out, p->value);
	}
	buf_putc(out, ')');
}

static void
put_disposition(struct buf *out, const struct mime_part *p)
{
	if (!p->disposition.p) {
		buf_put(out, SPAN("NIL"));
		return;
	}
	buf_putc(out, '(');
	imap_put_string(out, p->disposition);
	put_sp(out);
	put_params(out, &p->disposition_params);
	buf_putc(out, ')');
}

/* What both kinds of body end with: disposition, language, location. */
static void
put_extension(struct buf *out, const struct mime_part *p)
{
	put_sp(out);
	put_disposition(out, p);
	put_sp(out);
	if (!p->nlanguages)
		buf_put(out, SPAN("NIL"));
	else if (p->nlanguages == 1)
		imap_put_string(out, p->languages[0]);
	else
		buf_putc(out, '(');
	for (unsigned i = 0; p->nlanguages > 1 && i < p->nlanguages; i++) {
		if (i)
			put_sp(out);
		imap_put_string(out, p->languages[i]);
	}
	if (p->nlanguages > 1)
		buf_putc(out, ')');
	put_sp(out);
	imap_put_nstring(out, p->location);
}

static void
put_multipart(struct buf *out, const struct mime_part *p, bool extended)
{
	for (const struct mime_part *child = p->children; child; child = child->next)
		structure_body(out, child, extended);
	put_sp(out);
	imap_put_string(out, p->subtype);
	if (!extended)
		return;
	put_sp(out);
	put_params(out, &p->params);
	put_extension(out, p);
}

static uint64_t
wire_size(const struct mime_extent *e)
{
	return (uint64_t)e->n + e->bare;
}

static void
put_single(struct buf *out, const struct mime_part *p, bool extended)
{
	bool message = p->kind == MIME_MESSAGE && p->children && p->children->envelope;

	imap_put_string(out, p->type);
	put_sp(out);
	imap_put_string(out, p->subtype);
	put_sp(out);
	put_params(out, &p->params);
	put_sp(out);
	imap_put_nstring(out, p->id);
	put_sp(out);
	imap_put_nstring(out, p->description);
	put_sp(out);
	imap_put_string(out, p->encoding_text);
	put_sp(out);
	buf_put_u64(out, wire_size(&p->body));
	if (message) {
		put_sp(out);
		structure_envelope(out, p->children->envelope);
		put_sp(out);
		structure_body(out, p->children, extended);
	}
	if (message || mime_is(p, SPAN("text"), SPAN(""))) {
		put_sp(out);
		buf_put_u64(out, p->body.lines);
	}
	if (!extended)
		return;
	put_sp(out);
	imap_put_nstring(out, p->md5);
	put_extension(out, p);
}

/* Recursion is bounded by the parser's depth (mail/limits.def MIME_DEPTH). */
void
structure_body(struct buf *out, const struct mime_part *p, bool extended)
{
	buf_putc(out, '(');
	if (p->kind == MIME_MULTIPART)
		put_multipart(out, p, extended);
	else
		put_single(out, p, extended);
	buf_putc(out, ')');
}
