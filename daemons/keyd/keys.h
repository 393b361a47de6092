/* SPDX-License-Identifier: ISC
 *
 * keys: a set of private keys and the certificate chains that go with them,
 * read from PEM files. Signs; has no function that gives a key away.
 */
#ifndef KEYD_KEYS_H
#define KEYD_KEYS_H

#include "base/buf.h"
#include "base/fail.h"
#include "base/list.h"
#include "ipc/messages.h"

enum {
	KEYS_ID = 32,             /* SHA-256 of the public key */
	KEYS_FILE_MAX = 256 * 1024,
	KEYS_MAX = 10000,         /* in one set */
};

struct keys {
	struct list keys, chains;
	size_t nkeys, nchains;
};

struct keys_chain {
	struct list node;
	struct buf pem; /* certificates alone */
	char path[B_PATH + 1];
	char subject[256];
	uint8_t id[KEYS_ID]; /* of the leaf's key */
};

void keys_init(struct keys *set);
void keys_free(struct keys *set);
/* Whatever is in a file: any keys, and at most one chain. path is its name for messages.
 * False, and nothing added: unreadable, also in part, encrypted, neither key nor certificate. */
bool keys_add(struct keys *set, struct span path, struct span pem, struct fail *why);
void keys_take(struct keys *to, struct keys *from); /* all of it; from is empty afterwards */
/* Takes over what another set has from that file, when it cannot be read any more. */
bool keys_carry(struct keys *set, const struct keys *from, struct span path);
/* A chain of the set without its key becomes, with the key, what another set has from its file; false: that has none either. */
bool keys_restore(struct keys *set, const struct keys *from, struct keys_chain *chain);
/* The next chain there is a key for; NULL at the end. Start with NULL. */
const struct keys_chain *keys_chain_next(const struct keys *set, const struct keys_chain *after);
bool keys_have(const struct keys *set, const uint8_t id[KEYS_ID]);

/* False with the class PERM: no such key here (ask another set). PEER: the request
 * does not fit the key or any row of the table. */
bool keys_sign(struct keys *set, const struct ipc_sign_ask *ask, struct buf *signature, struct fail *why);

/* One line for each key: its id, kind, file and how often it signed. */
void keys_each_line(const struct keys *set, void (*line)(void *arg, struct span text), void *arg);

#endif
