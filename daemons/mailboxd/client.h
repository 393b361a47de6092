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
/* A connection that finds no session: says why, and closes it. */
void client_turn_away(int fd, struct span service, struct span tag, const char *text);
/* The same to a POP3 login that names a folder which is not there (RFC 3206 4). */
void client_no_folder(int fd);
/* Whether each of them could be left to somebody else: none has been heard of for so long. */
bool clients_rest(const struct user *user, int64_t quiet_ms);
void clients_hold(struct user *user, bool on); /* nothing is read, nothing said, until it is off again */
/* Frees one of them without a word; its descriptor is the caller's. Its state (session_ops.rest) is appended. -1: it cannot be left after all, and is gone. */
int client_leave(struct session *s, struct buf *state);
/* Says goodbye to all; each ends when its last words are sent or after a second. */
void clients_shutdown(struct user *user);

#endif
