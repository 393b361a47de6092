/* SPDX-License-Identifier: ISC
 *
 * db: tables: PATH.db, made from the text PATH.
 *
 * The database carries the stamp of the source it was made from, so a changed
 * source is noticed whatever the clock says.  It is built under another name
 * and renamed, so a reader sees the old one or the new one.  A PATH.db
 * without a source is used as it is, Postfix's own (keys with a NUL behind) too.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "table/bdb.h"
#include "table/kind.h"
#include "table/maptext.h"

static const struct span stamp_key = { "\0source", 7 };

struct dbtable {
	enum bdb_type type;
	struct bdb *db;     /* open for reading, or NULL */
	bool foreign;       /* has no stamp: keys may end in NUL */
	char stamp[128];    /* of the source now */
	struct table *table;
	struct bdb *building;
	struct fail failed;
};

static bool
open_type(struct table *t, struct span name, enum bdb_type type, struct fail *why)
{
	struct dbtable *d = calloc(1, sizeof(*d));

	if (!d)
		return fail_errno(why, 0, "open %.*s", SPAN_ARG(t->spec));
	t->state = d;
	d->type = type;
	d->table = t;
	if (!table_set_path(t, name, why))
		return false;
	t->made = arena_printf(&t->memory, "%.*s.db", SPAN_ARG(name)).p;
	return t->made || fail_set(why, FAIL_TEMP, 0, "no memory for %.*s", SPAN_ARG(t->spec));
}

static bool
db_open(struct table *t, struct span name, struct fail *why)
{
	if (span_starts(name, SPAN("btree:")))
		return open_type(t, span_from(name, 6), BDB_BTREE, why);
	if (span_starts(name, SPAN("hash:")))
		name = span_from(name, 5);
	return open_type(t, name, BDB_HASH, why);
}

static bool
hash_open(struct table *t, struct span name, struct fail *why)
{
	return open_type(t, name, BDB_HASH, why);
}

static bool
btree_open(struct table *t, struct span name, struct fail *why)
{
	return open_type(t, name, BDB_BTREE, why);
}

static void
db_close(struct table *t)
{
	struct dbtable *d = t->state;

	if (d)
		(void)bdb_close(&d->db, NULL);
	free(d);
}

/* Whether the database at path was made from the source as it is now. */
static bool
use_if_fresh(struct dbtable *d, const char *path, bool have_source)
{
	char memory_stamp[sizeof(d->stamp)];
	struct arena a;
	struct bdb *db;
	struct span stamp;
	bool fresh;

	if (access(path, R_OK) != 0 || !bdb_file_open(path, &db, NULL))
		return false;
	arena_init(&a, 4096);
	d->foreign = bdb_get(db, stamp_key, &a, &stamp, NULL) != BDB_FOUND;
	fresh = !have_source || (!d->foreign && span_cstr(stamp, memory_stamp, sizeof(memory_stamp)) &&
	    strcmp(memory_stamp, d->stamp) == 0);
	arena_free(&a);
	if (!fresh) {
		(void)bdb_close(&db, NULL);
		return false;
	}
	(void)bdb_close(&d->db, NULL);
	d->db = db;
	return true;
}

static bool
on_entry(void *arg, unsigned line, struct span key, struct span value)
{
	struct dbtable *d = arg;
	char lower[TABLE_KEY_MAX];
	bool taken;

	for (size_t i = 0; i < key.n; i++)
		lower[i] = ascii_lower(key.p[i]);
	if (!bdb_add(d->building, span_of(lower, key.n), value, &taken, &d->failed))
		return false;
	if (!taken)
		table_event(d->table, "%.*s, line %u: \"%.*s\" is there a second time; the first counts",
		    SPAN_ARG(d->table->spec), line, SPAN_ARG(key));
	return true;
}

static void
on_bad(void *arg, unsigned line, const char *what)
{
	struct dbtable *d = arg;

	table_event(d->table, "%.*s, line %u: %s; the line does not count", SPAN_ARG(d->table->spec), line, what);
}

