/* SPDX-License-Identifier: ISC */
#include "daemons/mailboxd/notify.h"

#include <stdlib.h>
#include <string.h>

#include "daemons/mailboxd/aside.h"
#include "daemons/mailboxd/status.h"

enum {
	ARENA_MAX = 1 << 20,
	OPEN_SLICE = 10, /* mailboxes opened before other sessions get their turn */
};

struct watch_mailbox {
	struct list node; /* the notify's */
	struct imap *session;
	struct notify *notify; /* the session's, or to be it soon */
	struct view view;
	unsigned events;
	struct mailbox_status told;
	bool changed, wanted;
};

struct notify *
notify_new(void)
{
	struct notify *n = calloc(1, sizeof *n);

	if (!n)
		return NULL;
	arena_init(&n->arena, ARENA_MAX);
	list_init(&n->watches);
	return n;
}

static void
watch_free(struct notify *n, struct watch_mailbox *w)
{
	list_remove(&w->node);
	view_close(&w->view);
	free(w);
	n->nwatches--;
}

void
notify_free(struct notify **at)
{
	struct notify *n = *at;

	if (!n)
		return;
	while (!list_empty(&n->watches))
		watch_free(n, OWNER_OF(n->watches.next, struct watch_mailbox, node));
	arena_free(&n->arena);
	free(n);
	*at = NULL;
}

/* RFC 5465 5.8: as if NOTIFY NONE had come.  What is being fetched of arrivals
 * goes on, so what was asked for stays in memory. */
static void
overflow(struct imap *s, const char *text)
{
	struct notify *n = s->notify;

	while (!list_empty(&n->watches))
		watch_free(n, OWNER_OF(n->watches.next, struct watch_mailbox, node));
	n->groups = NULL;
	n->items = NULL;
	n->selected = 0;
	buf_put(&s->notes, SPAN("* OK [NOTIFICATIONOVERFLOW] "));
	buf_puts(&s->notes, text);
	buf_put(&s->notes, SPAN("\r\n"));
	session_wake(&s->base);
}

/* ---- mailboxes that are held open ---- */

static void
on_pending(struct view *v)
{
	struct watch_mailbox *w = v->owner;

	w->changed = w->notify->changed = true;
	w->notify->lost = w->notify->lost || v->lost;
	session_wake(&w->session->base);
}

static struct watch_mailbox *
watch_find(struct notify *n, struct span name)
{
	LIST_EACH(&n->watches, node) {
		struct watch_mailbox *w = OWNER_OF(node, struct watch_mailbox, node);

		if (span_eq(mailbox_name(w->view.mailbox), name))
			return w;
	}
	return NULL;
}

static struct watch_mailbox *
watch_new(struct imap *s, struct notify *n, struct span name)
{
	struct watch_mailbox *w = calloc(1, sizeof *w);

	if (!w)
		return NULL;
	w->session = s;
	w->notify = n;
	w->view = (struct view){ .on_pending = on_pending, .owner = w };
	if (!view_open(&w->view, s->user->store, name, true, NULL)) {
		free(w);
		return NULL;
	}
	mailbox_counts(w->view.mailbox, &w->told);
	list_push(&n->watches, &w->node);
	n->nwatches++;
	return w;
}

struct watching {
	struct imap *s;
	struct notify *n;
	unsigned budget; /* of mailboxes that may be opened */
	bool overflow, more;
};

static void
each_folder(void *arg, const struct folder *f)
{
	struct watching *x = arg;
	struct watch_mailbox *w;
	unsigned events = 0;

	for (const struct notify_group *g = x->n->groups; g; g = g->next)
		if (f->selectable && filter_fits(g->filter, f))
			events |= g->events & NOTIFY_MESSAGES;
	if (!events)
		return;
	w = watch_find(x->n, f->name);
	if (!w && x->n->nwatches < BOUND_NOTIFY) {
		if (!x->budget) {
			x->more = true;
			return;
		}
		x->budget--;
		w = watch_new(x->s, x->n, f->name);
	}
	if (w) {
		w->wanted = true;
		w->events = events;
	} else {
		x->overflow = true;
	}
}

