/* SPDX-License-Identifier: ISC
 *
 * acl: who else may do what in a mailbox (RFC 4314): kept with the annotations
 * of the store (store/metadata.h), so it goes where the mailbox goes and away
 * with it, replaced as a whole and durable at each change.
 *
 * The owner has every right always and stands in no list. An identifier is a
 * user's canonical name@domain, or "anyone". Negative rights are not kept.
 */
#ifndef MAILBOXD_ACL_H
#define MAILBOXD_ACL_H

#include "ipc/bounds.h"
#include "store/metadata.h"

enum {
#define RIGHT(letter, name, old, doc) ACL_BIT_##name,
#include "daemons/mailboxd/rights.def"
#undef RIGHT
	ACL_RIGHTS,
};

enum {
#define RIGHT(letter, name, old, doc) ACL_##name = 1 << ACL_BIT_##name,
#include "daemons/mailboxd/rights.def"
#undef RIGHT
	ACL_ALL = (1 << ACL_RIGHTS) - 1,
	ACL_FLAGS = ACL_SEEN | ACL_WRITE | ACL_MARK,
};

enum { ACL_IDENTIFIER = B_ADDRESS };

/* The letters of RFC 4314, "c" and "d" too; false: another one. */
bool acl_take_rights(struct span text, unsigned *rights);
void acl_put_rights(struct buf *out, unsigned rights);

/* An identifier as a client writes it: canonical, a name without domain being one of the owner's.
 * False: a group, a negative right, or nothing that a user could be called. */
bool acl_identifier(struct span text, struct span owner, char out[ACL_IDENTIFIER + 1]);
/* As it is told within the owner's domain: "bob", "carol@example.org". */
struct span acl_short(struct span name, struct span of);

/* What guest may do in the folder; 0 where the annotations cannot be read. */
unsigned acl_rights(struct store *store, struct span folder, struct span guest);
/* Every identifier with its rights. */
bool acl_each(struct store *store, struct span folder, void (*each)(void *arg, struct span identifier, unsigned rights), void *arg,
    struct fail *why);
/* FAIL_LIMIT: too many identifiers. */
bool acl_change(struct store *store, struct span folder, struct span identifier, enum flag_op op, unsigned rights, struct fail *why);
/* Whether the identifier has any right in any folder. */
bool acl_names(struct store *store, struct span identifier);
/* A folder that was just made has the list of the one above it, and nothing of one that had its name before. */
bool acl_inherit(struct store *store, struct span folder, struct fail *why);
/* Lists of folders that are gone: before a folder gets a name that there may have been. False: they cannot be removed. */
bool acl_sweep(struct store *store, struct fail *why);
/* The nearest folder above that exists; empty: none. */
struct span acl_parent(struct store *store, struct span folder);
/* The flags that these rights let somebody change, as FLAG_ bits. */
unsigned acl_flags(unsigned rights);

#endif
