/* SPDX-License-Identifier: ISC
 *
 * bdb: the one place that knows Berkeley DB.
 *
 * Two uses.  A plain file: built whole, closed, renamed into place, then only
 * read (lookup tables).  A private transactional environment in a directory
 * of its own: one process has it open, every put is durable when it returns
 * (the log is synced), and opening it after a crash recovers (user database,
 * destination health).  One thread at a time.
 */
#ifndef TABLE_BDB_H
#define TABLE_BDB_H

#include "base/arena.h"
#include "base/fail.h"

struct bdb_env;
struct bdb;

enum bdb_type { BDB_HASH, BDB_BTREE };
enum bdb_found { BDB_FOUND, BDB_NONE, BDB_FAILED };

/* Opens the environment in dir, which exists and is the caller's; recovers
 * it.  Locked against a second process: then false with FAIL_TEMP. */
bool bdb_env_open(const char *dir, struct bdb_env **out, struct fail *why);
/* After its databases; writes a checkpoint. */
void bdb_env_close(struct bdb_env **env);
/* Moves the log into the databases and drops log files that are done with;
 * worth calling now and then after many puts. */
bool bdb_env_checkpoint(struct bdb_env *env, struct fail *why);

/* A database of the environment, made if there is none. */
bool bdb_open(struct bdb_env *env, const char *name, enum bdb_type type, struct bdb **out, struct fail *why);
/* A plain file to read; its type is found out. */
bool bdb_file_open(const char *path, struct bdb **out, struct fail *why);
/* A plain file to fill; it must not exist. bdb_close() writes it out. */
bool bdb_file_create(const char *path, enum bdb_type type, struct bdb **out, struct fail *why);
/* False only when what was put could not be written (plain files). */
bool bdb_close(struct bdb **db, struct fail *why);

/* The value is copied into the arena. */
enum bdb_found bdb_get(struct bdb *db, struct span key, struct arena *a, struct span *value, struct fail *why);
/* Replaces what the key had.  In an environment: durable on return, unless
 * a batch is open. */
bool bdb_put(struct bdb *db, struct span key, struct span value, struct fail *why);
/* As bdb_put, but keeps what is there: *taken says whether the key was new. */
bool bdb_add(struct bdb *db, struct span key, struct span value, bool *taken, struct fail *why);
/* Removing what is not there succeeds. */
bool bdb_del(struct bdb *db, struct span key, struct fail *why);

/* Puts and dels between begin and commit become durable together or not at
 * all.  One batch at a time in an environment; commit ends it in any case. */
bool bdb_batch_begin(struct bdb_env *env, struct fail *why);
bool bdb_batch_commit(struct bdb_env *env, struct fail *why);
void bdb_batch_abort(struct bdb_env *env);

/* Visits every pair whose key begins with prefix (a btree in key order and
 * without reading the rest; a hash in no order) until visit says false.
 * Key and value are valid during the visit; nothing may be written in it. */
bool bdb_each(struct bdb *db, struct span prefix, bool (*visit)(void *arg, struct span key, struct span value),
    void *arg,
    struct fail *why);

#endif
