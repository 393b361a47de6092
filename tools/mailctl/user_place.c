/* SPDX-License-Identifier: ISC */
#include "tools/mailctl/user_place.h"

#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/saslprep.h"
#include "tools/mailctl/user_owner.h"

static bool
is_within(struct span inner, struct span outer)
{
	return span_starts(inner, outer) && (inner.n == outer.n || inner.p[outer.n] == '/');
}

/* What two have to themselves neither has. m->user is the new user, m->home the directory that was asked for, if any. */
static void
on_other(struct mailctl *m, const struct ipc_user_admin_user *u)
{
	struct span home = span_str(m->home);

	if (m->taken)
		return;
	m->taken = true;
	if (span_caseeq(u->user, span_str(m->user)))
		(void)mailctl_fail(0, "%s is there already", m->user);
	else if (home.n && (is_within(home, u->home) || is_within(u->home, home)))
		(void)mailctl_fail(0, "%.*s is the mailbox of %.*s", SPAN_ARG(u->home), SPAN_ARG(u->user));
	else
		m->taken = false;
}

static bool
is_free(struct mailctl *m, const struct ipc_user_admin_set *set)
{
	bool asked;

	m->user = set->user.p;
	(void)span_cstr(set->home, m->home, sizeof(m->home));
	m->on_user = on_other;
	asked = user_ask(m, set->home.n ? "" : m->user) == 0;
	m->on_user = NULL;
	return asked && !m->taken;
}

static bool
find_owner(const struct mailctl *m, struct user_home *home, struct fail *why)
{
	const char *common = m->conf->virtual_mailbox_user.p;

	if (geteuid() != 0)
		return fail_set(why, FAIL_PERM, 0, "--owner is for root: a suite that another user has started runs under that one's uid, with all mailboxes");
	if (!priv_lookup(common, &home->common, why))
		return false;
	home->name = m->owner ? m->owner : common;
	home->owner = home->common;
	return !m->owner || user_owner_find(m->conf, m->owner, &home->owner, why);
}

/* In a base of virtual_mailbox_user's, mailboxes of all without an owner are made when they are needed. */
static bool
is_for_root(const struct mailctl *m)
{
	struct stat st;

	return geteuid() == 0 && (m->owner || (stat(m->conf->virtual_mailbox_base.p, &st) == 0 && st.st_uid == 0));
}

/* DOMAIN/NAME, as the database has it for who has no directory of his own. */
static bool
usual_path(struct span given, char path[USERDB_HOME + 1], struct fail *why)
{
	char name[USERDB_NAME + 1];
	struct buf prepared, home;
	bool ok;

	buf_init(&prepared, SASLPREP_MAX);
	buf_init(&home, USERDB_HOME);
	ok = userdb_name(saslprep_or_given(given, &prepared), name, why);
	if (ok)
		userdb_home(&(struct user){ .uid = 0 }, span_str(name), &home);
	ok = ok && span_cstr(buf_span(&home), path, USERDB_HOME + 1);
	buf_free(&home);
	buf_free(&prepared);
	return ok;
}

/* For root to make. */
static bool
look(struct mailctl *m, struct ipc_user_admin_set *set, struct user_home *home, struct fail *why)
{
	if (!m->mailbox && !usual_path(set->user, home->path, why))
		return false;
	if (m->owner) {
		set->uid = home->owner.uid;
		set->gid = home->owner.gid;
	}
	return user_home_look(home, why);
}

bool
user_place(struct mailctl *m, struct ipc_user_admin_set *set, struct user_place *place)
{
	struct user_home *home = &place->home;
	struct fail why = { .text = "" };

	*place = (struct user_place){ .home = { .base = m->conf->virtual_mailbox_base.p }, .make = is_for_root(m) };
	if ((place->make || m->owner) && !find_owner(m, home, &why))
		return mailctl_fail(0, "%s", why.text);
	if (m->mailbox && !user_home_path(home->base, m->mailbox, home->path, &why))
		return mailctl_fail(0, "%s", why.text);
	set->home = span_str(home->path);
	if ((m->mailbox || place->make) && !is_free(m, set))
		return false;
	return !place->make || look(m, set, home, &why) || mailctl_fail(0, "%s", why.text);
}