/* What is to be held open now.  False: too many. */
static bool
watch_all(struct imap *s, struct notify *n, unsigned budget, bool *more, struct fail *why)
{
	struct watching x = { s, n, budget, false, false };

	LIST_EACH(&n->watches, node)
		OWNER_OF(node, struct watch_mailbox, node)->wanted = false;
	if (!store_list(s->user->store, each_folder, &x, why))
		return false;
	LIST_EACH(&n->watches, node) {
		struct watch_mailbox *w = OWNER_OF(node, struct watch_mailbox, node);

		if (!w->wanted)
			watch_free(n, w);
	}
	*more = x.more;
	return !x.overflow || fail_set(why, FAIL_LIMIT, 0, "Too many mailboxes are to be watched");
}

static bool
is_selected(const struct imap *s, const struct watch_mailbox *w)
{
	return s->state == STATE_SELECTED && s->view.mailbox == w->view.mailbox;
}

/* RFC 5465 3.1: STATUS before the tagged OK */
static void
say_all(struct imap *s, struct notify *n)
{
	LIST_EACH(&n->watches, node) {
		struct watch_mailbox *w = OWNER_OF(node, struct watch_mailbox, node);
		bool flags = w->events & NOTIFY_FLAGS;

		if (!is_selected(s, w))
			status_put(s, mailbox_name(w->view.mailbox),
			    status_bits(flags ? "MESSAGES UIDNEXT UIDVALIDITY HIGHESTMODSEQ" : "MESSAGES UIDNEXT UIDVALIDITY"), &w->told);
	}
}

bool
notify_open(struct imap *s, struct notify *n, bool *more, struct fail *why)
{
	return watch_all(s, n, OPEN_SLICE, more, why);
}

void
notify_start(struct imap *s, struct notify *n, bool status)
{
	aside_clear(s); /* what it was to fetch was the old one's */
	notify_free(&s->notify);
	s->notify = n;
	if (status)
		say_all(s, n);
}

/* RFC 5465 5.1 to 5.3: what of a mailbox that is not selected has changed. */
static void
say_changes(struct imap *s, struct watch_mailbox *w)
{
	static const struct view_events quietly = { NULL, NULL, NULL };
	bool modseq = s->enabled & ENABLED_CONDSTORE, counted, flags;
	struct mailbox_status now;

	view_sync(&w->view, &quietly, true);
	mailbox_counts(w->view.mailbox, &now);
	counted = now.messages != w->told.messages || now.uidnext != w->told.uidnext;
	flags = (w->events & NOTIFY_FLAGS) && (modseq ? now.highest_modseq != w->told.highest_modseq : now.unseen != w->told.unseen);
	w->told = now;
	if (is_selected(s, w))
		return;
	if (counted && (w->events & (NOTIFY_NEW | NOTIFY_EXPUNGE)))
		status_put(s, mailbox_name(w->view.mailbox), status_bits(modseq ? "MESSAGES UIDNEXT HIGHESTMODSEQ" : "MESSAGES UIDNEXT"), &now);
	else if (flags)
		status_put(s, mailbox_name(w->view.mailbox),
		    status_bits(modseq ? "UNSEEN UIDVALIDITY HIGHESTMODSEQ" : "UNSEEN UIDVALIDITY"), &now);
}

void
notify_say(struct imap *s)
{
	struct notify *n = s->notify;

	if (!n->changed)
		return;
	n->changed = false;
	LIST_EACH(&n->watches, node) {
		struct watch_mailbox *w = OWNER_OF(node, struct watch_mailbox, node);

		if (!w->changed)
			continue;
		w->changed = false;
		say_changes(s, w);
	}
}

/* ---- names ---- */

struct finding {
	struct span name;
	struct folder found;
};

static void
each_name(void *arg, const struct folder *f)
{
	struct finding *x = arg;

	if (span_eq(f->name, x->name)) {
		x->found = *f;
		x->found.name = x->name;
	}
}

static bool
wants(const struct imap *s, unsigned event, struct span name, bool subscribed)
{
	const struct folder f = { .name = name, .selectable = true, .subscribed = subscribed };

	for (const struct notify_group *g = s->notify ? s->notify->groups : NULL; g; g = g->next)
		if ((g->events & event) && filter_fits(g->filter, &f))
			return true;
	return false;
}

