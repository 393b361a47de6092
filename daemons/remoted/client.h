/* SPDX-License-Identifier: ISC
 *
 * client: the protocol core of an SMTP (RFC 5321) or LMTP (RFC 2033) client.
 *
 * Bytes in, actions out, no I/O: replies go in by client_feed(), commands come
 * out in a buffer that the rim sends, client_want() says what else the rim is
 * to do.  One core is one connection; it carries one message after another.
 */
#ifndef REMOTED_CLIENT_H
#define REMOTED_CLIENT_H

#include "base/fail.h"
#include "daemons/remoted/auth.h"
#include "daemons/remoted/verdict.h"
#include "net/scram.h"

enum { CLIENT_PASSES = 50 /* transactions for one message, when the peer takes few recipients each */ };

/* As enum tls_level. */
enum client_tls { CLIENT_TLS_NONE, CLIENT_TLS_MAY, CLIENT_TLS_ENCRYPT, CLIENT_TLS_VERIFY, CLIENT_TLS_DANE };

/* How long each wait may last, milliseconds; smtp_NAME_timeout. */
#define CLIENT_TIMEOUTS(X) \
	X(helo) X(starttls) X(mail) X(rcpt) X(data_init) X(data_xfer) X(data_done) X(rset) X(quit)
struct client_timeouts {
#define X(name) int64_t name;
	CLIENT_TIMEOUTS(X)
#undef X
};

/* How to log in. */
struct client_login {
	struct span user, password; /* user empty: not at all */
	struct span nonce;          /* fresh, for SCRAM */
	unsigned mechanisms;        /* that may be used; AUTH_ALL */
	bool plaintext;             /* the password may go without TLS: the peer is on this host */
	/* Appends the TLS connection's channel binding data of a type; false: there is none. May be NULL. */
	bool (*binding)(void *arg, struct span type, struct buf *out);
	void *arg;
};

struct client_settings {
	struct client_login login;
	struct span helo;        /* our name in EHLO */
	struct span myself;      /* a peer that calls itself so is us: a loop; empty: no check */
	enum client_tls tls;
	bool lmtp;
	bool send_8bit_anyway;   /* to a peer without 8BITMIME */
	bool chunking;           /* BDAT where it is offered */
	struct client_timeouts timeouts;
};

/* What the peer offers: bit, keyword. */
#define CLIENT_EXTENSIONS(X)                       \
	X(PIPELINING, "PIPELINING")                \
	X(SIZE, "SIZE")                            \
	X(8BITMIME, "8BITMIME")                    \
	X(ENHANCED, "ENHANCEDSTATUSCODES")         \
	X(DSN, "DSN")                              \
	X(STARTTLS, "STARTTLS")                    \
	X(SMTPUTF8, "SMTPUTF8")                    \
	X(CHUNKING, "CHUNKING")                    \
	X(BINARYMIME, "BINARYMIME")                \
	X(AUTH, "AUTH")                            \
	X(REQUIRETLS, "REQUIRETLS")                \
	X(DELIVERBY, "DELIVERBY")                  \
	X(MTPRIORITY, "MT-PRIORITY")               \
	X(LIMITS, "LIMITS")
enum client_extension_bit {
#define X(name, keyword) CLIENT_BIT_##name,
	CLIENT_EXTENSIONS(X)
#undef X
	CLIENT_EXTENSION_COUNT
};
#define CLIENT_EXT(name) (1u << CLIENT_BIT_##name)

struct client_rcpt {
	struct span address;
	struct span orcpt; /* DSN ORCPT as given (type;xtext), or empty */
	uint8_t notify;    /* DSN NOTIFY bits: 1 success, 2 failure, 4 delay, 8 never */
	/* The core's: */
	struct verdict verdict;
	uint8_t phase; /* enum client_phase */
};

/* False for reports, which had better arrive than not (RFC 8689 5). */
#define client_needs_tls(mail) ((mail)->requiretls && (mail)->sender.n > 0)

struct client_mail {
	struct span sender; /* empty: <> */
	uint64_t size;
	bool callout;       /* there is no message: the transaction ends behind RCPT, with RSET (RFC 5321 4.1.1.5) */
	bool body8, smtputf8;
	bool binary;        /* not in lines: by BDAT to hosts with BINARYMIME alone (RFC 3030 3) */
	bool requiretls;    /* for hosts with a good certificate and REQUIRETLS alone (RFC 8689), unless it is a report */
	uint8_t priority;   /* 10 more than MT-PRIORITY; 0: none */
	uint8_t by_mode;    /* enum by_mode of ipc/bounds.h; 0: by no time; else: */
	int64_t (*by_left)(const struct client_mail *mail); /* seconds left, less than 0 when it is over (RFC 2852) */
	uint8_t ret;        /* DSN RET: 0 none, 1 FULL, 2 HDRS */
	struct span envid;  /* DSN ENVID, decoded */
	struct client_rcpt *rcpts;
	size_t nrcpts;
	struct arena *arena; /* for reply texts */
	/* Whether the content really has 8-bit bytes; asked only where body8 is
	 * set and the peer has no 8BITMIME. */
	bool (*is_8bit)(const struct client_mail *mail);
	/* Makes it 7-bit then (RFC 6152 3), which changes size. NULL: cannot. */
	bool (*to_7bit)(const struct client_mail *mail, struct fail *why);
	/* Brings binary content into lines, of 7 bits too if wanted; then it is binary no more. NULL: cannot. */
	bool (*to_lines)(const struct client_mail *mail, bool to_7bit, struct fail *why);
};

