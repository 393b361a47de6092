/* SPDX-License-Identifier: ISC
 *
 * login: a protocol before login, as a core without I/O: bytes in, bytes out,
 * and what the rim (front.c) shall do next.
 *
 * The core of a protocol (imapd, pop3d) embeds struct login.  It parses no
 * further than the command that logs in.
 */
#ifndef FRONT_LOGIN_H
#define FRONT_LOGIN_H

#include "net/sasl.h"

enum {
	LOGIN_USER_MAX = 320,
	LOGIN_PASSWORD_MAX = 1024,
	LOGIN_TAG_MAX = 128,
	LOGIN_ERRORS_MAX = 20, /* in all, before login; then the connection ends */
};

enum login_want {
	LOGIN_INPUT,    /* more bytes */
	LOGIN_STARTTLS, /* TLS, behind what was put out */
	LOGIN_CHECK,    /* the credentials in struct login */
	LOGIN_IDENTIFY, /* whose the certificate is; authzid is there */
	LOGIN_TOKEN,    /* the token in sasl checked, then login_token_refused() where that has a word for the client */
	LOGIN_BEGIN,    /* a challenge for the SCRAM exchange in sasl, then login_challenged() */
	LOGIN_PROVE,    /* the proof in sasl checked, then login_proved() */
	LOGIN_ENTER,    /* the session: what the proof was good for */
	LOGIN_CLOSE,    /* the end, behind what was put out */
};

enum login_verdict {
	LOGIN_WRONG,     /* name or password */
	LOGIN_TEMPORARY, /* cannot be checked, or the mailbox cannot be opened, just now */
	LOGIN_TOO_SOON,  /* good, but the same user has just logged in (RFC 2449 8.1.1) */
};

struct login_settings {
	struct span banner;
	bool disable_plaintext; /* a password needs TLS (or loopback) */
	bool tls_required;      /* even on loopback */
	bool auth;              /* logging in is possible at all */
	bool textbook;          /* POP3 reply texts */
	unsigned delay;         /* POP3: seconds between logins (RFC 2449 6.5) */
	unsigned attempts;      /* failed logins, then the connection ends */
	unsigned mechanisms;    /* sasl_set() */
};

struct login;

struct login_ops {
	void (*greet)(struct login *l);
	/* Takes bytes from the front of in until something is wanted; returns how many. */
	size_t (*input)(struct login *l, struct span in);
	void (*refused)(struct login *l, enum login_verdict v); /* after LOGIN_CHECK, IDENTIFY, BEGIN, PROVE, ENTER */
	void (*bye)(struct login *l, const char *text); /* last words; wants LOGIN_CLOSE */
	void (*free)(struct login *l);
};

struct login {
	const struct login_ops *ops;
	struct login_settings set;
	struct buf *out;      /* the rim's */
	enum login_want want;
	bool tls;             /* is on */
	bool tls_offered;     /* could be */
	bool loopback;
	bool certificate;     /* the client has shown one */
	unsigned failures, errors;
	struct sasl sasl;     /* the exchange that goes on */
	bool answering;       /* the next line is the client's answer in it */
	bool (*binding)(void *arg, struct span type, struct buf *out); /* struct sasl_offer's, for when TLS is on */
	void *binding_arg;
	/* LOGIN_CHECK; wiped by login_forget() */
	char mechanism[32];
	char authzid[LOGIN_USER_MAX + 1], user[LOGIN_USER_MAX + 1], password[LOGIN_PASSWORD_MAX + 1];
	char tag[LOGIN_TAG_MAX + 1]; /* IMAP */
};

/* What the client may log in with as things are.  For a password loopback counts as secure. */
struct sasl_offer login_offer(const struct login *l);
/* May a name and a password be sent on this connection? */
bool login_by_password(const struct login *l);

/* Name and password as a command gave them.  False: too long, or NUL inside. */
bool login_user(struct login *l, struct span user);
bool login_password(struct login *l, struct span password);
/* Wants LOGIN_CHECK with what is there. */
void login_check(struct login *l, struct span mechanism);
/* Says or wants what the exchange needs next.  False: it has failed and is over, which the protocol reports. */
bool login_exchange(struct login *l, enum sasl_result result);
/* authd's part of SCRAM; false: it made no sense. */
bool login_challenged(struct login *l, struct span message);
bool login_proved(struct login *l, struct span signature);
bool login_token_refused(struct login *l, struct span error);
void login_forget(struct login *l);
/* Counts a failed login; true: that was one too many. */
bool login_failed(struct login *l);

#endif