bool
notify_wants_metadata(const struct imap *s, struct span folder)
{
	if (folder.n)
		return wants(s, NOTIFY_METADATA, folder, false);
	for (const struct notify_group *g = s->notify ? s->notify->groups : NULL; g; g = g->next)
		if (g->events & NOTIFY_SERVER_METADATA)
			return true;
	return false;
}

/* RFC 5465 5.4 */
static void
put_list(struct imap *s, const struct folder *f, struct span old)
{
	struct buf *out = &s->notes;

	buf_put(out, SPAN("* LIST ("));
	if (!f->selectable)
		buf_put(out, f->children ? SPAN("\\NonExistent \\HasChildren") : SPAN("\\NonExistent"));
	else
		buf_put(out, f->children ? SPAN("\\HasChildren") : SPAN("\\HasNoChildren"));
	if (f->subscribed)
		buf_put(out, SPAN(" \\Subscribed"));
	buf_put(out, SPAN(") \".\" "));
	imap_put_mailbox(s, out, f->name);
	if (old.n) {
		buf_put(out, SPAN(" (\"OLDNAME\" ("));
		imap_put_mailbox(s, out, old);
		buf_put(out, SPAN("))"));
	}
	buf_put(out, SPAN("\r\n"));
}

static void
tell_session(struct imap *s, unsigned event, const struct folder *f, struct span old)
{
	if (!wants(s, event, f->name, f->subscribed || event == NOTIFY_SUBSCRIPTION) && !(old.n && wants(s, event, old, false)))
		return;
	put_list(s, f, old);
	if (!buf_ok(&s->notes)) { /* too slow a reader (RFC 5465 5.8) */
		buf_reset(&s->notes);
		overflow(s, "Too much happened.");
	}
	session_wake(&s->base);
}

static void
tell_name(struct imap *from, unsigned event, struct span name, struct span old)
{
	struct finding x = { name, { .name = name } };

	if (!store_list(from->user->store, each_name, &x, NULL))
		return;
	LIST_EACH(&from->user->sessions, node) {
		struct session *base = OWNER_OF(node, struct session, node);
		struct imap *s = OWNER_OF(base, struct imap, base);

		if (base->ops == from->base.ops && s != from && s->notify)
			tell_session(s, event, &x.found, old);
	}
}

void
notify_again(struct imap *from)
{
	LIST_EACH(&from->user->sessions, node) {
		struct session *base = OWNER_OF(node, struct session, node);
		struct imap *s = OWNER_OF(base, struct imap, base);
		struct fail why;
		bool more;

		if (base->ops != from->base.ops || !s->notify || watch_all(s, s->notify, BOUND_NOTIFY, &more, &why))
			continue;
		overflow(s, "Too many mailboxes are to be watched.");
	}
}

static bool
anybody(const struct imap *from)
{
	LIST_EACH(&from->user->sessions, node) {
		const struct session *base = OWNER_OF(node, struct session, node);

		if (base->ops == from->base.ops && OWNER_OF(base, struct imap, base)->notify)
			return true;
	}
	return false;
}

void
notify_folder(struct imap *from, enum notify_change change, struct span name, struct span old)
{
	size_t dot = span_rchr(name, '.');

	if (!anybody(from))
		return;
	tell_name(from, change == NOTIFY_SUBSCRIBED ? NOTIFY_SUBSCRIPTION : NOTIFY_NAME, name, old);
	if ((change == NOTIFY_CREATED || change == NOTIFY_DELETED) && dot != SIZE_MAX)
		tell_name(from, NOTIFY_NAME, span_sub(name, 0, dot), SPAN_NONE);
	notify_again(from);
}

static void
leave(struct notify *n, struct span name)
{
	LIST_EACH(&n->watches, node) {
		struct watch_mailbox *w = OWNER_OF(node, struct watch_mailbox, node);
		struct span held = mailbox_name(w->view.mailbox);

		if (span_starts(held, name) && (held.n == name.n || held.p[name.n] == '.'))
			watch_free(n, w);
	}
}

void
notify_leave(struct imap *from, struct span name)
{
	LIST_EACH(&from->user->sessions, node) {
		struct session *base = OWNER_OF(node, struct session, node);

		if (base->ops == from->base.ops && OWNER_OF(base, struct imap, base)->notify)
			leave(OWNER_OF(base, struct imap, base)->notify, name);
	}
}
