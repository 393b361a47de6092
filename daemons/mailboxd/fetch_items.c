/* SPDX-License-Identifier: ISC
 *
 * fetch_items: what FETCH says of a message, one writer a row of fetch.def.
 */
#include <string.h>

#include "daemons/mailboxd/fetching.h"
#include "daemons/mailboxd/objectid.h"
#include "daemons/mailboxd/structure.h"
#include "mail/date.h"

bool
fetch_put_UID(struct cmd *c, struct fetch_item *item)
{
	(void)item;
	buf_put(cmd_out(c), SPAN("UID "));
	buf_put_u64(cmd_out(c), fetch_of(c)->message.uid);
	return true;
}

bool
fetch_put_FLAGS(struct cmd *c, struct fetch_item *item)
{
	(void)item;
	buf_put(cmd_out(c), SPAN("FLAGS "));
	imap_put_flags(c->s, cmd_out(c), &fetch_of(c)->message);
	return true;
}

bool
fetch_put_INTERNALDATE(struct cmd *c, struct fetch_item *item)
{
	struct message *m = &fetch_of(c)->message;
	int64_t date = m->date ? m->date : mailbox_date(cmd_view(c)->mailbox, m->uid);
	char text[DATE_SIZE];

	(void)item;
	buf_put(cmd_out(c), SPAN("INTERNALDATE \""));
	buf_puts(cmd_out(c), date_format_imap(text, date, 0));
	buf_putc(cmd_out(c), '"');
	return true;
}

bool
fetch_put_SIZE(struct cmd *c, struct fetch_item *item)
{
	uint64_t size;

	(void)item;
	if (!mailbox_size(cmd_view(c)->mailbox, fetch_of(c)->message.uid, &size))
		return false;
	buf_put(cmd_out(c), SPAN("RFC822.SIZE "));
	buf_put_u64(cmd_out(c), size);
	return true;
}

bool
fetch_put_ENVELOPE(struct cmd *c, struct fetch_item *item)
{
	const struct facts *facts;

	(void)item;
	if (!text_facts(&fetch_of(c)->text, &facts))
		return false;
	buf_put(cmd_out(c), SPAN("ENVELOPE "));
	buf_put(cmd_out(c), facts->envelope);
	return true;
}

bool
fetch_put_BODYSTRUCTURE(struct cmd *c, struct fetch_item *item)
{
	const struct facts *facts;

	(void)item;
	if (!text_facts(&fetch_of(c)->text, &facts))
		return false;
	buf_put(cmd_out(c), SPAN("BODYSTRUCTURE "));
	buf_put(cmd_out(c), facts->structure);
	return true;
}

bool
fetch_put_BODY(struct cmd *c, struct fetch_item *item)
{
	struct mime_part *root;

	(void)item;
	if (!text_root(&fetch_of(c)->text, &root))
		return false;
	buf_put(cmd_out(c), SPAN("BODY "));
	structure_body(cmd_out(c), root, false);
	return true;
}

bool
fetch_put_MODSEQ(struct cmd *c, struct fetch_item *item)
{
	(void)item;
	buf_printf(cmd_out(c), "MODSEQ (%llu)", (unsigned long long)fetch_of(c)->message.modseq);
	return true;
}

/* RFC 8514 4.2 */
bool
fetch_put_SAVEDATE(struct cmd *c, struct fetch_item *item)
{
	uint32_t saved = fetch_of(c)->message.saved;
	char text[DATE_SIZE];

	(void)item;
	buf_put(cmd_out(c), SPAN("SAVEDATE "));
	if (saved)
		buf_printf(cmd_out(c), "\"%s\"", date_format_imap(text, saved, 0));
	else
		buf_put(cmd_out(c), SPAN("NIL"));
	return true;
}

/* RFC 8970 3.3: with LAZY too, since it is kept with the rest of what is known of a message. */
bool
fetch_put_PREVIEW(struct cmd *c, struct fetch_item *item)
{
	const struct facts *facts;

	(void)item;
	if (!text_facts(&fetch_of(c)->text, &facts))
		return false;
	buf_put(cmd_out(c), SPAN("PREVIEW "));
	imap_put_string(cmd_out(c), facts->preview.p ? facts->preview : SPAN(""));
	return true;
}

