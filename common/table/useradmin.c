/* SPDX-License-Identifier: ISC */
#include "table/useradmin.h"

#include <string.h>

#include "base/saslprep.h"
#include "mail/status.h"
#include "table/scramkey.h"

enum { SCRATCH = 16384 };

/* Whoever is there keeps the name that was given before names were prepared. */
bool
useradmin_name(struct userdb *db, struct span given, bool create, char name[USERDB_NAME + 1], struct fail *why)
{
	struct user user;
	struct arena mem;
	struct buf room;
	bool ok;

	arena_init(&mem, SCRATCH);
	ok = !create && userdb_name(given, name, why) && userdb_get(db, span_str(name), &mem, &user, why) != BDB_NONE;
	arena_free(&mem);
	if (ok)
		return true;
	buf_init(&room, SASLPREP_MAX);
	ok = userdb_name(saslprep_or_given(given, &room), name, why);
	buf_free(&room);
	return ok;
}

bool
useradmin_check(struct userdb *db, const struct ipc_user_admin_set *set, char name[USERDB_NAME + 1], struct fail *why)
{
	if (!useradmin_name(db, set->user, set->create, name, why))
		return false;
	if (!userdb_home_ok(set->home))
		return fail_set(why, FAIL_PERM, 0, "not a mailbox directory: %.*s", SPAN_ARG(span_sub(set->home, 0, 100)));
	if ((set->uid == 0) != (set->gid == 0))
		return fail_set(why, FAIL_PERM, 0, "uid %u and gid %u: neither of a mailbox's owner may be root's", set->uid, set->gid);
	return true;
}

/* What stands in the database; false and *why when it is not as create wants it. */
static bool
fetch(struct userdb *db, struct span name, bool create, struct arena *mem, struct user *user, struct fail *why)
{
	switch (userdb_get(db, name, mem, user, why)) {
	case BDB_FOUND:
		return !create || fail_set(why, FAIL_PERM, 0, "%.*s is there already", SPAN_ARG(name));
	case BDB_NONE:
		return create || fail_set(why, FAIL_PERM, STATUS_BAD_MAILBOX, "there is no user %.*s", SPAN_ARG(name));
	default:
		return false;
	}
}

void
useradmin_secret_init(struct useradmin_secret *s, const struct userdb *db, struct span user, uint32_t scram_iterations)
{
	char name[USERDB_NAME + 1];
	struct fail why;

	*s = (struct useradmin_secret){ .iterations = scram_iterations };
	buf_init(&s->hash, PASSWORD_HASH_MAX);
	buf_init(&s->scram, SCRAMKEY_TEXT_MAX);
	if (userdb_name(user, name, &why))
		userdb_salt(db, span_str(name), s->salt);
}

bool
useradmin_hash(struct useradmin_secret *s, struct span password, const struct password_cost *cost, struct fail *why)
{
	struct scramkey key;

	if (password.n == 0)
		return true;
	if (!password_hash(password, cost, &s->hash, why))
		return false;
	if (s->iterations) {
		scramkey_make(password, span_of(s->salt, sizeof(s->salt)), s->iterations, &key);
		scramkey_put(&key, &s->scram);
		explicit_bzero(&key, sizeof(key));
	}
	return buf_ok(&s->scram) || fail_set(why, FAIL_TEMP, 0, "out of memory");
}

void
useradmin_secret_wipe(struct useradmin_secret *s)
{
	buf_wipe(&s->hash);
	buf_wipe(&s->scram);
}

bool
useradmin_set(struct userdb *db, const struct ipc_user_admin_set *set, const struct useradmin_secret *secret, int64_t now_s, struct fail *why)
{
	char name[USERDB_NAME + 1];
	struct user user = { .uid = 0 };
	struct arena mem;
	bool taken, ok;

	if (!useradmin_check(db, set, name, why))
		return false;
	arena_init(&mem, SCRATCH);
	ok = fetch(db, span_str(name), set->create, &mem, &user, why);
	if (ok) {
		if (set->create)
			user = (struct user){ .uid = set->uid, .gid = set->gid, .home = set->home, .quota = set->quota };
		user.hash = buf_span(&secret->hash);
		user.scram = buf_span(&secret->scram);
		user.changed = (uint64_t)now_s;
		ok = userdb_put(db, span_str(name), &user, set->create, &taken, why);
	}
	arena_free(&mem);
	return ok;
}

bool
useradmin_quota(struct userdb *db, const struct ipc_user_admin_quota *quota, struct fail *why)
{
	char name[USERDB_NAME + 1];
	struct user user;
	struct arena mem;
	bool taken, ok;

	if (!useradmin_name(db, quota->user, false, name, why))
		return false;
	arena_init(&mem, SCRATCH);
	ok = fetch(db, span_str(name), false, &mem, &user, why);
	if (ok) {
		user.quota = quota->set_size ? quota->size : user.quota;
		user.messages = quota->set_messages ? quota->messages : user.messages;
		ok = userdb_put(db, span_str(name), &user, false, &taken, why);
	}
	arena_free(&mem);
	return ok;
}

bool
useradmin_set_scram(struct userdb *db, struct span name, struct span hash, struct span scram, struct fail *why)
{
	struct user user;
	struct arena mem;
	enum bdb_found found;
	bool taken, ok;

	arena_init(&mem, SCRATCH);
	found = userdb_get(db, name, &mem, &user, why);
	ok = found != BDB_FAILED;
	if (found == BDB_FOUND && span_eq(user.hash, hash)) {
		user.scram = scram;
		ok = userdb_put(db, name, &user, false, &taken, why);
	}
	arena_free(&mem);
	return ok;
}

bool
useradmin_remove(struct userdb *db, const struct ipc_user_admin_remove *remove, struct fail *why)
{
	char name[USERDB_NAME + 1];
	struct user user;
	struct arena mem;
	bool ok;

	if (!useradmin_name(db, remove->user, false, name, why))
		return false;
	arena_init(&mem, SCRATCH);
	ok = fetch(db, span_str(name), false, &mem, &user, why) && userdb_delete(db, span_str(name), why);
	arena_free(&mem);
	return ok;
}

struct listing {
	uint64_t id;
	bool (*row)(void *, const struct ipc_user_admin_user *);
	void *arg;
};

static bool
list_one(void *arg, struct span name, const struct user *user)
{
	const struct listing *l = arg;
	struct ipc_user_admin_user m = {
		.id = l->id,
		.user = name,
		.uid = user->uid,
		.gid = user->gid,
		.quota = user->quota,
		.messages = user->messages,
		.login = user->hash.n > 0,
		.scram = user->hash.n > 0 && user->scram.n > 0,
	};
	struct buf home;
	bool more;

	buf_init(&home, USERDB_HOME);
	userdb_home(user, name, &home);
	m.home = buf_span(&home);
	more = l->row(l->arg, &m);
	buf_free(&home);
	return more;
}

bool
useradmin_list(struct userdb *db, const struct ipc_user_admin_list *list, bool (*row)(void *, const struct ipc_user_admin_user *), void *arg,
    struct fail *why)
{
	struct listing l = { list->id, row, arg };
	size_t at = span_chr(list->match, '@');
	char name[USERDB_NAME + 1];
	bool whole = at > 0 && at != SIZE_MAX && useradmin_name(db, list->match, false, name, why);

	return userdb_each(db, whole ? span_str(name) : list->match, list_one, &l, why);
}