/* Fills a new file and renames it into place. */
static bool
build(struct dbtable *d, struct span text, const char *path, struct fail *why)
{
	struct maptext_visitor v = { on_entry, on_bad, d };
	char temp[4200];
	bool ok;

	(void)snprintf(temp, sizeof(temp), "%s.%ld", path, (long)getpid());
	(void)unlink(temp);
	if (!bdb_file_create(temp, d->type, &d->building, why))
		return false;
	ok = bdb_put(d->building, stamp_key, span_str(d->stamp), &d->failed) && maptext_walk(text,
	    d->table->options.syntax, &v);
	if (!ok && why)
		*why = d->failed;
	ok = bdb_close(&d->building, ok ? why : NULL) && ok;
	if (ok && rename(temp, path) != 0)
		ok = fail_errno(why, 0, "rename %s", temp);
	if (ok)
		table_event(d->table, "%.*s: rebuilt as %s", SPAN_ARG(d->table->spec), path);
	else
		(void)unlink(temp);
	return ok;
}

/* The name in the cache directory: the path with / as %. */
static bool
cache_path(const struct table *t, char *out, size_t cap)
{
	int n;

	if (!t->options.cache_dir)
		return false;
	n = snprintf(out, cap, "%s/%s.db", t->options.cache_dir, t->path + 1);
	if (n < 0 || (size_t)n >= cap)
		return false;
	for (char *p = out + strlen(t->options.cache_dir) + 1; *p; p++)
		if (*p == '/')
			*p = '%';
	return true;
}

static bool
load_from(struct dbtable *d, struct span text, bool have_source, struct fail *why)
{
	const char *beside = d->table->made;
	char cached[4096];
	bool has_cache = cache_path(d->table, cached, sizeof(cached));
	struct fail own;

	if (use_if_fresh(d, beside, have_source) || (has_cache && use_if_fresh(d, cached, have_source)))
		return true;
	if (!have_source)
		return fail_set(why, FAIL_TEMP, 0, "there is neither %s nor %s", d->table->path, beside);
	if (build(d, text, beside, &own))
		return use_if_fresh(d, beside, true) || fail_set(why, FAIL_TEMP, 0, "%s cannot be read back", beside);
	if (!has_cache) {
		if (why)
			*why = own;
		return false;
	}
	if (!build(d, text, cached, why))
		return false;
	return use_if_fresh(d, cached, true) || fail_set(why, FAIL_TEMP, 0, "%s cannot be read back", cached);
}

static bool
db_load(struct table *t, struct fail *why)
{
	struct dbtable *d = t->state;
	struct stat seen = { 0 };
	char *text = NULL;
	size_t n = 0;
	bool have_source, ok;

	have_source = access(t->path, F_OK) == 0;
	if (have_source && !table_read_source(t, &text, &n, &seen, why))
		return false;
	if (!have_source)
		(void)stat(t->made, &seen); /* before it is opened: one that comes meanwhile is noticed */
	(void)snprintf(d->stamp, sizeof(d->stamp), "%" PRIdMAX ".%09ld %" PRIdMAX " %" PRIuMAX " %d",
	    (intmax_t)seen.st_mtim.tv_sec,
	    seen.st_mtim.tv_nsec, (intmax_t)seen.st_size, (uintmax_t)seen.st_ino, (int)t->options.syntax);
	ok = load_from(d, span_of(text, n), have_source, why);
	free(text);
	if (ok)
		t->seen = seen;
	return ok;
}

static enum table_found
db_lookup(struct table *t, struct span key, struct arena *arena, struct span *value, struct fail *why)
{
	struct dbtable *d = t->state;
	char ended[TABLE_KEY_MAX + 1];
	enum bdb_found found;

	if (key.p[0] == '\0')
		return TABLE_NONE; /* the stamp is nobody's address */
	found = bdb_get(d->db, key, arena, value, why);
	if (found == BDB_NONE && d->foreign) {
		memcpy(ended, key.p, key.n);
		ended[key.n] = '\0';
		found = bdb_get(d->db, span_of(ended, key.n + 1), arena, value, why);
		if (found == BDB_FOUND && value->n > 0 && value->p[value->n - 1] == '\0')
			value->n--;
	}
	if (found == BDB_FAILED && why)
		why->class = FAIL_TEMP;
	return found == BDB_FOUND ? TABLE_FOUND : found == BDB_NONE ? TABLE_NONE : TABLE_FAILED;
}

const struct table_kind table_kind_db = { "db", db_open, db_close, db_load, db_lookup, false };
const struct table_kind table_kind_hash = { "hash", hash_open, db_close, db_load, db_lookup, false };
const struct table_kind table_kind_btree = { "btree", btree_open, db_close, db_load, db_lookup, false };
