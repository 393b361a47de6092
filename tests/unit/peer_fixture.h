/* SPDX-License-Identifier: ISC
 *
 * A scripted peer of remoted: an SMTP or LMTP server on loopback that answers
 * as it is told.
 */
#ifndef PEER_FIXTURE_H
#define PEER_FIXTURE_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

#include "net/listener.h"
#include "net/stream.h"

/* Replies by command; NULL: the usual one. "" closes the connection. */
struct peer {
	struct listener listener;
	struct list sessions;
	const char *greeting, *ehlo, *mail, *rcpt, *data, *final;
	bool lmtp, breaks_tls;
	struct tls_server *tls;
	unsigned connections, messages, quits;
	struct buf transcript, content; /* all commands; the last content, still stuffed */
	struct netaddr address;
};

extern struct loop *loop; /* of all peers and what they are peers of */

void peer_open(struct peer *p, const char *unix_path); /* NULL: at 127.0.0.1 */
void peer_listen(struct peer *p, int fd);
void peer_hang_up(struct peer *p); /* on all who are connected */
void peer_close(struct peer *p);
bool peer_heard(const struct peer *p, const char *what);
/* As a next hop; good until the next call. */
const char *hop_to(const struct peer *p);

#endif
