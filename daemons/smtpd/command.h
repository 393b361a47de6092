/* SPDX-License-Identifier: ISC
 *
 * command: the table of commands (commands.def) as a type, and the handlers'
 * declarations; each family of commands has a file of its own.
 */
#ifndef SMTPD_COMMAND_H
#define SMTPD_COMMAND_H

#include "reply.h"
#include "session.h"
#include "transaction.h"

enum command_args { ARGS_NONE, ARGS_OPTIONAL, ARGS_REQUIRED };

enum {
	COMMAND_PLAIN = 1, /* fine where TLS must come first (RFC 3207 4) */
	COMMAND_JUNK = 2,  /* does not advance: counted */
	COMMAND_SMTP = 4,  /* not in LMTP */
	COMMAND_LMTP = 8,  /* only there */
	COMMAND_LAST = 16, /* in a group nothing follows it (RFC 2920 3.1) */
	COMMAND_GROUP = 32, /* may be in one, but only for who has said EHLO */
};

typedef void command_handler(struct session *s, struct span args);

struct command {
	struct span verb;
	unsigned states; /* set of enum session_state */
	enum command_args args;
	unsigned flags;
	const char *syntax;
	command_handler *run;
};

#define COMMAND(verb, states, args, flags, rfc, syntax, handler) command_handler handler;
#include "commands.def"

extern const struct command commands[];
extern const size_t commands_count;

/* cmd_auth.c: one line of the client within AUTH. */
void auth_line(struct session *s, struct span line);
void auth_abandon(struct session *s); /* back to commands, if it was within AUTH */
struct sasl_offer auth_offer(struct session *s); /* what the client may log in with, where AUTH is offered at all */
/* cmd_bdat.c: bytes of a chunk. */
size_t chunk_input(struct session *s, struct span bytes);
void chunk_unknown(struct session *s); /* a BDAT was refused and nobody knows where its chunk ends: ends the session */
/* cmd_hello.c: what a session forgets when it begins anew (EHLO, STARTTLS, XCLIENT). */
void session_forget(struct session *s);

/* esmtp.c: the extensions that are to be had in this session as it stands, EXT() bits; whether AUTH or STARTTLS can still
 * be of use is another question. */
unsigned esmtp_offered(const struct session *s);
/* Parameters behind the path of MAIL and RCPT. False: refused, and *status says why. */
bool esmtp_mail_params(struct session *s, struct transaction *t, struct span params, unsigned *status);
bool esmtp_rcpt_params(struct session *s, struct recipient *r, struct span params, unsigned *status);

#endif
