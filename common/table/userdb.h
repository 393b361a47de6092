/* SPDX-License-Identifier: ISC
 *
 * userdb: the mailbox users, in Berkeley DB. One process has it open: authd,
 * or mailctl while no authd runs. Every change is durable when it returns.
 */
#ifndef TABLE_USERDB_H
#define TABLE_USERDB_H

#include "desc/desc.h"
#include "table/crashes.h"

enum { USERDB_NAME = 320, USERDB_HOME = 1024, USERDB_DEPTH = 16, USERDB_VERSION = 3, USERDB_SALT = 16 };

#define QUOTA_NONE UINT64_MAX

struct user {
#define FIELD(kind, name, bound, doc) desc_##kind##_type name;
#include "table/userdb.def"
};

struct userdb;

/* Canonical name: lower case, exactly one @ with something on both sides, and
 * nothing that could climb out of a directory named for it. False and *why. */
bool userdb_name(struct span text, char name[USERDB_NAME + 1], struct fail *why);
/* A limit as it applies: 0 for none. */
static inline uint64_t userdb_limit(uint64_t of_user, uint64_t of_all) { return of_user == QUOTA_NONE ? 0 : of_user ? of_user : of_all; }
/* The mailbox directory: user->home, or DOMAIN/NAME. */
void userdb_home(const struct user *user, struct span name, struct buf *out);
/* What a home may be, whoever has it: empty, or "a/b/c" with no empty, "." or ".." part, for all that are below one directory. */
bool userdb_home_ok(struct span home);

/* dir exists. What root makes in it gets the directory's owner. */
bool userdb_open(const char *dir, struct userdb **out, struct fail *why);
void userdb_close(struct userdb **db);

/* Spans of *user live in the arena. */
enum bdb_found userdb_get(struct userdb *db, struct span name, struct arena *mem, struct user *user, struct fail *why);
/* create: false with *taken when there is one already; else replaces. */
bool userdb_put(struct userdb *db, struct span name, const struct user *user, bool create, bool *taken, struct fail *why);
/* The salt of this user's SCRAM keys, from the name and a secret of the database: the same whether there is such a
 * user or not, and after each change of the password, so that asking for salts tells nothing about who exists. */
void userdb_salt(const struct userdb *db, struct span name, uint8_t salt[USERDB_SALT]);
bool userdb_delete(struct userdb *db, struct span name, struct fail *why);
/* Who has given somebody rights to a mailbox (RFC 4314): guest is a canonical name or "anyone". What the
 * rights are, the owner's mailboxes say; this tells who may ask there at all. A user's rows go with the user. */
enum { USERDB_SHARES_MAX = 1000 /* of one owner */, USERDB_CRASHES_MAX = 1000 };
bool userdb_share(struct userdb *db, struct span owner, struct span guest, bool on, struct fail *why);
enum bdb_found userdb_shared(struct userdb *db, struct span owner, struct span guest, struct fail *why);
/* Until visit says false; guest's own rows alone. */
bool userdb_sharers(struct userdb *db, struct span guest, bool (*visit)(void *arg, struct span owner), void *arg, struct fail *why);
/* How often users' mailbox processes have crashed (table/crashes.h); a user's row goes with the user. */
bool userdb_crash(struct userdb *db, const struct crash_row *row, struct fail *why);
bool userdb_crashes(struct userdb *db, bool (*visit)(void *arg, const struct crash_row *row), void *arg, struct fail *why);
/* match: name@domain, domain or @domain, or empty for all; until visit says false. */
bool userdb_each(struct userdb *db, struct span match, bool (*visit)(void *arg, struct span name, const struct user *user), void *arg,
    struct fail *why);

#endif
