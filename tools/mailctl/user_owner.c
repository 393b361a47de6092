/* SPDX-License-Identifier: ISC */
#include "tools/mailctl/user_owner.h"

#include <pwd.h>
#include <stdio.h>

#include "ipc/bounds.h"
#include "tools/mailctl/processes.h"

static bool
parse_numbers(struct span text, struct priv_identity *owner)
{
	struct span uid = span_cut(&text, ':');
	uint64_t u, g;

	if (!span_u64(uid, UINT32_MAX - 1, &u) || !span_u64(text, UINT32_MAX - 1, &g)) /* all ones is nobody's */
		return false;
	owner->uid = (uid_t)u;
	owner->gid = (gid_t)g;
	return true;
}

/* As maild does when it is to start something for him. */
static bool
is_of_suite(const struct conf *conf, const struct priv_identity *owner, const char *text, struct fail *why)
{
	struct priv_identity id;
	char user[B_NAME * 2];

	for (size_t i = 0; i < PROCESSES; i++) {
		(void)snprintf(user, sizeof(user), "%s%s", conf->daemon_user_prefix.p, processes[i].name);
		if (!processes[i].owned && priv_lookup(user, &id, NULL) && (id.uid == owner->uid || id.gid == owner->gid))
			return !fail_set(why, FAIL_PERM, 0, "%s has the uid or gid of %s: a mailbox may not belong to a daemon, whose files it would open", text, user);
	}
	if (priv_lookup(conf->virtual_mailbox_user.p, &id, NULL) && id.uid == owner->uid)
		return !fail_set(why, FAIL_PERM, 0, "%s is virtual_mailbox_user, who owns the mailboxes of all users without --owner", text);
	return false;
}

bool
user_owner_find(const struct conf *conf, const char *text, struct priv_identity *owner, struct fail *why)
{
	*owner = (struct priv_identity){ .caps = 0 };
	if (!parse_numbers(span_str(text), owner) && !priv_lookup(text, owner, why))
		return false;
	if (owner->uid == 0 || owner->gid == 0)
		return fail_set(why, FAIL_PERM, 0, "%s: no mailbox may belong to root, or to a user whose group is root's (uid %u, gid %u)", text, (unsigned)owner->uid,
		    (unsigned)owner->gid);
	return !is_of_suite(conf, owner, text, why);
}

void
user_owner_put(struct buf *out, uint32_t uid, uint32_t gid)
{
	const struct passwd *pw = getpwuid(uid);

	if (pw && pw->pw_gid == gid)
		buf_puts(out, pw->pw_name);
	else
		buf_printf(out, "%u:%u", uid, gid);
}
