/* SPDX-License-Identifier: ISC
 *
 * share: who may visit whose mailboxes (RFC 4314): kept beside the users, asked
 * for by userd, which says whose question it is. What a visitor may do there
 * the owner's mailboxd says.
 */
#include "daemons/authd/authd.h"

#define ANYONE SPAN("anyone")

static struct authd *
authd_of(const struct channel *c)
{
	return ((struct service *)channel_owner(c))->state;
}

bool
share_answer(struct channel *c, uint64_t id, bool ok, const struct fail *why)
{
	struct ipc_ticket_answered m = { .id = id, .ok = ok, .why = ok ? SPAN("") : fail_text(why) };

	if (!ok && why->class == FAIL_TEMP)
		log_put(LOG_failure, "shares: %s", why->text);
	return ipc_send_ticket_answered(c, &m);
}

void
share_tell(struct authd *a, struct span guest)
{
	if (a->ticket)
		(void)ipc_send_ticket_shared(a->ticket, &(struct ipc_ticket_shared){ .guest = guest });
}

static bool
is_open(const struct authd *a, struct fail *why)
{
	return a->db || fail_set(why, FAIL_TEMP, 0, "authd is starting or stopping");
}

/* To somebody who may not, an owner who shares nothing and none at all look the same. */
static bool
may_visit(struct authd *a, struct span owner, struct span guest, struct fail *why)
{
	enum bdb_found found = userdb_shared(a->db, owner, guest, why);

	if (found == BDB_NONE)
		found = userdb_shared(a->db, owner, ANYONE, why);
	return found == BDB_FOUND || (found == BDB_NONE && fail_set(why, FAIL_PERM, 0, "nothing is shared"));
}

bool
share_owner(struct authd *a, struct span name, struct arena *mem, struct ipc_ticket_owner *owner, struct fail *why)
{
	const struct conf *conf = a->service->conf;
	struct user user;
	struct buf home;
	bool ok;

	switch (userdb_get(a->db, name, mem, &user, why)) {
	case BDB_FOUND:
		break;
	case BDB_NONE:
		return fail_set(why, FAIL_PERM, 0, "there is no such user");
	default:
		return false;
	}
	buf_init(&home, USERDB_HOME);
	userdb_home(&user, name, &home);
	*owner = (struct ipc_ticket_owner){ .id = owner->id, .user = name, .home = arena_dup(mem, buf_span(&home)), .uid = user.uid, .gid = user.gid,
		.quota = userdb_limit(user.quota, conf->mailbox_size_limit), .messages = userdb_limit(user.messages, conf->mailbox_message_limit) };
	ok = buf_ok(&home) && owner->home.n == buf_len(&home);
	buf_free(&home);
	return ok || fail_set(why, FAIL_TEMP, 0, "out of memory");
}

static bool
on_ticket_find(struct channel *c, const struct ipc_ticket_find *m)
{
	struct authd *a = authd_of(c);
	struct ipc_ticket_owner owner = { .id = m->id };
	struct fail why = { .text = "nothing is shared" };
	char name[USERDB_NAME + 1];
	struct arena mem;
	bool ok, sent;

	arena_init(&mem, SCRATCH_MAX);
	ok = is_open(a, &why) && userdb_name(m->owner, name, &why) && span_eq(span_str(name), m->owner) && may_visit(a, m->owner, m->guest, &why) &&
	     share_owner(a, m->owner, &mem, &owner, &why);
	sent = ok ? ipc_send_ticket_owner(c, &owner) : share_answer(c, m->id, false, &why);
	arena_free(&mem);
	return sent;
}

struct telling {
	struct channel *c;
	uint64_t id;
	struct span guest;
	unsigned n;
};

static bool
tell(void *arg, struct span owner)
{
	struct telling *t = arg;

	if (span_eq(owner, t->guest))
		return true;
	return t->n++ < USERDB_SHARES_MAX && ipc_send_ticket_sharer(t->c, &(struct ipc_ticket_sharer){ .id = t->id, .owner = owner });
}

/* One who shares with the user and with anyone comes twice. */
static bool
on_ticket_sharers(struct channel *c, const struct ipc_ticket_sharers *m)
{
	struct authd *a = authd_of(c);
	struct telling t = { .c = c, .id = m->id, .guest = m->guest };
	struct fail why;
	bool ok = is_open(a, &why) && userdb_sharers(a->db, m->guest, tell, &t, &why) && userdb_sharers(a->db, ANYONE, tell, &t, &why);

	return share_answer(c, m->id, ok, &why);
}

static bool
on_ticket_share(struct channel *c, const struct ipc_ticket_share *m)
{
	struct authd *a = authd_of(c);
	struct fail why = { .text = "not a user's name" };
	char name[USERDB_NAME + 1];
	bool ok = span_eq(m->guest, ANYONE) || (userdb_name(m->guest, name, &why) && span_eq(span_str(name), m->guest));

	ok = ok && is_open(a, &why) && userdb_share(a->db, m->owner, m->guest, m->on, &why);
	if (ok) /* before the owner hears that it is done */
		share_tell(a, span_eq(m->guest, ANYONE) ? SPAN("") : m->guest);
	return share_answer(c, m->id, ok, &why);
}

static bool
on_ticket_quota(struct channel *c, const struct ipc_ticket_quota *m)
{
	return quota_ask(authd_of(c), m);
}

static bool
on_ticket_crash(struct channel *c, const struct ipc_ticket_crash *m)
{
	return crash_keep(authd_of(c), m);
}

#define DISPATCH_DEF "ipc/ticket.def"
#define DISPATCH_SIDE CLIENT
#include "ipc/dispatch.h"

static void
on_ticket_closed(struct channel *c, const struct fail *why)
{
	struct authd *a = authd_of(c);

	if (why->class == FAIL_PEER && why->text[0])
		log_put(LOG_channel, "%s: %s", channel_type(c)->name, why->text);
	if (a->ticket == c)
		a->ticket = NULL;
	channel_free(&c);
}

const struct channel_ops ticket_ops = { dispatch_ticket, on_ticket_closed, NULL };
