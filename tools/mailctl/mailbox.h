/* SPDX-License-Identifier: ISC
 *
 * mailbox: what the commands about one user's mailboxes share.
 */
#ifndef MAILCTL_MAILBOX_H
#define MAILCTL_MAILBOX_H

#include "store/look.h"
#include "store/maildir.h"
#include "tools/mailctl/mailctl.h"

/* Puts the user's directory and quota into m. */
bool mailbox_find_user(struct mailctl *m, const char *user, struct fail *why);
/* The same, and its directory. -1 and *why, with ENOENT where there is no mail yet. */
int mailbox_open_base(struct mailctl *m, const char *user, struct fail *why);
/* The same; from then on this process is the owner of the mailbox. -1 and *why. */
int mailbox_open(struct mailctl *m, const char *user, struct fail *why);
/* What could not be opened: that there is no mail yet is an answer, unless folders were named. The exit status. */
int mailbox_unopened(const struct mailctl *m, const struct fail *why);
/* The files belong to a user, who may have put anything into them: they are read and written as that user. */
bool mailbox_become_owner(int base, struct fail *why);
/* The folders that stand behind the user on the command line. */
bool mailbox_each_named(const struct mailctl *m, bool (*each)(void *arg, struct span name), void *arg, struct fail *why);
/* A folder's name as users know it, in UTF-8; for json with its escapes. */
void mailbox_print_name(struct span name, bool json);

#endif
