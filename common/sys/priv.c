/* SPDX-License-Identifier: ISC */
#include "sys/priv.h"

#include <errno.h>
#include <grp.h>
#include <pwd.h>
#include <stdio.h>
#include <sys/capability.h>
#include <sys/prctl.h>
#include <unistd.h>

static const struct {
	unsigned bit;
	cap_value_t cap;
} caps[] = {
	{ PRIV_SETUID, CAP_SETUID },
	{ PRIV_SETUID, CAP_SETGID },
	{ PRIV_SETPCAP, CAP_SETPCAP },
	{ PRIV_BIND, CAP_NET_BIND_SERVICE },
	{ PRIV_READ, CAP_DAC_READ_SEARCH },
	{ PRIV_KILL, CAP_KILL },
};
enum { NCAPS = sizeof(caps) / sizeof(caps[0]) };

bool
priv_lookup(const char *user, struct priv_identity *id, struct fail *why)
{
	const struct passwd *pw;

	errno = 0;
	pw = getpwnam(user);
	if (!pw && errno)
		return fail_errno(why, 0, "user %s", user);
	if (!pw)
		return fail_set(why, FAIL_PERM, 0, "there is no user %s", user);
	id->uid = pw->pw_uid;
	id->gid = pw->pw_gid;
	return true;
}

static bool
wanted(cap_value_t cap, unsigned keep)
{
	for (size_t i = 0; i < NCAPS; i++)
		if (caps[i].cap == cap && caps[i].bit & keep)
			return true;
	return false;
}

/* What is not in the bounding set no exec can give back, not even to uid 0. */
static bool
limit_bounding_set(unsigned keep, struct fail *why)
{
	for (cap_value_t cap = 0; cap <= CAP_LAST_CAP; cap++)
		if (!wanted(cap, keep) && cap_get_bound(cap) > 0 && cap_drop_bound(cap) < 0)
			return fail_errno(why, 0, "drop capability %d from the bounding set", cap);
	return true;
}

static bool
set_capabilities(unsigned keep, struct fail *why)
{
	cap_t set = cap_init(); /* empty */
	bool ok = set != NULL;

	for (size_t i = 0; ok && i < NCAPS; i++)
		if (caps[i].bit & keep)
			ok = cap_set_flag(set, CAP_PERMITTED, 1, &caps[i].cap, CAP_SET) == 0 &&
			    cap_set_flag(set, CAP_EFFECTIVE, 1, &caps[i].cap, CAP_SET) == 0;
	ok = ok && cap_set_proc(set) == 0;
	if (!ok)
		(void)fail_errno(why, 0, "set capabilities");
	if (set)
		(void)cap_free(set);
	return ok;
}

static bool
holds(const struct priv_identity *id)
{
	uid_t r, e, s;
	gid_t gr, ge, gs;

	if (getresuid(&r, &e, &s) != 0 || r != id->uid || e != id->uid || s != id->uid)
		return false;
	if (getresgid(&gr, &ge, &gs) != 0 || gr != id->gid || ge != id->gid || gs != id->gid)
		return false;
	if (getgroups(0, NULL) != 0)
		return false;
	return id->uid == 0 || (setuid(0) < 0 && errno == EPERM); /* no way back */
}

bool
priv_become(const struct priv_identity *id, struct fail *why)
{
	unsigned keep = id->uid == 0 ? id->caps : 0;

	if (!limit_bounding_set(keep, why))
		return false;
	if (setgroups(0, NULL) < 0 || setresgid(id->gid, id->gid, id->gid) < 0 || setresuid(id->uid, id->uid, id->uid) < 0)
		return fail_errno(why, 0, "become uid %u gid %u", (unsigned)id->uid, (unsigned)id->gid);
	if (!set_capabilities(keep, why))
		return false;
	if (!holds(id))
		return fail_set(why, FAIL_PERM, 0, "identity uid %u gid %u did not hold", (unsigned)id->uid, (unsigned)id->gid);
	return true;
}

bool
priv_keep(unsigned keep, struct fail *why)
{
	return limit_bounding_set(keep, why) && set_capabilities(keep, why);
}

void
priv_describe(char *text, size_t size)
{
	cap_t set = cap_get_proc();
	char *words = set ? cap_to_text(set, NULL) : NULL;

	(void)snprintf(text, size, "%s", words ? words : "unknown");
	if (words)
		(void)cap_free(words);
	if (set)
		(void)cap_free(set);
}
