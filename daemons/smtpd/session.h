/* SPDX-License-Identifier: ISC
 *
 * session: one SMTP or LMTP conversation without I/O (RFC 5321, RFC 2033):
 * client bytes and answers of the sibling daemons go in, replies and
 * questions come out.  Sockets, TLS, channels and clocks are the owner's.
 *
 * The owner feeds session_input() until it takes nothing more; after any other
 * call here it feeds again.  Ports are called from within these calls and
 * must not call back.  Memory: a session arena, and a second arena plus one
 * frame that live only while a message does.
 */
#ifndef SMTPD_SESSION_H
#define SMTPD_SESSION_H

#include "base/arena.h"
#include "base/buf.h"
#include "ipc/messages.h"
#include "net/sasl.h"
#include "net/tls.h"
#include "policy.h"

struct session;
struct session_peer;
struct transaction; /* transaction.h */

/* Things worth a log line; text is cleaned by the log. NOTE(name, meaning) */
#define SESSION_NOTES(X)                                  \
	X(REJECT, "a command was refused")                \
	X(AUTH_OK, "a client logged in")                  \
	X(AUTH_FAILED, "a login failed")                  \
	X(ACCEPTED, "a message was accepted")             \
	X(REFUSED, "a message was refused after its data") \
	X(ACCESS, "an access rule has a say in a message; about and rule are set") \
	X(DROPPED, "the session was ended by us")

enum session_note {
#define X(name, meaning) SESSION_NOTE_##name,
	SESSION_NOTES(X)
#undef X
};

/* What a session needs done; each gets the owner. False: cannot be done now
 * (the sibling is away), which the client is told by a 4xx. */
struct session_ports {
	struct buf *(*output)(void *owner); /* where replies are put */
	/* The id is the port's to choose, later than every id of this session before. */
	bool (*ask_rcpt)(void *owner, struct ipc_rcpt_ask *m);
	bool (*ask_auth)(void *owner, struct ipc_auth_ask *m);
	bool (*ask_scram)(void *owner, struct ipc_auth_scram *m);
	bool (*ask_proof)(void *owner, const struct ipc_auth_proof *m); /* with the id of ask_scram */
	bool (*ask_token)(void *owner, struct ipc_auth_token *m);
	bool (*ask_certificate)(void *owner, struct ipc_auth_certificate *m);
	bool (*binding)(void *owner, struct span type, struct buf *out); /* channel binding data: struct sasl_offer */
	bool (*ask_flush)(void *owner, struct ipc_intake_flush *m);
	uint64_t (*new_queue_id)(void *owner);
	bool (*intake_open)(void *owner, const struct ipc_intake_open *m);
	bool (*intake_rcpt)(void *owner, const struct ipc_intake_rcpt *m);
	bool (*intake_data)(void *owner, const struct ipc_intake_data *m);
	bool (*intake_end)(void *owner, const struct ipc_intake_end *m);
	void (*intake_abort)(void *owner, uint64_t id);
	bool (*intake_full)(void *owner); /* then session_on_room() says when to go on */
	bool (*intake_blocked)(void *owner); /* so too: what is sent now would keep others waiting */
	/* To verifyd (ipc/filter.def). MAIL: the port fills listener, session, client_port, and id where it is 0. */
	bool (*filter_mail)(void *owner, struct ipc_filter_mail *m);
	bool (*filter)(void *owner, unsigned type, const void *m); /* any other message */
	uint64_t (*filter_question)(void *owner);                  /* a number for one */
	bool (*filter_full)(void *owner);                          /* as intake_full */
	void (*start_tls)(void *owner);   /* after the output so far; then session_on_tls() */
	int64_t (*time)(void *owner);     /* Unix seconds */
	/* What the listener allows a client at that address, for XCLIENT; the literal is put. False: it is no address. */
	bool (*client_at)(void *owner, struct span address, struct session_peer *who, struct buf *literal);
	void (*note)(void *owner, enum session_note what, struct span text);
};

enum session_state {
	SESSION_START = 1,   /* no HELO yet */
	SESSION_READY = 2,   /* greeted, no transaction */
	SESSION_MAIL = 4,    /* a sender */
	SESSION_RCPT = 8,    /* and at least one RCPT tried */
	SESSION_DATA = 16,   /* content comes */
	SESSION_AUTH = 32,   /* a SASL response comes */
	SESSION_CLOSED = 64, /* after the output so far the connection ends */
	SESSION_CHUNK = 128, /* the bytes behind BDAT come */
};

/* Why session_input() takes nothing. */
enum session_wait {
	WAIT_CLIENT, /* it does */
	WAIT_RCPT,   /* routed's answers */
	WAIT_VRFY,
	WAIT_FLUSH,  /* queued's answer to ETRN */
	WAIT_RATE,   /* routed says whether the client comes too often */
	WAIT_GREET,  /* the greeting's time, smtpd_greet_wait */
	WAIT_NAME,   /* the client's name, which access rules ask for */
	WAIT_AUTH,   /* authd's answer */
	WAIT_ROOM,   /* room in the intake channel */
	WAIT_LIST,   /* a long list goes to queued in parts, before the reply to DATA */
	WAIT_FILTER, /* verifyd's answer, or content that comes back from it */
	WAIT_COMMIT, /* queued's answer to the end of a message */
	WAIT_HOLD,   /* the tarpit */
	WAIT_TLS,    /* the handshake */
};

/* Who is at the other end; spans are copied. */
struct session_peer {
	struct span address; /* text; "local:UID" on the submit socket */
	struct span literal; /* as RFC 5321 4.1.3, for names that are not known */
	bool trusted;        /* in mynetworks: may relay */
	bool xclient;        /* may use XCLIENT */
	bool xforward;       /* may use XFORWARD */
	bool etrn;           /* may use ETRN */
	bool tls;            /* there is a certificate to do TLS with */
	bool patient;        /* it has waited for a greeting, not long ago */
};

