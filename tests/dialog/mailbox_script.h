/* SPDX-License-Identifier: ISC
 *
 * mailbox_script: dialogs with IMAP and POP3 sessions over a real store in a
 * temporary Maildir: login cores of the fronts, then mailboxd's session cores.
 */
#ifndef DIALOG_MAILBOX_SCRIPT_H
#define DIALOG_MAILBOX_SCRIPT_H

#include "dialog.h"

struct login;

/* The dialog core for "imap" or "pop3"; login_new makes the front's core. */
struct dialog_core mailbox_dialog(const char *name);

/* Each runner says how its protocol begins. */
struct login *mailbox_login_new(void);
bool mailbox_is_pop3(void);

#endif
