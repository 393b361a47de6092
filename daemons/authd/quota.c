/* SPDX-License-Identifier: ISC
 *
 * quota: what users may keep, for userd, which says whose question it is: an
 * administrator's (quota_administrators; SETQUOTA, RFC 9208 4.1.3). A mailboxd that
 * believes to be one's is not enough: it is looked up here at each question.
 */
#include "daemons/authd/authd.h"

bool
quota_administrator(const struct authd *a, struct span user)
{
	const struct conf_list *list = &a->service->conf->quota_administrators;
	char name[USERDB_NAME + 1];

	for (size_t i = 0; i < list->n; i++)
		if (userdb_name(list->items[i], name, NULL) && span_eq(span_str(name), user))
			return true;
	return false;
}

static void
tell(struct authd *a, const struct ipc_ticket_owner *owner)
{
	if (a->ticket)
		(void)ipc_send_ticket_limits(a->ticket, &(struct ipc_ticket_limits){ .user = owner->user, .quota = owner->quota, .messages = owner->messages });
}

void
quota_changed(struct authd *a, struct span user)
{
	struct ipc_ticket_owner owner = { .id = 0 };
	char name[USERDB_NAME + 1];
	struct arena mem;
	struct fail why;

	arena_init(&mem, SCRATCH_MAX);
	if (userdb_name(user, name, &why) && share_owner(a, span_str(name), &mem, &owner, &why))
		tell(a, &owner);
	arena_free(&mem);
}

/* "No limit" is another thing than "the default". */
static bool
set(struct authd *a, const struct ipc_ticket_quota *m, struct span user, struct fail *why)
{
	struct ipc_user_admin_quota q = { .user = user, .set_size = true, .size = m->size ? m->size : QUOTA_NONE,
		.set_messages = true, .messages = m->messages ? m->messages : QUOTA_NONE };

	if (!useradmin_quota(a->db, &q, why))
		return false;
	log_put(LOG_user, "quota user=%.*s size=%llu messages=%llu by=%.*s", SPAN_ARG(user), (unsigned long long)m->size,
	    (unsigned long long)m->messages, SPAN_ARG(m->by));
	admin_announce(a, "quota changed", user);
	return true;
}

bool
quota_ask(struct authd *a, const struct ipc_ticket_quota *m)
{
	struct ipc_ticket_owner owner = { .id = m->id };
	struct fail why = { .text = "not an administrator of quotas", .class = FAIL_PERM };
	char name[USERDB_NAME + 1];
	struct arena mem;
	bool ok, sent;

	arena_init(&mem, SCRATCH_MAX);
	ok = quota_administrator(a, m->by) && (a->db || fail_set(&why, FAIL_TEMP, 0, "authd is starting or stopping")) &&
	     userdb_name(m->user, name, &why) && (!m->set || set(a, m, span_str(name), &why)) && share_owner(a, span_str(name), &mem, &owner, &why);
	if (ok && m->set)
		tell(a, &owner);
	sent = ok ? ipc_send_ticket_owner(a->ticket, &owner) : share_answer(a->ticket, m->id, false, &why);
	arena_free(&mem);
	return sent;
}
