/* SPDX-License-Identifier: ISC
 *
 * conn: one client connection of a front, from accept to hand-over or end.
 */
#ifndef FRONT_CONN_H
#define FRONT_CONN_H

#include "base/map.h"
#include "base/queueid.h"
#include "front/front.h"
#include "front/hosts.h"
#include "front/relay.h"
#include "ipc/messages.h"
#include "net/listener.h"
#include "net/signer.h"
#include "service/service.h"

enum { FRONT_IN = 16 << 10, FRONT_OUT = 64 << 10, FRONT_LISTENERS = 16 };

struct front;

struct front_listener {
	struct listener listener;
	struct front *front;
	const struct conf_listener *block; /* of the configuration in force */
	bool open;
};

struct front {
	const struct front_protocol *protocol;
	struct service *service;
	struct front_listener listeners[FRONT_LISTENERS];
	size_t nlisteners;
	struct signer *signer;
	struct channel *auth, *login; /* NULL while the peer is away */
	struct map asked;             /* struct conn.node by id, while something is asked for it */
	struct map relayed;           /* struct conn.node by cookie, in RELAY */
	struct map hosts;             /* struct host by address */
	struct list conns;
	unsigned nconns;
	bool paused;
	struct timer stopping;
	uint64_t last_id, last_session;
};

enum conn_phase {
	CONN_TALK,  /* the login core has the word */
	CONN_TLS,   /* handshake */
	CONN_CHECK, /* authd is asked */
	CONN_ENTER, /* userd is asked */
	CONN_RELAY,
	CONN_LAST,  /* last words are on their way */
};

struct conn {
	struct list list;
	struct map_node node; /* by id, in CHECK and ENTER */
	struct front *front;
	struct login *login; /* owned; NULL in RELAY */
	struct stream stream;
	struct host *host;   /* until login */
	struct relay relay;
	enum conn_phase phase;
	int inner;           /* ENTER under TLS: our end of the pair, else -1 */
	int kept;            /* ENTER in the clear: the client's socket, until userd has it */
	uint64_t id;
	uint8_t ticket[B_TICKET]; /* SCRAM: proved, but the client has not seen our proof yet */
	size_t nticket;
	uint64_t cookie;     /* RELAY: of the inner end that mailboxd has (SO_COOKIE); the key of node */
	struct login_settings set; /* RELAY: for another login */
	struct buf unread;   /* RELAY: what was sent behind UNAUTHENTICATE */
	bool loopback;
	struct tls_certificate *certificate; /* that the client has shown; owned; NULL: none */
	enum tls_ask tls_ask;
	bool tls;
	bool tls_wanted;     /* from the first byte */
	char addr[NETADDR_TEXT]; /* of the client, for logs and authd */
	char session[QUEUEID_TEXT + 1]; /* its name in the log */
	char banner[400];
};

/* The SASL mechanisms that the configuration has and that can be used: sasl_set(). */
unsigned front_mechanisms(const struct conf *conf);

/* fd is taken. */
void conn_accept(struct front_listener *l, int fd, const struct netaddr *peer);
/* Another one. */
void front_name_session(struct front *f, char session[QUEUEID_TEXT + 1]);
void conn_free(struct conn *c);
/* ask.c: asks authd, by what the login core has; false: it could not be asked. */
bool ask_check(struct conn *c);
bool ask_identify(struct conn *c);
bool ask_token(struct conn *c);
bool ask_scram(struct conn *c);
bool ask_proof(struct conn *c); /* about what goes on under the same id */
/* It waits for an answer to a new question, or about that which goes on under its id already. */
bool conn_ask(struct conn *c, enum conn_phase phase);
bool conn_ask_again(struct conn *c, enum conn_phase phase);
/* For a connection that asked: NULL if it is gone meanwhile. */
struct conn *conn_asked(struct front *f, uint64_t id);
void conn_challenged(struct conn *c, const struct ipc_auth_challenge *m);
void conn_checked(struct conn *c, const struct ipc_auth_answer *m);
void conn_entered(struct conn *c, const struct ipc_login_result *m);
/* The client has given up its login; fd is what mailboxd had. */
void conn_returned(struct front *f, int fd, struct span pending);
/* The peer that was asked is away. */
void conn_unanswered(struct conn *c);
/* Ends a connection that is not logged in, with last words. */
void conn_finish(struct conn *c, const char *text);

#endif
