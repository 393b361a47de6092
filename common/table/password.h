/* SPDX-License-Identifier: ISC
 *
 * password: making and checking stored passwords. Takes tens of
 * milliseconds and much memory by intent: off the loop, on a worker thread.
 */
#ifndef TABLE_PASSWORD_H
#define TABLE_PASSWORD_H

#include "base/buf.h"
#include "base/fail.h"

enum password_kind { PASSWORD_ARGON2ID, PASSWORD_YESCRYPT };

struct password_cost {
	enum password_kind kind;
	uint32_t memory_kib; /* argon2id */
};

enum { PASSWORD_MAX = 1024, PASSWORD_HASH_MAX = 512 };

/* Appends a PHC string ($argon2id$...) or a crypt(5) string ($y$...). */
bool password_hash(struct span password, const struct password_cost *cost, struct buf *out, struct fail *why);
/* Whether a stored string is of a kind that can be checked: $argon2id$, $y$, $7$, $6$, $5$, $2b$. */
bool password_known(struct span stored);
/* The password's prepared form (RFC 4013) matches, or it does as it is given, for what was stored before there was one.
 * In constant time once the hash is computed. Nothing matches an empty or unknown stored string. */
bool password_check(struct span password, struct span stored);

#endif
