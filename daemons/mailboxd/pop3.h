/* SPDX-License-Identifier: ISC
 *
 * pop3: one POP3 session after login (RFC 1939 5 and 6).
 *
 * It works on a folder, INBOX as a rule, as it was at login; other sessions go on meanwhile.
 * What DELE marked is removed at QUIT and not otherwise: a connection that
 * just ends deletes nothing.
 */
#ifndef MAILBOXD_POP3_H
#define MAILBOXD_POP3_H

#include "daemons/mailboxd/user.h"

/* folder: as the login named it, in UTF-8 or as IMAP has it (modified UTF-7); empty: INBOX.
 * NULL and *why: no memory, or it cannot be opened; FAIL_PERM: there is no such folder, and
 * none is made. The first thing it says is the reply to the command that logged in. */
struct session *pop3_new(struct user *user, struct span folder, struct fail *why);

#endif
