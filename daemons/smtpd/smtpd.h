/* SPDX-License-Identifier: ISC
 *
 * smtpd: the rim around the sessions: doors (listening sockets), clients
 * (connections), the siblings' channels.
 */
#ifndef SMTPD_SMTPD_H
#define SMTPD_SMTPD_H

#include "base/map.h"
#include "base/recent.h"
#include "net/listener.h"
#include "net/signer.h"
#include "net/stream.h"
#include "policy.h"
#include "service/service.h"
#include "session.h"

struct smtpd {
	struct service *service;
	struct loop *loop;
	struct channel *routed, *authd, *queued, *dnsd, *verifyd; /* NULL while away */
	struct signer *signer;   /* keyd */
	struct list doors;       /* of struct door */
	struct list clients;     /* of struct client */
	struct list arrivals;    /* of struct arrival: whose connection it is is not known yet */
	struct map messages;     /* clients by the queue id of the message they hand over */
	struct map crowd;        /* struct crowd by address */
	struct recent patient;   /* addresses that have waited for the greeting (smtpd_greet_wait) */
	struct client **slots;   /* clients by number: what the ids of questions begin with */
	uint32_t *free_slots;    /* a stack */
	size_t nslots, nfree;
	uint32_t serial;         /* of questions */
	uint64_t last_queue_id;
	size_t nclients, limit;  /* limit: smtpd_session_limit, or fewer where descriptors are */
	uint64_t connects, messages_in;
	uint8_t crowded;         /* enum crowded, door.c */
};

/* smtpd.c */
extern const struct service_ops smtpd_ops;
void smtpd_free(struct smtpd **d); /* sessions have ended */

/* door.c: a listening socket and what its sessions go by. Lives until the last of them ends. */
struct door {
	struct list node;
	struct smtpd *smtpd;
	struct listener listener;
	struct policy policy;
	char name[128];
	size_t sessions;
	bool open;
};
void door_open(struct smtpd *d, const struct conf_listener *block, int fd);
void doors_close(struct smtpd *d);
/* Gives the sessions there are the new configuration; those of blocks that are gone are ended. */
void doors_reload(struct smtpd *d);
/* Opens and closes by the number of sessions. */
void doors_balance(struct smtpd *d);
/* Whether a session of this door, counted already, is one too many. */
bool door_full(const struct door *door);
void door_release(struct door *door); /* a session of it has ended */

/* crowd.c: sessions of one client address. */
bool crowd_enter(struct smtpd *d, const uint8_t key[16], size_t limit); /* false: too many */
void crowd_leave(struct smtpd *d, const uint8_t key[16]);

/* A check of the client's name by DNS: its PTR, then that name's addresses. */
struct lookup {
	uint64_t id;
	bool confirming; /* the second question */
	bool confirmed;
	char name[B_HOST + 1];
};

/* client.c: one connection. */
struct client {
	struct stream stream;
	struct session session;
	struct netaddr peer;     /* as the PROXY header has it */
	struct list node;
	struct map_node message; /* in smtpd.messages while hands_over */
	struct door *door;
	struct turn part;        /* the next one of a long list */
	struct timer pace;       /* of a list that comes in: no more of it before */
	unsigned paced;          /* recipients of it when that was set last */
	struct buf replies;      /* of a group of commands, until the last of it is answered */
	struct lookup *lookup;   /* owned; NULL when none is under way */
	uint64_t id;             /* of the session, as queue ids are made; joins its log lines */
	uint8_t key[16];         /* its address, of IPv6 the /64: what it is known by in crowd and patient */
	uint32_t slot;
	int64_t patience_ms;     /* how much longer the client is waited for in this transaction */
	int64_t since_ms;        /* it is waited for; 0: it is not */
	size_t content;          /* bytes taken since then */
	unsigned begun;          /* the transaction's number */
	uint8_t phase;           /* enum phase, client.c */
	unsigned progress;       /* the session's, when the timer was set */
	uint8_t wait;            /* likewise */
	bool hands_over, in_crowd, eof, tls_due, finishing;
};
void client_accept(struct listener *l, int fd, const struct netaddr *peer);
/* The session of who is known by now. */
void client_begin(struct door *door, int fd, const struct netaddr *peer);
/* Feeds what the session will take and acts on what became of it. The client may be gone afterwards. */
void client_pump(struct client *c);
/* The client whose question has this id; NULL if it has gone. */
struct client *client_of_id(struct smtpd *d, uint64_t id);
uint64_t client_new_id(struct client *c);
bool client_id_given(const struct smtpd *d, uint64_t id); /* by client_new_id(), ever */
/* What the listener allows a client at that address. False: it is none of a network. */
bool client_rights(const struct client *c, const struct netaddr *at, struct session_peer *who);
void clients_each(struct smtpd *d, void (*visit)(struct client *c, void *arg), void *arg);
extern const struct session_ports client_ports; /* ports.c */
/* For the log: name[address] session=ID. */
struct span client_label(const struct client *c, char text[400]);

/* arrival.c: a connection from a proxy, whose header says for whom it is. */
void arrival_begin(struct door *door, int fd, const struct netaddr *from);
void arrivals_end(struct smtpd *d, const struct door *door); /* those at this door; NULL: all */

/* peers.c */
enum { SMTPD_CHANNELS = 7 };
extern const struct service_channel smtpd_channels[SMTPD_CHANNELS];
void lookup_start(struct client *c, const struct netaddr *peer);

#endif
