/* SPDX-License-Identifier: ISC */
#include "table/userdb.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/digest.h"
#include "table/shares.h"

static const struct desc_field fields[] = {
#define FIELD(kind, name, bound, doc) { #name, DESC_##kind, bound, offsetof(struct user, name), doc },
#include "table/userdb.def"
};

static const struct desc user_desc = { "user", fields, sizeof(fields) / sizeof(fields[0]), sizeof(struct user), "a mailbox user" };

struct userdb {
	struct bdb_env *env;
	struct bdb *users, *shares, *crashes;
	char *dir; /* owned */
	uint8_t secret[DIGEST_SHA256]; /* what salts are made with */
};

enum { RECORD_MAX = 4096, SECRET_SCRATCH = 1024 };

static bool
is_name_byte(char c)
{
	unsigned char u = (unsigned char)c;

	return u > ' ' && u != 0x7f && c != '/' && c != '\\' && c != '"' && c != '<' && c != '>' && c != ':' && c != ',';
}

bool
userdb_name(struct span text, char name[USERDB_NAME + 1], struct fail *why)
{
	size_t at = span_rchr(text, '@');

	name[0] = '\0';
	if (text.n > USERDB_NAME || at == SIZE_MAX || at == 0 || at + 1 == text.n || span_chr(text, '@') != at)
		return fail_set(why, FAIL_PERM, 0, "not NAME@DOMAIN: %.*s", SPAN_ARG(span_sub(text, 0, 80)));
	if (text.p[0] == '.' || text.p[at + 1] == '.')
		return fail_set(why, FAIL_PERM, 0, "name or domain begins with a dot");
	for (size_t i = 0; i < text.n; i++) {
		if (!is_name_byte(text.p[i])) {
			name[0] = '\0';
			return fail_set(why, FAIL_PERM, 0, "a character that no user's name may have: %.*s", SPAN_ARG(span_sub(text, 0, 80)));
		}
		name[i] = ascii_lower(text.p[i]);
	}
	name[text.n] = '\0';
	return true;
}

void
userdb_home(const struct user *user, struct span name, struct buf *out)
{
	size_t at = span_rchr(name, '@');

	if (user->home.n) {
		buf_put(out, user->home);
		return;
	}
	buf_put(out, span_from(name, at + 1));
	buf_putc(out, '/');
	buf_put(out, span_sub(name, 0, at));
}

bool
userdb_home_ok(struct span home)
{
	return home.n == 0 || (home.n <= USERDB_HOME && span_is_below(home, USERDB_DEPTH));
}

/* Root fills a directory of authd's: give it to authd, which could not open it otherwise. */
static bool
give_to_owner(const char *dir, struct fail *why)
{
	struct stat st;
	DIR *d;
	const struct dirent *e;
	bool ok;

	if (geteuid() != 0)
		return true;
	d = opendir(dir);
	ok = d && fstat(dirfd(d), &st) == 0;
	while (ok && st.st_uid != 0 && (e = readdir(d)))
		if (strcmp(e->d_name, ".") != 0 && strcmp(e->d_name, "..") != 0)
			ok = fchownat(dirfd(d), e->d_name, st.st_uid, st.st_gid, AT_SYMLINK_NOFOLLOW) == 0;
	if (!ok)
		(void)fail_errno(why, 0, "giving %s to its owner", dir);
	if (d)
		(void)closedir(d);
	return ok;
}

/* Made at the first opening, then kept: with another one everybody who has been asked about would get another salt
 * but those with keys. */
static bool
read_secret(struct userdb *db, struct fail *why)
{
	struct bdb *secrets = NULL;
	struct arena mem;
	struct span value = SPAN_NONE;
	uint8_t fresh[sizeof(db->secret)];
	bool taken, ok;

	arena_init(&mem, SECRET_SCRATCH);
	ok = bdb_open(db->env, "secrets", BDB_BTREE, &secrets, why) &&
	     (getrandom(fresh, sizeof(fresh), 0) == (ssize_t)sizeof(fresh) || fail_errno(why, 0, "random bytes")) &&
	     bdb_add(secrets, SPAN("scram-salt"), span_of(fresh, sizeof(fresh)), &taken, why) &&
	     bdb_get(secrets, SPAN("scram-salt"), &mem, &value, why) == BDB_FOUND;
	if (ok && value.n != sizeof(db->secret))
		ok = fail_set(why, FAIL_TEMP, 0, "the secret of the user database is damaged");
	if (ok)
		memcpy(db->secret, value.p, sizeof(db->secret));
	explicit_bzero(fresh, sizeof(fresh));
	if (secrets)
		(void)bdb_close(&secrets, why);
	arena_free(&mem);
	return ok;
}

void
userdb_salt(const struct userdb *db, struct span name, uint8_t salt[USERDB_SALT])
{
	uint8_t mac[DIGEST_SHA256];

	digest_hmac(span_of(db->secret, sizeof(db->secret)), name, mac);
	memcpy(salt, mac, USERDB_SALT);
}

