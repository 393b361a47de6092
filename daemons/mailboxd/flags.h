/* SPDX-License-Identifier: ISC
 *
 * flags: flag lists in commands.
 */
#ifndef MAILBOXD_FLAGS_H
#define MAILBOXD_FLAGS_H

#include "daemons/mailboxd/bounds.h"
#include "net/imapsyntax.h"
#include "store/mailbox.h"

struct flag_list {
	uint8_t flags; /* FLAG_* */
	struct span keywords[BOUND_FLAGS];
	size_t nkeywords;
};

/* "(" [flag *(SP flag)] ")"; with bare also without the parentheses. */
bool flags_parse(struct imap_parse *p, bool bare, struct flag_list *out);
/* As a server tells them: \Recent and what is not known are passed over. */
bool flags_take_told(struct imap_parse *p, struct flag_list *out);
/* The keywords' bits; with make they are added to the mailbox. False: no room for one. */
bool flags_keywords(struct mailbox *mb, const struct flag_list *list, bool make, uint64_t *bits);
/* All flags of a mailbox: "(\Answered ... kw", the closing parenthesis not. */
void flags_put_all(struct buf *out, const struct mailbox *mb);
/* Those that these rights (acl.h) let somebody change, with "\\*" where new ones may be made; complete. */
void flags_put_permanent(struct buf *out, const struct mailbox *mb, unsigned rights);

#endif
