/* SPDX-License-Identifier: ISC
 *
 * siblings: each real daemon alone among hostile siblings.
 *
 * The rig starts a daemon as suited (maild, userd) would, but plays every
 * other end of every channel that processes.def and the owners' channels give it, and
 * plays it badly: what the tables allow, in states they allow and in others, with
 * ids that are alive, dead and made up, descriptors of every kind, broken packets,
 * floods, and ends that do not read or vanish.  The daemon may close channels; it
 * may not end, stop answering its parent, or grow.
 *
 *   message.c  what is said: rows of the tables, filled and spoilt
 *   wire.c     ends: sending, receiving, what the daemon asks for and must get
 *   target.c   starting the daemon, its wiring, its health
 *   stand_in.c what maild starts as suited: it hands its channel to the rig
 *   ticket.c   replayed and forged tickets
 *   tally.c    what each channel has carried, and whether that was enough
 *   blame.c    one violation at a time: the channel is closed, the log says whose it was
 *   honest.c   what siblings that keep to the rules say, in part: so that daemons get where nothing else leads
 *   client.c   network clients, so that fronts have something to ask, and a mail host
 *   crypt.c    TLS of those, and keyd's key
 *   main.c     the targets, one after the other; TAP
 */
#ifndef TESTS_SIBLINGS_H
#define TESTS_SIBLINGS_H

#include <sys/types.h>

#include "conf/conf.h"
#include "ipc/frame.h"
#include "ipc/messages.h"
#include "tests/siblings/tally.h"

enum {
	CONVS = 24,
	SEEN = 64,
	WORDS = 256,
	WORD_MAX = 320,
	ENDS = 512,
	CLIENTS = 6,
	SERVED = 64, /* connections of the daemon to a mail host */
	PIECES = 16,
	LAST = 48, /* messages that are told when something breaks */
};

struct conv {
	uint64_t id, question; /* question: the last one in it that the daemon numbered */
	uint8_t state;         /* enum ipc_state */
	uint8_t type;          /* of record that was asked for */
	bool forward;          /* a forward file was asked for */
	uint32_t indexes;      /* recipients that have been told of in it */
	uint64_t bytes;        /* of content, by us */
};

enum end_kind {
	END_CTL,     /* ours to the daemon, or maild's to suited: honest */
	END_HONEST,  /* another of maild's, whom nobody defends himself against */
	END_WIRE,    /* hostile; given over ctl, and again when it is gone */
	END_CONTROL, /* hostile; connected to a control socket */
	END_GIVEN,   /* hostile; handed to us by the daemon; not made again */
	END_TOOL,    /* honest; asks suited how it is */
};

struct end {
	enum end_kind kind;
	const struct ipc_channel *type;
	enum channel_side side; /* the one we play */
	const char *peer;       /* whom */
	unsigned instance;
	int fd;
	uint64_t child;     /* a ctl end that suited or userd made: its id on root */
	struct end *parent; /* that root end */
	struct tally *tally; /* of a wire; else NULL */
	bool left;           /* we did, not the daemon */
	unsigned deaf;      /* so many rounds more it does not read */
	struct conv convs[CONVS];
	uint64_t next_id, seen[SEEN];
	size_t nseen;
	struct buf pending; /* a packet that did not fit yet */
	int fds[FRAME_FDS];
	unsigned nfds;
	bool gone;
};

struct target {
	const char *name;
	unsigned see, promises;
	bool calm;       /* its channels are dear: few packets are broken */
	bool mortal;     /* ends, orderly, when its peer is gone */
	size_t may_grow; /* bytes, from the first third to the last */
};

struct rig {
	const struct target *target;
	const struct conf *conf, *loud; /* loud: the same, with warnings in the log */
	const char *dir, *build;
	uint64_t random;
	struct end *ends[ENDS];
	size_t nends;
	struct end *ctl;
	pid_t pid;
	int null, listener, sink; /* sink: a listening socket for the daemon to connect to */
	int log;      /* the daemon's, to be read */
	int stand_in; /* maild's suited ends with it; or -1 */
	uint16_t sink_port, client_port;
	struct client {
		int fd;
		struct crypt *crypt; /* owned; NULL: no TLS (yet) */
		const char *const *script;
		bool server, content, over; /* content: what comes is the message's; over: it is hung up on */
		unsigned piece;       /* of its script: the next one */
	} clients[CLIENTS + SERVED];
	struct {
		char text[WORD_MAX];
		size_t n;
	} words[WORDS];
	size_t nwords;
	struct buf room; /* of texts of messages that are being made */
	uint64_t sent, received, closed, started, broken; /* broken: channels that it has said a sibling's are */
	bool ready, polite; /* polite: each end begins as it should */
	bool honest;        /* questions are answered as they should be, mostly, for a while */
	uint64_t serial;    /* of conversations that we begin honestly */
	struct crypts *crypts;
	struct tally tallies[TALLIES];
	size_t ntallies;
	uint64_t asked, answered;
	int64_t asked_ms;
	uint64_t logins, login_id; /* of the last answer of userd */
	bool login_ok;
	char last[LAST][160];
	size_t nlast;
	char wrong[256]; /* what broke; empty: nothing */
};

