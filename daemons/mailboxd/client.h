/* SPDX-License-Identifier: ISC
 *
 * client: the rim of a session: its socket, its timers, its turn.
 */
#ifndef MAILBOXD_CLIENT_H
#define MAILBOXD_CLIENT_H

#include "daemons/mailboxd/user.h"

/* Takes fd and the session; pending is input the front had already read.
 * False: no memory; both are gone then too. */
bool client_new(struct user *user, int fd, struct session *session, struct span pending, void (*on_gone)(struct user *));
/* Says goodbye to all; each ends when its last words are sent or after a second. */
void clients_shutdown(struct user *user);

#endif
