/* SPDX-License-Identifier: ISC */
#include <stdlib.h>
#include <string.h>

#include "daemons/authd/authd.h"
#include "mail/status.h"

/* A password that is being hashed for a user. */
struct change {
	struct work work;
	struct link *link; /* counted */
	struct ipc_user_admin_set set;
	char user[USERDB_NAME + 1], home[B_PATH + 1];
	struct password_cost cost;
	struct buf password; /* wiped */
	struct useradmin_secret secret; /* wiped */
	struct fail why;
	bool ok;
};

static void
finish(struct channel *c, uint64_t id, bool ok, const struct fail *why)
{
	struct ipc_user_admin_done m = { .id = id, .ok = ok, .unknown = !ok && why->status == STATUS_BAD_MAILBOX, .text = ok ? SPAN("") : fail_text(why) };

	if (c)
		(void)ipc_send_user_admin_done(c, &m);
}

void
admin_announce(struct authd *a, const char *verb, struct span user)
{
	struct ipc_users_changed m = { .address = user };
	char name[USERDB_NAME + 1];

	log_put(LOG_user, "%s user=%.*s", verb, SPAN_ARG(user));
	if (userdb_name(user, name, NULL))
		m.address = span_str(name);
	LIST_EACH(&a->links, node) {
		struct link *l = OWNER_OF(node, struct link, node);

		if (l->users && l->channel)
			(void)ipc_send_users_changed(l->channel, &m);
	}
}

static void
run(struct work *w)
{
	struct change *ch = OWNER_OF(w, struct change, work);

	ch->ok = useradmin_hash(&ch->secret, buf_span(&ch->password), &ch->cost, &ch->why);
}

static void
done(struct work *w)
{
	struct change *ch = OWNER_OF(w, struct change, work);
	struct authd *a = ch->link->authd;

	ch->ok = ch->ok && useradmin_set(a->db, &ch->set, &ch->secret, loop_wall_ms(a->service->loop) / 1000, &ch->why);
	if (ch->ok)
		admin_announce(a, ch->set.create ? "added" : "changed", ch->set.user);
	finish(ch->link->channel, ch->set.id, ch->ok, &ch->why);
	buf_wipe(&ch->password);
	useradmin_secret_wipe(&ch->secret);
	a->nchanges--;
	link_unref(ch->link);
	free(ch);
}

bool
admin_set(struct link *l, const struct ipc_user_admin_set *m)
{
	struct change *ch = calloc(1, sizeof(*ch));
	char name[USERDB_NAME + 1];
	struct fail why;

	if (!ch || l->authd->nchanges >= CHANGES_MAX || !useradmin_check(l->authd->db, m, name, &why)) {
		if (!ch)
			(void)fail_set(&why, FAIL_TEMP, 0, "out of memory");
		else if (l->authd->nchanges >= CHANGES_MAX)
			(void)fail_set(&why, FAIL_LIMIT, 0, "too many changes at once");
		finish(l->channel, m->id, false, &why);
		free(ch);
		return true;
	}
	ch->work = (struct work){ .run = run, .done = done };
	ch->link = l;
	l->refs++;
	ch->set = *m;
	memcpy(ch->user, name, sizeof(name));
	(void)span_cstr(m->home, ch->home, sizeof(ch->home));
	ch->set.user = span_str(ch->user);
	ch->set.home = span_str(ch->home);
	ch->cost = authd_cost(l->authd);
	buf_init(&ch->password, PASSWORD_MAX);
	useradmin_secret_init(&ch->secret, l->authd->db, ch->set.user, authd_scram_iterations(l->authd));
	buf_put(&ch->password, m->password);
	ch->set.password = SPAN_NONE;
	l->authd->nchanges++;
	worker_submit(l->authd->pool, &ch->work);
	return true;
}

bool
admin_quota(struct link *l, const struct ipc_user_admin_quota *m)
{
	char name[USERDB_NAME + 1];
	struct fail why;
	bool ok = useradmin_name(l->authd->db, m->user, false, name, &why) && useradmin_quota(l->authd->db, m, &why);

	if (ok) {
		admin_announce(l->authd, "quota changed", span_str(name));
		quota_changed(l->authd, span_str(name));
	}
	finish(l->channel, m->id, ok, &why);
	return true;
}

bool
admin_remove(struct link *l, const struct ipc_user_admin_remove *m)
{
	char name[USERDB_NAME + 1];
	struct fail why;
	bool ok = useradmin_name(l->authd->db, m->user, false, name, &why) && useradmin_remove(l->authd->db, m, &why);

	if (ok) {
		admin_announce(l->authd, "deleted", span_str(name));
		share_tell(l->authd, SPAN(""));
	}
	finish(l->channel, m->id, ok, &why);
	return true;
}

static bool
send_row(void *arg, const struct ipc_user_admin_user *user)
{
	return ipc_send_user_admin_user(arg, user);
}

bool
admin_list(struct link *l, const struct ipc_user_admin_list *m)
{
	struct fail why;
	bool ok = useradmin_list(l->authd->db, m, send_row, l->channel, &why);

	finish(l->channel, m->id, ok, &why);
	return true;
}
