/* SPDX-License-Identifier: ISC
 *
 * memo: small things that routed learns and remembers over a restart, in a
 * Berkeley DB of its own.  A second of it may be lost in a crash.  What is
 * outdated is forgotten in the background.
 */
#ifndef ROUTED_MEMO_H
#define ROUTED_MEMO_H

#include "sys/loop.h"
#include "table/bdb.h"

struct memo {
	struct loop *loop;
	const char *name;    /* of the database, and for the log */
	struct bdb_env *env; /* NULL while it cannot be opened */
	struct bdb *db;
	unsigned batched;    /* puts that are not durable yet */
	size_t entries;      /* as of the last sweep, and what was new since */
	struct timer commit, sweep;
	/* Whether that may be forgotten; anything that cannot be read may. */
	bool (*outdated)(const struct memo *m, struct span value, uint64_t now_s);
};

void memo_init(struct memo *m, struct loop *loop, const char *name, bool (*outdated)(const struct memo *m, struct span value, uint64_t now_s));
/* Makes dir if there is none. True when it is open already. */
bool memo_open(struct memo *m, const char *dir, struct fail *why);
void memo_close(struct memo *m);
static inline bool memo_is_open(const struct memo *m) { return m->db != NULL; }

/* The value is copied into the arena. */
enum bdb_found memo_get(struct memo *m, struct span key, struct arena *arena, struct span *value, struct fail *why);
/* is_new: there was none under that key. */
bool memo_put(struct memo *m, struct span key, struct span value, bool is_new, struct fail *why);
/* Visits those whose key begins so, until visit says false; nothing may be written in it. */
bool memo_each(struct memo *m, struct span prefix, bool (*visit)(void *arg, struct span key, struct span value), void *arg, struct fail *why);
bool memo_forget(struct memo *m, struct span key, struct fail *why);

#endif
