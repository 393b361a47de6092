/* SPDX-License-Identifier: ISC
 *
 * guest: a session of another user in this user's mailboxes (RFC 4314). userd
 * says whose it is; every command asks the ACLs anew, so that what is taken
 * away is gone at once. Names have the guest's view: below "Other Users/" and
 * the owner's name, with '/' for the hierarchy (RFC 2342 5).
 *
 * What a guest may not look up does not exist for it.
 */
#ifndef MAILBOXD_GUEST_H
#define MAILBOXD_GUEST_H

#include "daemons/mailboxd/imap.h"

#define OTHERS "Other Users"
enum { GUEST_IDLE_MS = 24 * 3600 * 1000 }; /* the session that it belongs to has its own limit */

struct guest {
	char name[ACL_IDENTIFIER + 1];
	struct buf prefix; /* "Other Users/bob/" in the form on disk */
};

/* Greets with PREAUTH; NULL: no memory. */
struct session *imap_new_guest(struct user *user, struct span guest);
/* How many sessions in the user's mailboxes are guests'; *same: of this one. */
unsigned guest_count(const struct user *user, struct span guest, unsigned *same);
void guest_free(struct guest **g);
/* The mailbox goes, or gets another name: a guest who has it, or one below it, selected is no hindrance. */
void guest_evict(const struct imap *from, struct span folder);

/* "Other Users/bob/": the mailboxes of owner as guest calls them; false: no name for them. */
bool guest_prefix(struct buf *out, struct span owner, struct span guest);

struct span guest_inward(struct imap *s, struct span name); /* in the arena; what no folder is called if it is none here */
void guest_outward(const struct imap *s, struct buf *out, struct span name);
static inline char imap_delimiter(const struct imap *s) { return s->guest ? '/' : '.'; }

/* In the folder: all, or what the ACL gives. */
unsigned imap_rights(const struct imap *s, struct span folder);
/* False: the reply is set, as if there were no such mailbox where the guest may not know of it. */
bool imap_permits(struct cmd *c, struct span folder, unsigned needed);
/* "* MYRIGHTS folder rights" */
void acl_put_mine(struct imap *s, struct span folder, unsigned rights);
/* Before a command: false where it is none for guests, or the selected mailbox may no longer be read. */
bool guest_allows(struct cmd *c);

#endif
