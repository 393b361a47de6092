/* SPDX-License-Identifier: ISC
 *
 * popready: the response to the RETR that a POP3 client will say next, made while it looks at the message before.
 */
#ifndef MAILBOXD_POPREADY_H
#define MAILBOXD_POPREADY_H

#include "daemons/mailboxd/popmail.h"

struct popready {
	uint32_t last;           /* the number that RETR named last, 0: none */
	uint32_t expected;       /* the one that it will name next, 0: who knows */
	uint32_t number;         /* the one whose response, or its first part, lies here; 0: none */
	struct buf response;
	enum popmail_state rest; /* of it: MORE is still to come, or all was SENT there */
};

void popready_init(struct popready *r);
/* mail is the session's own: it is open as long as more is still to come of what lies here. */
void popready_forget(struct popready *r, struct popmail *mail);
/* RETR names a number: who asks for two in a row will ask for the third. */
void popready_note(struct popready *r, uint32_t number);
/* Makes the response for the number of that UID; what cannot be read is left to RETR. */
void popready_make(struct popready *r, struct popmail *mail, struct mailbox *mb, uint32_t uid, uint32_t number, bool terse);
/* Puts it behind what out has, and says in *rest what is still to come.  False: another message lies here, or none. */
bool popready_take(struct popready *r, uint32_t number, struct buf *out, enum popmail_state *rest);

#endif
