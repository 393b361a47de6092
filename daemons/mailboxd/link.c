/* SPDX-License-Identifier: ISC */
#include "daemons/mailboxd/link.h"

#include <unistd.h>

#include "log/log.h"

enum { SHARERS_MAX = 32 << 10 }; /* octets of names; more are asked for each time */

void
link_init(struct link *l)
{
	*l = (struct link){ .session = NULL };
	list_init(&l->asked);
	buf_init(&l->sharers, SHARERS_MAX);
}

void
link_shared(struct link *l)
{
	buf_free(&l->sharers);
	buf_init(&l->sharers, SHARERS_MAX);
	l->sharers_known = false;
	l->sharers_asked = 0;
}

void
link_opened(struct link *l, struct channel *session)
{
	l->session = session;
}

static struct broker_request *
find(struct link *l, uint64_t id)
{
	LIST_EACH(&l->asked, it)
		if (OWNER_OF(it, struct broker_request, node)->id == id)
			return OWNER_OF(it, struct broker_request, node);
	return NULL;
}

static void
done(struct broker_request *r, bool ok, int fd, struct span why)
{
	list_remove(&r->node);
	r->on_done(r, ok, fd, why);
}

void
link_closed(struct link *l)
{
	l->session = NULL;
	link_shared(l);
	while (!list_empty(&l->asked))
		done(OWNER_OF(l->asked.next, struct broker_request, node), false, -1, SPAN("userd is away"));
}

/* The request's number; 0: it has been refused. */
static uint64_t
begin(struct link *l, struct broker_request *r)
{
	if (!l->session) {
		r->on_done(r, false, -1, SPAN("userd is away"));
		return 0;
	}
	r->id = ++l->last;
	list_push(&l->asked, &r->node);
	return r->id;
}

static void
sent(struct broker_request *r, bool ok)
{
	if (!ok)
		done(r, false, -1, SPAN("userd is away"));
}

static void
ask_visit(struct user *user, struct span owner, struct broker_request *r)
{
	uint64_t id = begin(user->link, r);

	if (id)
		sent(r, ipc_send_session_visit(user->link->session, &(struct ipc_session_visit){ .id = id, .owner = owner }));
}

static void
tell_sharers(struct link *l, struct broker_request *r)
{
	struct span rest = buf_span(&l->sharers);

	while (rest.n)
		r->on_owner(r, span_cut(&rest, '\0'));
	r->on_done(r, true, -1, SPAN(""));
}

/* From memory, unless userd has said something that was not read yet: who was told that rights are given or taken away finds it so. */
static void
ask_sharers(struct user *user, struct broker_request *r)
{
	struct link *l = user->link;
	uint64_t id;

	if (l->session && l->sharers_known && !channel_unread(l->session)) {
		tell_sharers(l, r);
		return;
	}
	id = begin(l, r);
	if (id && !l->sharers_known) {
		link_shared(l);
		l->sharers_asked = id;
	}
	if (id)
		sent(r, ipc_send_session_sharers(user->link->session, &(struct ipc_session_sharers){ .id = id }));
}

static void
ask_share(struct user *user, struct span guest, bool on, struct broker_request *r)
{
	uint64_t id = begin(user->link, r);

	if (id)
		sent(r, ipc_send_session_share(user->link->session, &(struct ipc_session_share){ .id = id, .guest = guest, .on = on }));
}

static void
ask_quota(struct user *user, struct span whose, const struct broker_quota *limits, struct broker_request *r)
{
	struct ipc_session_quota m = { .id = begin(user->link, r), .user = whose, .set = limits != NULL };

	if (limits) {
		m.size = limits->size;
		m.messages = limits->messages;
	}
	if (m.id)
		sent(r, ipc_send_session_quota(user->link->session, &m));
}

const struct broker link_broker = { ask_visit, ask_sharers, ask_share, ask_quota };

/* ---- what was asked may have been taken back meanwhile ---- */

bool
link_arrived(struct link *l, const struct ipc_session_arrived *m, int fd)
{
	struct broker_request *r = find(l, m->id);

	if (m->id > l->last) {
		close(fd);
		return false;
	}
	if (r)
		done(r, true, fd, SPAN(""));
	else
		close(fd);
	return true;
}

bool
link_sharer(struct link *l, const struct ipc_session_sharer *m)
{
	struct broker_request *r = find(l, m->id);

	if (r && r->on_owner)
		r->on_owner(r, m->owner);
	if (m->id == l->sharers_asked) {
		buf_put(&l->sharers, m->owner);
		buf_putc(&l->sharers, '\0');
	}
	return m->id <= l->last;
}

bool
link_answered(struct link *l, const struct ipc_session_answered *m)
{
	struct broker_request *r = find(l, m->id);

	if (m->id == l->sharers_asked) {
		l->sharers_asked = 0;
		l->sharers_known = m->ok && buf_ok(&l->sharers);
	}
	if (r)
		done(r, m->ok, -1, m->why);
	return m->id <= l->last;
}

bool
link_quota_is(struct link *l, const struct ipc_session_quota_is *m)
{
	struct broker_request *r = find(l, m->id);

	if (r && r->on_quota)
		r->on_quota(r, &(struct broker_quota){ m->size, m->messages, m->used_size, m->used_messages, m->measured });
	if (r)
		done(r, true, -1, SPAN(""));
	return m->id <= l->last;
}

void
link_limits(struct user *user, const struct ipc_session_limits *m)
{
	if (user->store)
		store_set_quota(user->store, &(struct quota){ m->quota, m->messages });
}

bool
link_measure(struct user *user, const struct ipc_session_measure *m)
{
	struct quota used = { .size = 0 };
	struct fail why = { .text = "the mailboxes are not open" };
	bool ok = user->store && store_used(user->store, &used, &why);

	if (!ok)
		log_put(LOG_failure, "user=%.*s: how much there is: %s", SPAN_ARG(user->name), why.text);
	return ipc_send_session_measured(user->link->session, &(struct ipc_session_measured){ .id = m->id, .ok = ok, .size = used.size, .messages = used.messages });
}
