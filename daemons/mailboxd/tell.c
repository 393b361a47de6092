/* SPDX-License-Identifier: ISC
 *
 * tell: what a session says of what others changed.
 */
#include "daemons/mailboxd/aside.h"
#include "daemons/mailboxd/context.h"
#include "daemons/mailboxd/guest.h"
#include "daemons/mailboxd/notify.h"

void
imap_put_flags(struct imap *s, struct buf *out, const struct message *m)
{
	static const struct {
		unsigned bit;
		struct span text;
	} names[] = {
		{ FLAG_ANSWERED, SPAN_INIT(" \\Answered") },
		{ FLAG_FLAGGED, SPAN_INIT(" \\Flagged") },
		{ FLAG_DELETED, SPAN_INIT(" \\Deleted") },
		{ FLAG_SEEN, SPAN_INIT(" \\Seen") },
		{ FLAG_DRAFT, SPAN_INIT(" \\Draft") },
	};
	bool any = false;

	buf_putc(out, '(');
	for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
		if (!(m->flags & names[i].bit))
			continue;
		buf_put(out, span_from(names[i].text, any ? 0 : 1));
		any = true;
	}
	if (!(s->enabled & ENABLED_REV2) && view_recent(&s->view, m->uid)) {
		buf_put(out, any ? SPAN(" \\Recent") : SPAN("\\Recent"));
		any = true;
	}
	for (uint64_t left = m->keywords; left; left &= left - 1) {
		struct span name = mailbox_keyword(s->view.mailbox, (unsigned)__builtin_ctzll(left));

		if (!name.n)
			continue;
		if (any)
			buf_putc(out, ' ');
		buf_put(out, name);
		any = true;
	}
	buf_putc(out, ')');
}

static struct imap *
view_session(struct view *v)
{
	return v->owner;
}

static void
say_expunge(struct view *v, uint32_t seq, uint32_t uid)
{
	struct imap *s = view_session(v);
	struct buf *out = &s->base.out.mem;

	context_expunged(s, seq, uid);
	if (s->enabled & (ENABLED_QRESYNC | ENABLED_UIDONLY)) {
		uidset_add(&s->vanished, uid, uid);
		return;
	}
	buf_put(out, SPAN("* "));
	buf_put_u64(out, seq);
	buf_put(out, SPAN(" EXPUNGE\r\n"));
}

void
imap_put_fetch(const struct imap *s, struct buf *out, uint32_t seq, uint32_t uid)
{
	bool only = s->enabled & ENABLED_UIDONLY;

	buf_put(out, SPAN("* "));
	buf_put_u64(out, only ? uid : seq);
	buf_put(out, only ? SPAN(" UIDFETCH (") : SPAN(" FETCH ("));
}

void
imap_put_vanished(struct imap *s, const struct uidset *uids, bool earlier)
{
	struct buf *out = &s->base.out.mem;

	if (uidset_empty(uids))
		return;
	buf_put(out, earlier ? SPAN("* VANISHED (EARLIER) ") : SPAN("* VANISHED "));
	uidset_text(uids, out);
	buf_put(out, SPAN("\r\n"));
}

/* RFC 7162 3.2.10.2: in place of the EXPUNGEs, before anything that counts messages. */
static void
say_vanished(struct imap *s)
{
	s->untold = s->untold || s->vanished.failed;
	imap_put_vanished(s, &s->vanished, false);
	uidset_clear(&s->vanished);
}

static void
say_exists(struct view *v, uint32_t count, uint32_t recent)
{
	struct buf *out = &view_session(v)->base.out.mem;

	say_vanished(view_session(v));
	buf_put(out, SPAN("* "));
	buf_put_u64(out, count);
	buf_put(out, SPAN(" EXISTS\r\n"));
	if (!(view_session(v)->enabled & ENABLED_REV2)) /* RFC 9051 has no \Recent */
		buf_printf(out, "* %u RECENT\r\n", (unsigned)recent);
}

static void
say_flags(struct view *v, uint32_t seq, const struct message *m)
{
	struct imap *s = view_session(v);
	struct buf *out = &s->base.out.mem;

	say_vanished(s);
	imap_put_fetch(s, out, seq, m->uid);
	if (!(s->enabled & ENABLED_UIDONLY))
		buf_printf(out, "UID %u ", (unsigned)m->uid);
	buf_put(out, SPAN("FLAGS "));
	imap_put_flags(s, out, m);
	if (s->enabled & ENABLED_CONDSTORE) {
		buf_put(out, SPAN(" MODSEQ ("));
		buf_put_u64(out, m->modseq);
		buf_putc(out, ')');
	}
	buf_put(out, SPAN(")\r\n"));
}

/* What of the selected mailbox may be told (RFC 5465 3.1); a command that
 * changes it tells what it did in any case. */
static unsigned
told_events(const struct imap *s)
{
	if (!s->notify || (s->cmd.def && (s->cmd.def->flags & CMD_TELL)))
		return NOTIFY_MESSAGES;
	return s->notify->selected;
}

void
imap_sync(struct imap *s, bool expunges)
{
	struct view_events events = { say_expunge, say_exists, say_flags };
	unsigned wanted = told_events(s);
	uint32_t before = s->state == STATE_SELECTED ? s->view.told : 0;

	if (s->guest && s->state == STATE_SELECTED && !(imap_rights(s, mailbox_name(s->view.mailbox)) & ACL_READ))
		return; /* what happens there is no longer its business */
	buf_put(&s->base.out.mem, buf_span(&s->notes));
	buf_reset(&s->notes);
	if (s->notify)
		notify_say(s);
	if (!(wanted & NOTIFY_FLAGS))
		events.on_flags = NULL;
	if (s->state == STATE_SELECTED && wanted && (s->view.pending || (expunges && s->view.ngone)))
		view_sync(&s->view, &events, expunges);
	say_vanished(s);
	if (s->state == STATE_SELECTED)
		context_update(s);
	if (s->notify && s->notify->items && s->state == STATE_SELECTED && s->view.told > before)
		aside_fetch(s, s->notify->items, before + 1, s->view.told);
}

void
imap_tell_metadata(struct imap *from, struct span folder, struct span entry)
{
	LIST_EACH(&from->user->sessions, node) {
		struct session *base = OWNER_OF(node, struct session, node);
		struct imap *s = OWNER_OF(base, struct imap, base);

		if (base->ops != from->base.ops || s == from || !((s->enabled & ENABLED_METADATA) || notify_wants_metadata(s, folder)))
			continue;
		buf_put(&s->notes, SPAN("* METADATA "));
		if (folder.n)
			imap_put_mailbox(s, &s->notes, folder);
		else
			buf_put(&s->notes, SPAN("\"\""));
		buf_putc(&s->notes, ' ');
		imap_put_astring(&s->notes, entry);
		buf_put(&s->notes, SPAN("\r\n"));
		if (!buf_ok(&s->notes)) /* it will not be told: that it may ask again is all that is lost */
			buf_reset(&s->notes);
		if (s->idling || s->notify)
			session_wake(base);
	}
}
