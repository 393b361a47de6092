/* SPDX-License-Identifier: ISC
 *
 * user_offline: the user commands while no authd runs: the same requests, on
 * the database itself; what is made in it becomes authd's.
 */
#ifndef MAILCTL_USER_OFFLINE_H
#define MAILCTL_USER_OFFLINE_H

#include "tools/mailctl/mailctl.h"

/* request: the struct of a user_admin message of that type. Returns the exit status. */
int user_offline(struct mailctl *m, unsigned type, const void *request);

/* One user as `user list` shows it. */
void user_print(struct mailctl *m, const struct ipc_user_admin_user *u);

#endif
