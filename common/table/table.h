/* SPDX-License-Identifier: ISC
 *
 * table: one interface to every lookup table, written type:name.
 *
 *   file:PATH (texthash:)          a text file, held in memory, read again when it changes
 *   db:PATH, db:hash:PATH, db:btree:PATH (hash: btree:)
 *                                  Berkeley DB PATH.db, rebuilt when the text PATH changes
 *   pcre:PATH                      /pattern/flags result; the first match decides
 *   cidr:PATH                      network result; the first match decides
 *   inline:{key=value, ...}        in the configuration itself
 *   static:VALUE                   the same for every key
 *
 * A table that cannot be read fails temporarily until it can; what was
 * read last goes on being used when a new version is unreadable.  Keys are compared without
 * regard to ASCII case.  Lookups do not block but for disk reads.
 */
#ifndef TABLE_TABLE_H
#define TABLE_TABLE_H

#include "base/arena.h"
#include "base/fail.h"

enum table_found { TABLE_FOUND, TABLE_NONE, TABLE_FAILED };

/* The form of a text source. */
enum table_syntax {
	TABLE_MAP,     /* key blank value, as for postmap */
	TABLE_ALIASES, /* name: value, as in aliases(5) */
};

enum { TABLE_KEY_MAX = 1024, TABLE_VALUE_MAX = 1024 * 1024, TABLE_FILE_MAX = 256 * 1024 * 1024 };

struct table_options {
	enum table_syntax syntax;
	/* Where rebuilt databases go when PATH's own directory cannot be written; NULL: nowhere else. */
	const char *cache_dir;
	/* What an administrator should know: rebuilt, unreadable, bad line. May be NULL. */
	void (*on_event)(void *arg, const char *text);
	void *arg;
};

struct table;

/* False only for what is not a table at all; a missing file shows at lookup.  The options are copied. */
bool table_open(struct span spec, const struct table_options *options, struct table **out, struct fail *why);
/* A table that fails every lookup with `reason`, in the place of one that table_open() refused; NULL: no memory. */
struct table *table_open_broken(struct span spec, const struct fail *reason);
void table_close(struct table **table);
struct span table_spec(const struct table *table);
/* Its entries are written for whole addresses and names: "not one of ours" is true of any part of ours. */
bool table_has_patterns(const struct table *table);
/* The file behind it, or NULL. */
const char *table_path(const struct table *table);

/* Looks whether the source has changed, at most once a second of now_ms, and reads it
 * again or rebuilds the database then; one that is written in place, once nothing has
 * been written to it for a second. */
void table_refresh(struct table *table, int64_t now_ms);
/* The same at once and unconditionally (newaliases); false: it could not be done. */
bool table_rebuild(struct table *table, struct fail *why);

/* The value is copied into the arena. FAILED: *why says what, FAIL_TEMP. */
enum table_found table_lookup(struct table *table, struct span key, struct arena *arena, struct span *value,
    struct fail *why);

#endif
