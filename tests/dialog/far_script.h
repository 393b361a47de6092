/* SPDX-License-Identifier: ISC
 *
 * far_script: other users for a mailbox dialog: alice@example.test, who has
 * mailboxes of her own, and a broker that leads there.
 */
#ifndef DIALOG_FAR_SCRIPT_H
#define DIALOG_FAR_SCRIPT_H

#include "daemons/mailboxd/user.h"

struct far_script;

/* In dir, below which alice's Maildir is made; NULL: it cannot be. Gives user the broker. */
struct far_script *far_open(struct user *user, struct worker_pool *pool, const char *dir);
void far_close(struct far_script **f);
/* Carries what there is between the sessions; true: there was something. */
bool far_pump(struct far_script *f);
/* As alice herself would: "mail FOLDER", "folder NAME", "acl FOLDER WHO RIGHTS", "hangup", "say BYTES" (to whoever
 * visits), "silent" (what her side says is held back from now on). */
bool far_directive(struct far_script *f, struct span text);

#endif