/* A range of what was found, as a literal. */
static bool
put_found(struct cmd *c, struct section_found found, const struct fetch_item *item)
{
	struct fetch *f = fetch_of(c);
	struct span made = buf_span(&f->made);
	uint64_t at = 0, n = found.is_made ? made.n : found.n;

	if (found.missing) {
		buf_put(cmd_out(c), SPAN(" NIL"));
		return true;
	}
	if (item->partial) {
		at = item->from < n ? item->from : n;
		n = item->count < n - at ? item->count : n - at;
	}
	buf_put(cmd_out(c), SPAN(" {"));
	buf_put_u64(cmd_out(c), n);
	buf_put(cmd_out(c), SPAN("}\r\n"));
	if (found.is_made) {
		buf_put(cmd_out(c), span_sub(made, (size_t)at, (size_t)n));
		return true;
	}
	if (found.at + at + n <= f->text.front.n && n < OUTQ_FILE_MIN) {
		buf_put(cmd_out(c), span_sub(f->text.front, (size_t)(found.at + at), (size_t)n));
		return true;
	}
	if (!outq_put_file(&c->s->base.out, f->text.content.fd, found.at + at, n))
		c->s->base.closing = true; /* the literal was announced: only the end of the connection is honest */
	return true;
}

static bool
put_named(struct cmd *c, struct fetch_item *item, struct span label, const struct section *section)
{
	struct fetch *f = fetch_of(c);
	struct section_found found;

	buf_reset(&f->made);
	if (!section_find(&f->text, section, &found, &f->made) || !text_content(&f->text) || !buf_ok(&f->made))
		return false;
	buf_put(cmd_out(c), label);
	return put_found(c, found, item);
}

/* Header fields that are kept need no look at the message.  False: they are to be found there. */
static bool
put_kept(struct cmd *c, struct fetch_item *item)
{
	struct fetch *f = fetch_of(c);

	if (!item->kept || f->text.front.n || !text_fields(&f->text, f->message.size, item->kept, &f->made))
		return false;
	buf_put(&f->made, SPAN("\r\n"));
	buf_put(cmd_out(c), item->label);
	return put_found(c, (struct section_found){ .is_made = true }, item);
}

bool
fetch_put_SECTION(struct cmd *c, struct fetch_item *item)
{
	return put_kept(c, item) || put_named(c, item, item->label, &item->section);
}

bool
fetch_put_RFC822(struct cmd *c, struct fetch_item *item)
{
	static const struct section all = { .what = SECTION_ALL };

	return put_named(c, item, SPAN("RFC822"), &all);
}

bool
fetch_put_RFC822_HEADER(struct cmd *c, struct fetch_item *item)
{
	static const struct section header = { .what = SECTION_HEADER };

	return put_named(c, item, SPAN("RFC822.HEADER"), &header);
}

bool
fetch_put_RFC822_TEXT(struct cmd *c, struct fetch_item *item)
{
	static const struct section text = { .what = SECTION_TEXT };

	return put_named(c, item, SPAN("RFC822.TEXT"), &text);
}

/* RFC 8474 5.3 */
bool
fetch_put_EMAILID(struct cmd *c, struct fetch_item *item)
{
	char id[OBJECTID_SIZE];

	(void)item;
	if (!objectid_email(&fetch_of(c)->text, id))
		return false;
	buf_printf(cmd_out(c), "EMAILID (%s)", id);
	return true;
}

bool
fetch_put_THREADID(struct cmd *c, struct fetch_item *item)
{
	char id[OBJECTID_SIZE];

	(void)item;
	if (!objectid_thread(&fetch_of(c)->text, id))
		return false;
	buf_printf(cmd_out(c), "THREADID (%s)", id);
	return true;
}

bool
fetch_put(struct cmd *c, struct fetch_item *item)
{
	static bool (*const writers[])(struct cmd *, struct fetch_item *) = {
#define FETCH_ITEM(text, kind, flags) fetch_put_##kind,
#include "daemons/mailboxd/fetch.def"
#undef FETCH_ITEM
	};

	return writers[item->kind](c, item);
}