enum session_peer_daemon { PEER_ROUTED = 1, PEER_QUEUED = 2, PEER_AUTHD = 4, PEER_VERIFYD = 8 };

struct session {
	const struct session_ports *ports;
	void *owner;
	const struct policy *policy;
	struct arena mem;    /* the facts below */
	struct span address, literal, name, helo, user, tls;
	const struct tls_certificate *certificate; /* that the client has shown; NULL: none */
	uint8_t state, wait; /* enum session_state, session_wait */
	bool trusted, patient, may_xclient, may_xforward, may_etrn, may_tls;
	bool extended;       /* EHLO or LHLO */
	bool skipping;       /* the rest of an overlong line */
	bool more;           /* there was input behind the command being done */
	bool hasty;          /* there was input behind DATA, which has had no reply yet */
	bool uncounted;      /* an error that is said now is one with the next */
	bool naming;         /* session_on_name() is still to come */
	bool named;          /* by XCLIENT: what the DNS says is the proxy's name */
	bool draining;       /* end when the transaction is over */
	unsigned errors, junk, auth_failures;
	unsigned put_off;    /* replies 4xx that no rule made; recorded up to a limit */
	unsigned begun;      /* transactions */
	unsigned messages;   /* accepted */
	unsigned progress;   /* counts commands, pieces of content, answers: when it grows, a new wait begins */
	struct {
		bool set;
		struct span name, address, helo, protocol;
	} forward;           /* XFORWARD: whose the next message was before; for the log and the queue alone */
	uint64_t filter_id;  /* verifyd knows the session by it; 0: not at all */
	struct span method;  /* of the login */
	uint64_t ask_id;     /* of the AUTH or VRFY under way */
	struct span subject; /* of that VRFY; the name that tried to log in */
	struct sasl sasl;    /* within AUTH */
	struct span about, rule; /* while a refusal of a recipient is said: which, and routed's reason */
	struct span from;        /* while one of MAIL is said, which has begun no transaction */
	struct buf held;     /* replies in the tarpit */
	struct {
		uint64_t size, left;
		uint8_t back;        /* the state behind it */
		bool last, refused;  /* refused: read over, then said so */
		unsigned status, code;
	} chunk;                     /* within BDAT */
	struct transaction *mail; /* NULL between transactions */
	struct arena mail_mem;
};

/* One of the facts above from a value that will not stay; memory is used again where it
 * fits, so that a client cannot fill the arena by repeating itself. False: no memory. */
bool session_set(struct session *s, struct span *fact, struct span value);

/* Does not greet yet: with implicit TLS the greeting waits. */
void session_init(struct session *s, const struct policy *policy, const struct session_peer *peer,
    const struct session_ports *ports, void *owner);
/* By mynetworks, a login, or as a local user. */
static inline bool session_may_relay(const struct session *s) { return s->trusted || s->user.n || s->policy->local; }
void session_greet(struct session *s);
/* The same once routed says that the client does not come too often. */
void session_ask_greeting(struct session *s);
/* Instead of greeting: 421 and the end (RFC 5321 3.8). code: "4.7.0" */
void session_turn_away(struct session *s, const char *code, const char *why);
void session_free(struct session *s); /* aborts what is under way */

/* Takes bytes from the front; the owner keeps the rest and gives it again. Takes at
 * most one message's end or one command that must wait at a time. */
size_t session_input(struct session *s, struct span bytes);
/* The longest run of bytes that may be left untaken: the owner's buffer must hold more. */
enum { SESSION_LINE_MAX = 12288 + 2 };
void session_on_eof(struct session *s);

void session_on_rcpt(struct session *s, const struct ipc_rcpt_answer *m);
void session_on_challenge(struct session *s, const struct ipc_auth_challenge *m);
void session_on_auth(struct session *s, const struct ipc_auth_answer *m);
void session_on_accepted(struct session *s, uint64_t id);
void session_on_refused(struct session *s, const struct ipc_intake_refused *m);
void session_on_filter_answer(struct session *s, const struct ipc_filter_answer *m);
void session_on_filter_sender(struct session *s, uint64_t id, struct span address);
void session_on_filter_add(struct session *s, uint64_t id, struct span address);
void session_on_filter_remove(struct session *s, uint64_t id, struct span address);
void session_on_filter_piece(struct session *s, const struct ipc_filter_piece *m);
void session_on_filters_lost(struct session *s); /* verifyd has gone, or is as good as gone */
void session_on_flushed(struct session *s, const struct ipc_intake_flushed *m);
void session_on_room(struct session *s);
bool session_list_due(const struct session *s); /* in WAIT_LIST, with room: call the next once in each turn */
void session_list_part(struct session *s);
/* text: "TLSv1.3 cipher TLS_AES_256_GCM_SHA384 (256 bits)"; certificate: the client's, copied if one was shown. */
void session_on_tls(struct session *s, struct span text, const struct tls_certificate *certificate);
void session_on_name(struct session *s, struct span name); /* the client's verified name; empty: it has none */
/* A sibling is gone: what was asked of it is answered by a 4xx. */
void session_on_peer_lost(struct session *s, enum session_peer_daemon who);

/* How long the present wait may last; then session_on_timeout(). Starts anew when
 * `progress` or `wait` has changed. */
int64_t session_wait_ms(const struct session *s);
void session_on_timeout(struct session *s);
/* The suite stops: 421 as soon as no message is under way. */
void session_shutdown(struct session *s);
static inline bool session_closed(const struct session *s) { return s->state == SESSION_CLOSED && s->wait != WAIT_HOLD; }

#endif
