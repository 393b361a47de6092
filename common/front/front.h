/* SPDX-License-Identifier: ISC
 *
 * front: what imapd and pop3d have in common: connections, TLS, login, and
 * the hand-over to the user's mailboxd.
 *
 * The front knows a client only up to login.  authd says whether a name and a
 * password are good and gives a ticket; userd takes ticket and descriptor.  Of
 * a plain connection the socket itself goes; under TLS the front keeps the
 * socket and relays between it and a socket pair (relay.h).
 */
#ifndef FRONT_FRONT_H
#define FRONT_FRONT_H

#include "front/login.h"
#include "service/service.h"

struct front_protocol {
	const char *program; /* "imapd" */
	const char *service; /* "imap", as authd and userd call it */
	const char *later; /* in place of a greeting: come later; a line */
	enum conf_daemon see;
	struct login *(*login_new)(void);
	unsigned (*session_limit)(const struct conf *conf);
	enum limit limit; /* its row of sys/limits.def */
	bool (*textbook)(const struct conf *conf); /* NULL: no */
	unsigned (*login_delay)(const struct conf *conf); /* seconds; NULL: none */
};

/* The daemon as the skeleton wants it; on_boot calls front_boot(). */
struct service_ops front_service(const struct front_protocol *protocol, bool (*on_boot)(struct service *, struct fail *why));
bool front_boot(struct service *s, const struct front_protocol *protocol, struct fail *why);

#endif
