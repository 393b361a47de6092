/* SPDX-License-Identifier: ISC
 *
 * mailbox_rig: a store in a temporary directory that lives as long as the
 * process, with a few messages in it, for fuzzing whole session cores.
 */
#ifndef FUZZ_MAILBOX_RIG_H
#define FUZZ_MAILBOX_RIG_H

#include "daemons/mailboxd/user.h"
#include "front/login.h"

/* Made anew every few thousand inputs, and when messages pile up. */
struct user *rig_user(void);
/* One for this input alone, without those messages: fill puts into the empty directory what it likes. NULL: it cannot be opened. */
struct user *rig_user_with(void (*fill)(void *arg, int dir), void *arg);
/* The user's directory; -1: none. The caller closes it. */
int rig_dir(void);
/* Gives all bytes to the session in pieces and runs it until it is done with them. */
void rig_session(struct user *user, struct session *session, struct span bytes);
/* The same before login; the credentials are taken or refused by turns. Returns
 * what was not taken, and whether a session shall follow. */
struct span rig_login(struct login *login, struct span bytes, bool *in);

#endif
