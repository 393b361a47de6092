/* SPDX-License-Identifier: ISC */
#include "table/bdb.h"

#include <db.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <unistd.h>

struct bdb_env {
	DB_ENV *env;
	DB_TXN *batch; /* open one, or NULL */
	int lock;      /* holds flock on DIR/lock */
};

struct bdb {
	DB *db;
	struct bdb_env *env; /* NULL: a plain file */
};

enum { CACHE_BYTES = 4 * 1024 * 1024, LOG_BYTES = 4 * 1024 * 1024, FILE_MODE = 0640, TABLE_MODE = 0644 };

static bool
bdb_fail(struct fail *why, const char *what, int rc)
{
	bool lasting = rc == DB_RUNRECOVERY || rc == DB_VERIFY_BAD || rc == EINVAL || rc == DB_OLD_VERSION;

	fail_set(why, lasting ? FAIL_PERM : FAIL_TEMP, 0, "%s: %s", what, db_strerror(rc));
	if (why && rc > 0)
		why->err = rc;
	return false;
}

static bool
env_lock(const char *dir, int *fd, struct fail *why)
{
	char path[4096];

	if (snprintf(path, sizeof(path), "%s/lock", dir) >= (int)sizeof(path))
		return fail_set(why, FAIL_PERM, 0, "%s: the name is too long", dir);
	*fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, FILE_MODE);
	if (*fd < 0)
		return fail_errno(why, 0, "open %s", path);
	if (flock(*fd, LOCK_EX | LOCK_NB) == 0)
		return true;
	fail_errno(why, 0, "%s is in use by another process", dir);
	close(*fd);
	return false;
}

/* Berkeley DB writes to stderr by itself unless told not to. */
static void
quiet_env(const DB_ENV *env, const char *prefix, const char *text)
{
	(void)env;
	(void)prefix;
	(void)text;
}

bool
bdb_env_open(const char *dir, struct bdb_env **out, struct fail *why)
{
	const u_int32_t flags = DB_CREATE | DB_PRIVATE | DB_INIT_MPOOL | DB_INIT_TXN | DB_INIT_LOG | DB_RECOVER;
	struct bdb_env *e = calloc(1, sizeof(*e));
	int rc;

	*out = NULL;
	if (!e)
		return fail_errno(why, 0, "open %s", dir);
	if (!env_lock(dir, &e->lock, why)) {
		free(e);
		return false;
	}
	rc = db_env_create(&e->env, 0);
	if (rc == 0) {
		e->env->set_errcall(e->env, quiet_env);
		if ((rc = e->env->set_cachesize(e->env, 0, CACHE_BYTES, 1)) == 0 &&
		    (rc = e->env->set_lg_max(e->env, LOG_BYTES)) == 0 &&
		    (rc = e->env->log_set_config(e->env, DB_LOG_AUTO_REMOVE, 1)) == 0)
			rc = e->env->open(e->env, dir, flags, FILE_MODE);
		if (rc != 0)
			e->env->close(e->env, 0);
	}
	if (rc != 0) {
		close(e->lock);
		free(e);
		return bdb_fail(why, dir, rc);
	}
	*out = e;
	return true;
}

void
bdb_env_close(struct bdb_env **env)
{
	struct bdb_env *e = *env;

	if (!e)
		return;
	bdb_batch_abort(e);
	e->env->txn_checkpoint(e->env, 0, 0, DB_FORCE);
	e->env->close(e->env, 0);
	close(e->lock);
	free(e);
	*env = NULL;
}

bool
bdb_env_checkpoint(struct bdb_env *env, struct fail *why)
{
	int rc = env->env->txn_checkpoint(env->env, 0, 0, 0);

	return rc == 0 ? true : bdb_fail(why, "checkpoint", rc);
}

static bool
open_any(struct bdb_env *env, const char *name, DBTYPE type, u_int32_t flags, struct bdb **out, struct fail *why)
{
	struct bdb *b = calloc(1, sizeof(*b));
	int rc;

	*out = NULL;
	if (!b)
		return fail_errno(why, 0, "open %s", name);
	b->env = env;
	rc = db_create(&b->db, env ? env->env : NULL, 0);
	if (rc == 0) {
		if (!env) {
			b->db->set_errcall(b->db, quiet_env);
			(void)b->db->set_cachesize(b->db, 0, CACHE_BYTES, 1);
		}
		rc = b->db->open(b->db, NULL, name, NULL, type, flags, env ? FILE_MODE : TABLE_MODE);
		if (rc != 0)
			b->db->close(b->db, DB_NOSYNC);
	}
	if (rc != 0) {
		free(b);
		return bdb_fail(why, name, rc);
	}
	*out = b;
	return true;
}

bool
bdb_open(struct bdb_env *env, const char *name, enum bdb_type type, struct bdb **out, struct fail *why)
{
	return open_any(env, name, type == BDB_HASH ? DB_HASH : DB_BTREE, DB_CREATE | DB_AUTO_COMMIT, out, why);
}