bool
userdb_open(const char *dir, struct userdb **out, struct fail *why)
{
	struct userdb *db = calloc(1, sizeof(*db));

	*out = NULL;
	if (!db || !(db->dir = strdup(dir))) {
		free(db);
		return fail_set(why, FAIL_TEMP, 0, "out of memory");
	}
	if (!bdb_env_open(dir, &db->env, why) || !bdb_open(db->env, "users", BDB_BTREE, &db->users, why) ||
	    !bdb_open(db->env, "shares", BDB_BTREE, &db->shares, why) || !bdb_open(db->env, "crashes", BDB_BTREE, &db->crashes, why) || !read_secret(db, why) ||
	    !give_to_owner(dir, why)) {
		userdb_close(&db);
		return false;
	}
	*out = db;
	return true;
}

void
userdb_close(struct userdb **at)
{
	struct userdb *db = *at;
	struct fail why;

	if (!db)
		return;
	if (db->users)
		(void)bdb_close(&db->users, &why);
	if (db->shares)
		(void)bdb_close(&db->shares, &why);
	if (db->crashes)
		(void)bdb_close(&db->crashes, &why);
	bdb_env_close(&db->env);
	(void)give_to_owner(db->dir, &why);
	explicit_bzero(db->secret, sizeof(db->secret));
	free(db->dir);
	free(db);
	*at = NULL;
}

static bool
decode(struct span record, struct user *user, struct fail *why)
{
	const struct desc_field *bad = NULL;
	struct span fields_of = span_from(record, 1);
	int version = record.n ? record.p[0] : 0;

	if (version < 1 || version > USERDB_VERSION)
		return fail_set(why, FAIL_TEMP, 0, "user record of unknown version %d", version);
	if (!(version < USERDB_VERSION ? desc_decode_older(&user_desc, fields_of, user, &bad) : desc_decode(&user_desc, fields_of, user, &bad)))
		return fail_set(why, FAIL_TEMP, 0, "user record is damaged at %s", bad ? bad->name : "its end");
	return true;
}

enum bdb_found
userdb_get(struct userdb *db, struct span name, struct arena *mem, struct user *user, struct fail *why)
{
	struct span record;
	enum bdb_found found = bdb_get(db->users, name, mem, &record, why);

	if (found == BDB_FOUND && !decode(record, user, why))
		return BDB_FAILED;
	return found;
}

bool
userdb_put(struct userdb *db, struct span name, const struct user *user, bool create, bool *taken, struct fail *why)
{
	struct buf record;
	bool fresh = true, ok;

	buf_init(&record, RECORD_MAX);
	buf_putc(&record, USERDB_VERSION);
	ok = desc_encode(&user_desc, user, &record) && buf_ok(&record);
	if (!ok)
		(void)fail_set(why, FAIL_LIMIT, 0, "a value of the user is over its bound");
	else if (create)
		ok = bdb_add(db->users, name, buf_span(&record), &fresh, why);
	else
		ok = bdb_put(db->users, name, buf_span(&record), why);
	buf_wipe(&record);
	*taken = ok && !fresh;
	if (*taken)
		return fail_set(why, FAIL_PERM, 0, "%.*s is there already", SPAN_ARG(name));
	return ok;
}

bool
userdb_delete(struct userdb *db, struct span name, struct fail *why)
{
	return shares_forget(&(struct shares){ db->env, db->shares }, name, why) && bdb_del(db->crashes, name, why) && bdb_del(db->users, name, why);
}

bool
userdb_share(struct userdb *db, struct span owner, struct span guest, bool on, struct fail *why)
{
	return shares_set(&(struct shares){ db->env, db->shares }, owner, guest, on, why);
}

enum bdb_found
userdb_shared(struct userdb *db, struct span owner, struct span guest, struct fail *why)
{
	return shares_has(&(struct shares){ db->env, db->shares }, owner, guest, why);
}

bool
userdb_sharers(struct userdb *db, struct span guest, bool (*visit)(void *, struct span), void *arg, struct fail *why)
{
	return shares_each(&(struct shares){ db->env, db->shares }, guest, visit, arg, why);
}

bool
userdb_crash(struct userdb *db, const struct crash_row *row, struct fail *why)
{
	return crashes_set(&(struct crashes){ db->crashes }, row, why);
}

bool
userdb_crashes(struct userdb *db, bool (*visit)(void *, const struct crash_row *), void *arg, struct fail *why)
{
	return crashes_each(&(struct crashes){ db->crashes }, visit, arg, why);
}

struct each {
	struct span match; /* domain without @, or a whole name */
	bool (*visit)(void *, struct span, const struct user *);
	void *arg;
};

static bool
visit_one(void *arg, struct span key, struct span value)
{
	const struct each *e = arg;
	struct user user;
	struct fail why;
	bool whole = span_chr(e->match, '@') != SIZE_MAX;

	if (whole && !span_caseeq(key, e->match))
		return true;
	if (!whole && e->match.n && !span_caseeq(span_from(key, span_rchr(key, '@') + 1), e->match))
		return true;
	return !decode(value, &user, &why) || e->visit(e->arg, key, &user);
}

bool
userdb_each(struct userdb *db, struct span match, bool (*visit)(void *, struct span, const struct user *), void *arg, struct fail *why)
{
	struct each e = { match, visit, arg };

	if (match.n && match.p[0] == '@')
		e.match = span_from(match, 1);
	return bdb_each(db->users, SPAN_NONE, visit_one, &e, why);
}