enum { CALM = 4000, WILD = 40 }; /* of so many packets one is broken */
static inline uint32_t wildness(const struct rig *r) { return r->target->calm ? CALM : WILD; }

uint32_t rnd(struct rig *r, uint32_t below); /* 0 for 0 */
int64_t now_ms(void);
bool broke(struct rig *r, const char *fmt, ...) __attribute__((format(printf, 2, 3))); /* false; the first is kept */

/* message.c */
void words_learn(struct rig *r, const struct ipc_message *msg, const void *m);
/* Fills *m with a message this end may or may not send now; buf holds its texts. *fd is a new descriptor, or -1. */
const struct ipc_message *message_make(struct rig *r, struct end *e, union frame_message *m, struct buf *room, int *fd);
/* One of its fields is something else. */
void message_vary(struct rig *r, struct end *e, const struct ipc_message *msg, const struct conv *c, union frame_message *m, struct buf *room);
void conv_said(struct rig *r, struct end *e, struct conv *c, const struct ipc_message *msg, const union frame_message *m); /* where it stands now */
void message_spoil(struct rig *r, struct end *e, struct buf *packet, unsigned *nfds);
struct conv *conv_find(struct end *e, uint64_t id);
uint64_t message_id_of(const struct ipc_message *msg, const void *m); /* 0: it has none */

/* wire.c */
struct end *end_new(struct rig *r, enum end_kind kind, const struct ipc_channel *type, enum channel_side side, const char *peer, int fd);
void end_free(struct rig *r, struct end *e);
void end_say(struct rig *r, struct end *e, unsigned type, const void *m, int fd); /* honestly, and soon */
void end_attack(struct rig *r, struct end *e);
/* Behind what it could not send yet, without waiting; false: not said. fd is taken. */
bool end_add(struct end *e, unsigned type, const void *m, int fd);
struct buf *rig_room(struct rig *r); /* empty: texts of what is being made, until the next */
void rig_remember(struct rig *r, const struct end *e, const struct ipc_message *msg, const union frame_message *m);
bool end_push(struct end *e); /* what is pending, waiting for room; false: it is gone, or is not read */
void ends_read(struct rig *r, int timeout_ms);

/* honest.c */
bool honest_for_now(struct rig *r, const struct end *e); /* chance is to leave that end alone, this time */
void honest_told(struct rig *r, struct end *e, unsigned type, const void *m); /* the daemon has asked */
void honest_begin(struct rig *r, struct end *e); /* a conversation of ours, as it should be */

/* blame.c */
bool blame_tried(struct rig *r);

/* target.c */
extern const struct target targets[];
extern const size_t ntargets;
bool target_start(struct rig *r);
bool target_healthy(struct rig *r); /* asks, and looks whether it lives; *r says what is wrong */
bool target_stop(struct rig *r);
void target_leave(struct rig *r); /* of what outlives its ends */
void target_kill(struct rig *r);  /* something is wrong */
bool target_is_wired(const struct rig *r); /* by rows of processes.def, with siblings whom it outlives */
size_t target_rss(const struct rig *r);
void target_rewire(struct rig *r, struct end *e); /* after e has gone */
bool target_told(struct rig *r, struct end *e, const struct ipc_message *msg, unsigned type, const void *m, int fd); /* honest reactions; true: fd is taken */

/* ticket.c: with a userd that has been started. */
bool tickets_tried(struct rig *r);

/* crypt.c */
bool crypts_open(struct rig *r);
struct crypt *crypt_new(const struct rig *r, int fd, bool server); /* NULL: no memory */
void crypt_free(struct crypt **c);
ssize_t crypt_recv(struct crypt *c, char *bytes, size_t n); /* as recv() */
void crypt_send(struct crypt *c, const char *bytes, size_t n);
/* What keyd would sign; false: there is no such key, or it signs nothing of that kind. */
bool crypt_sign(const struct rig *r, const struct ipc_sign_ask *ask, struct buf *signature);

/* client.c */
bool clients_open(struct rig *r);
void clients_turn(struct rig *r);
void clients_leave(struct rig *r); /* a daemon may wait for them before it stops */
void clients_close(struct rig *r);

#endif
