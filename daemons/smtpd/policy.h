/* SPDX-License-Identifier: ISC
 *
 * policy: what the sessions of one listener go by: the configuration and what
 * follows from it, worked out once for all of them.
 */
#ifndef SMTPD_POLICY_H
#define SMTPD_POLICY_H

#include "base/arena.h"
#include "conf/conf.h"

/* What EHLO may announce. EXTENSION(name, keyword and its argument) */
#define SMTPD_EXTENSIONS(X)                                    \
	X(PIPELINING, "PIPELINING")                            \
	X(SIZE, "SIZE")                                        \
	X(STARTTLS, "STARTTLS")                                \
	X(AUTH, "AUTH")                                        \
	X(ENHANCEDSTATUSCODES, "ENHANCEDSTATUSCODES")          \
	X(8BITMIME, "8BITMIME")                                \
	X(DSN, "DSN")                                          \
	X(CHUNKING, "CHUNKING")                                \
	X(BINARYMIME, "BINARYMIME")                            \
	X(SMTPUTF8, "SMTPUTF8")                                \
	X(REQUIRETLS, "REQUIRETLS")                            \
	X(FUTURERELEASE, "FUTURERELEASE")                      \
	X(DELIVERBY, "DELIVERBY")                              \
	X(MTPRIORITY, "MT-PRIORITY")                           \
	X(LIMITS, "LIMITS")                                    \
	X(ETRN, "ETRN")                                        \
	X(XFORWARD, "XFORWARD")                                \
	X(XCLIENT, "XCLIENT")

enum smtpd_extension {
#define X(name, keyword) EXT_BIT_##name,
	SMTPD_EXTENSIONS(X)
#undef X
	EXT_BIT_COUNT
};
#define EXT(name) (1u << EXT_BIT_##name)

struct policy {
	const struct conf *conf;
	const struct conf_listener *listener;
	bool lmtp;       /* LHLO, a reply for each recipient (RFC 2033) */
	bool local;      /* the submit socket: the peer is a user of this host */
	bool submission; /* mail needs a login, headers are completed (RFC 6409) */
	bool wrapper;    /* TLS from the first byte */
	bool tls_first;  /* nothing but NOOP, EHLO, STARTTLS, QUIT before TLS (RFC 3207 4) */
	bool auth;       /* AUTH is offered */
	unsigned mechanisms; /* with these: sasl_set() */
	bool milters, services; /* filters look at what comes in here (filter.h) */
	unsigned profile;    /* column of replies.def: 0 standard, 1 textbook, 2 plain */
	unsigned extensions; /* EXT() bits that may be announced at all */
};

void policy_init(struct policy *p, const struct conf *conf, const struct conf_listener *listener);

#endif
