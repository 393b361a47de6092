/* SPDX-License-Identifier: ISC
 *
 * addrlist: address fields (From, To, Cc, ...) as groups and mailboxes, the
 * way IMAP's ENVELOPE shows them (RFC 5322 3.4 and 4.4, RFC 3501 7.4.2).
 *
 * Tolerant: what cannot be understood becomes a mailbox with what there is, so
 * that the field is never lost; linear and bounded.  Not for envelope
 * addresses, which have one strict grammar (address.h).
 */
#ifndef MAIL_ADDRLIST_H
#define MAIL_ADDRLIST_H

#include "base/arena.h"
#include "base/buf.h"

enum addrlist_kind {
	ADDRLIST_MAILBOX,
	ADDRLIST_GROUP,     /* start of a group: name is its name */
	ADDRLIST_GROUP_END,
};

struct addrlist_item {
	struct addrlist_item *next;
	enum addrlist_kind kind;
	struct span name;   /* display name unquoted, else a comment's text; encoded words stay; p == NULL if none */
	struct span route;  /* obsolete source route "@a,@b"; p == NULL if none */
	struct span local;  /* unquoted; p == NULL if none */
	struct span domain; /* p == NULL if none */
};

struct addrlist {
	struct addrlist_item *first;
	unsigned count; /* items */
};

/* Parses a raw field value. False only when the arena is exhausted (what fitted is in *list). */
bool addrlist_parse(struct addrlist *list, struct span raw, struct arena *arena);

/* "local@domain", the local part quoted where it must be. */
void addrlist_put_address(struct buf *out, const struct addrlist_item *item);

#endif