bool
bdb_file_open(const char *path, struct bdb **out, struct fail *why)
{
	return open_any(NULL, path, DB_UNKNOWN, DB_RDONLY, out, why);
}

bool
bdb_file_create(const char *path, enum bdb_type type, struct bdb **out, struct fail *why)
{
	return open_any(NULL, path, type == BDB_HASH ? DB_HASH : DB_BTREE, DB_CREATE | DB_EXCL, out, why);
}

bool
bdb_close(struct bdb **db, struct fail *why)
{
	struct bdb *b = *db;
	int rc;

	if (!b)
		return true;
	rc = b->db->close(b->db, 0);
	free(b);
	*db = NULL;
	return rc == 0 ? true : bdb_fail(why, "close", rc);
}

static DBT
dbt_of(struct span s)
{
	DBT t;

	memset(&t, 0, sizeof(t));
	memcpy(&t.data, &s.p, sizeof(t.data)); /* Berkeley DB does not write through it */
	t.size = (u_int32_t)s.n;
	return t;
}

static DB_TXN *
batch_of(const struct bdb *db)
{
	return db->env ? db->env->batch : NULL;
}

enum bdb_found
bdb_get(struct bdb *db, struct span key, struct arena *a, struct span *value, struct fail *why)
{
	DBT k = dbt_of(key), v = dbt_of(SPAN_NONE);
	int rc;

	*value = SPAN_NONE;
	rc = db->db->get(db->db, batch_of(db), &k, &v, 0);
	if (rc == DB_NOTFOUND || rc == DB_KEYEMPTY)
		return BDB_NONE;
	if (rc != 0) {
		bdb_fail(why, "lookup", rc);
		return BDB_FAILED;
	}
	*value = arena_dup(a, span_of(v.data, v.size));
	if (v.size > 0 && !value->p) {
		fail_set(why, FAIL_LIMIT, 0, "no room for a value of %u bytes", v.size);
		return BDB_FAILED;
	}
	return BDB_FOUND;
}

bool
bdb_put(struct bdb *db, struct span key, struct span value, struct fail *why)
{
	DBT k = dbt_of(key), v = dbt_of(value);
	int rc = db->db->put(db->db, batch_of(db), &k, &v, 0);

	return rc == 0 ? true : bdb_fail(why, "put", rc);
}

bool
bdb_add(struct bdb *db, struct span key, struct span value, bool *taken, struct fail *why)
{
	DBT k = dbt_of(key), v = dbt_of(value);
	int rc = db->db->put(db->db, batch_of(db), &k, &v, DB_NOOVERWRITE);

	*taken = rc == 0;
	return rc == 0 || rc == DB_KEYEXIST ? true : bdb_fail(why, "add", rc);
}

bool
bdb_del(struct bdb *db, struct span key, struct fail *why)
{
	DBT k = dbt_of(key);
	int rc = db->db->del(db->db, batch_of(db), &k, 0);

	return rc == 0 || rc == DB_NOTFOUND ? true : bdb_fail(why, "delete", rc);
}

bool
bdb_batch_begin(struct bdb_env *env, struct fail *why)
{
	int rc;

	if (env->batch)
		return fail_set(why, FAIL_PERM, 0, "a batch is open already");
	rc = env->env->txn_begin(env->env, NULL, &env->batch, 0);
	return rc == 0 ? true : bdb_fail(why, "begin", rc);
}

bool
bdb_batch_commit(struct bdb_env *env, struct fail *why)
{
	DB_TXN *batch = env->batch;
	int rc;

	if (!batch)
		return fail_set(why, FAIL_PERM, 0, "no batch is open");
	env->batch = NULL;
	rc = batch->commit(batch, 0);
	return rc == 0 ? true : bdb_fail(why, "commit", rc);
}

void
bdb_batch_abort(struct bdb_env *env)
{
	DB_TXN *batch = env->batch;

	env->batch = NULL;
	if (batch)
		(void)batch->abort(batch);
}

bool
bdb_each(struct bdb *db, struct span prefix, bool (*visit)(void *arg, struct span key, struct span value), void *arg,
    struct fail *why)
{
	DBT k = dbt_of(prefix), v = dbt_of(SPAN_NONE);
	DBC *cursor;
	DBTYPE type = DB_UNKNOWN;
	bool ordered;
	int rc = db->db->cursor(db->db, batch_of(db), &cursor, 0);

	if (rc != 0)
		return bdb_fail(why, "cursor", rc);
	ordered = db->db->get_type(db->db, &type) == 0 && type == DB_BTREE;
	rc = cursor->get(cursor, &k, &v, ordered && prefix.n > 0 ? DB_SET_RANGE : DB_FIRST);
	for (; rc == 0; rc = cursor->get(cursor, &k, &v, DB_NEXT)) {
		struct span key = span_of(k.data, k.size);

		if (span_starts(key, prefix)) {
			if (!visit(arg, key, span_of(v.data, v.size)))
				break;
		} else if (ordered) {
			break;
		}
	}
	cursor->close(cursor);
	return rc == 0 || rc == DB_NOTFOUND ? true : bdb_fail(why, "scan", rc);
}