enum client_state {
#define STATE(name, timeout, handler, what, meaning) CLIENT_STATE_##name,
#include "daemons/remoted/states.def"
	CLIENT_STATE_COUNT
};

/* Why a session ended before its QUIT. */
enum client_end {
	CLIENT_GOING,    /* it has not */
	CLIENT_GOODBYE,  /* we are done with it */
	CLIENT_LOST,     /* the connection broke, or the peer was silent for too long */
	CLIENT_REFUSED,  /* 4xx or 5xx to the connection, EHLO or HELO; 421 anywhere */
	CLIENT_BROKEN,   /* the peer does not speak the protocol */
	CLIENT_NO_TLS,   /* required TLS was not to be had */
	CLIENT_TRY_PLAIN,/* the handshake failed where TLS is optional: connect again without */
	CLIENT_LOOP,     /* the peer is ourselves */
};

enum client_want {
	CLIENT_WANT_REPLY,   /* send what is in out, feed what comes */
	CLIENT_WANT_TLS,     /* send, then switch to TLS, then client_tls_done() */
	CLIENT_WANT_CONTENT, /* send, then content and (unless chunked) final dot, then client_content_sent() */
	CLIENT_WANT_MAIL,    /* idle: client_start() or client_quit() */
	CLIENT_WANT_CLOSE,   /* close the connection */
};

struct client {
	const struct client_settings *settings;
	struct buf *out;          /* the rim's */
	struct client_mail *mail; /* under way; NULL when all is settled or the session ended */
	enum client_state state;
	enum client_end end;
	struct verdict why; /* of end; text in the mail's arena, or static */
	struct reply reply;
	unsigned extensions;
	uint64_t size_limit;       /* SIZE; 0 none */
	uint64_t by_min;           /* DELIVERBY: no less seconds */
	unsigned mechanisms;       /* of AUTH, auth_mechanisms() */
	uint64_t rcpt_max, mail_max; /* LIMITS; 0 none */
	bool limited;              /* rcpt_max keeps recipients of this message for the next transaction */
	struct scram_client scram;
	uint8_t mechanism, auth_steps;
	bool auth_proved;          /* the peer has shown what it has to */
	bool authenticated;
	bool tls, verified, greeted_twice;
	bool needs_rset;
	bool answered;             /* the peer has replied to MAIL */
	bool cut;                  /* this transaction sends no further commands */
	bool chunked;              /* the content wanted is mail->size bytes as they are, without a dot */
	unsigned due;              /* replies to what was put out */
	unsigned passes;
	unsigned accepted;         /* recipients the peer has accepted in this transaction */
	unsigned mails;            /* transactions begun */
	unsigned messages;         /* whole transactions on this connection */
	struct { uint8_t step; size_t rcpt; } sent, got; /* cursors over RSET, MAIL, RCPT..., DATA */
};

/* settings and out must outlive it. */
void client_init(struct client *c, const struct client_settings *settings, struct buf *out);
void client_free(struct client *c);
/* A message to send, at any time before the session has ended and when no
 * other is under way.  Recipients whose verdict is not PENDING are left out. */
void client_start(struct client *c, struct client_mail *mail);
/* Takes replies from the front of *in until it is empty, an unfinished line is
 * left, or the rim has to act. */
void client_feed(struct client *c, struct span *in);
enum client_want client_want(const struct client *c);
/* How long the peer may be silent now; milliseconds. */
int64_t client_timeout_ms(const struct client *c);
/* The handshake's outcome; text says why it failed. verified: the certificate is good. */
void client_tls_done(struct client *c, bool ok, bool verified, struct span text);
void client_content_sent(struct client *c);
/* The content could not be read or was given up: the connection must go. */
void client_content_failed(struct client *c, struct span text);
/* The peer closed, or was silent for client_timeout_ms(). */
void client_lost(struct client *c, struct span text);
void client_timed_out(struct client *c);
/* Says QUIT; what is under way is lost. */
void client_quit(struct client *c);

const char *client_state_text(enum client_state state);

#endif
