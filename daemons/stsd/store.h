/* SPDX-License-Identifier: ISC
 *
 * store: fetched policies, kept in Berkeley DB until they expire, so that a
 * restart forgets none (RFC 8461 3.3, 10.2).  Durable when put.
 *
 * Key: the domain in lower case.  Value, little-endian: version byte 1, mode
 * byte, fetched and expires (Unix seconds, u64), length of id (u8), id, the
 * rest is the patterns of MX hosts with blanks between.
 */
#ifndef STSD_STORE_H
#define STSD_STORE_H

#include "daemons/stsd/policy.h"
#include "table/bdb.h"

struct entry {
	enum policy_mode mode;
	int64_t fetched_s, expires_s;
	char id[POLICY_ID + 1];
	struct span patterns;
};

struct store {
	struct bdb_env *env;
	struct bdb *db; /* NULL: closed; then nothing is kept */
};

/* dir exists and is ours. */
bool store_open(struct store *s, const char *dir, struct fail *why);
void store_close(struct store *s);
/* False: none, or it cannot be read. The patterns are in the arena. */
bool store_get(struct store *s, struct span domain, struct arena *arena, struct entry *out);
bool store_put(struct store *s, struct span domain, const struct entry *e, struct fail *why);
/* Visits all until visit says false; nothing may be written in it. */
bool store_each(struct store *s, bool (*visit)(void *arg, struct span domain, const struct entry *e), void *arg, struct fail *why);
/* Forgets what has expired. */
bool store_sweep(struct store *s, int64_t now_s, struct fail *why);

/* For tests of what is on disk. */
void store_encode(struct buf *out, const struct entry *e);
bool store_decode(struct span value, struct entry *out); /* patterns point into value */

#endif
