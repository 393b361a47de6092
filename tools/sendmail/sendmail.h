/* SPDX-License-Identifier: ISC
 *
 * sendmail: the program other programs hand mail to; also mailq and newaliases.
 *
 * No privileges: it speaks ESMTP to smtpd's socket `submit` in run_directory, and
 * SO_PEERCRED there says who is calling.
 */
#ifndef SENDMAIL_SENDMAIL_H
#define SENDMAIL_SENDMAIL_H

#include <sysexits.h>

#include "base/arena.h"
#include "conf/conf.h"
#include "mail/address.h"

enum sendmail_mode {
	MODE_SEND,    /* -bm, and without any */
	MODE_SMTP,    /* -bs */
	MODE_VERIFY,  /* -bv */
	MODE_LIST,    /* -bp, mailq */
	MODE_ALIASES, /* -bi, newaliases */
	MODE_FLUSH,   /* -q */
};

enum { RECIPIENTS_MAX = 100000 };

struct sendmail_options {
	enum sendmail_mode mode;
	const char *program, *config_path;
	const char *sender;    /* -f, -r; NULL: who calls */
	const char *full_name; /* -F; NULL: from the user database */
	const char *notify, *ret, *envid; /* -N, -R, -V; NULL: none */
	const char *filter;    /* of -qI, -qR, -qS; NULL: all */
	char filter_field;     /* I, R or S */
	bool from_header;      /* -t */
	bool dots;             /* -i, -oi: a line of one dot is text */
	bool verbose;
	char **recipients;     /* what is behind the options */
	int nrecipients;
};

/* Reads the command line. False: what is wrong has been printed. */
bool options_parse(struct sendmail_options *o, int argc, char **argv);

/* A message as it goes to the server. */
struct message {
	struct buf content;           /* canonical: CRLF, no NUL, no overlong line */
	struct address sender;
	struct address *recipients;   /* in the arena; no two alike */
	size_t nrecipients;
	bool eightbit;
};

/* Appends text as canonical lines: LF, CRLF and CR end a line (programs' output has all of them), NUL goes, lines
 * longer than line_max are cut in two; a leading "From " line of mbox goes. dots false: a line of one dot is the end.
 * False if out failed. */
bool message_canonical(struct buf *out, struct span text, unsigned line_max, bool dots);

/* Adds the mailboxes of an address list to the recipients; an address without a domain gets origin. False: *why. */
bool message_add_recipients(struct message *m, struct span list, struct span origin, struct arena *arena,
			    struct fail *why);
/* The recipients of the header: Resent-To, -Cc, -Bcc if there is any of these, else To, Cc, Bcc. */
bool message_header_recipients(struct message *m, struct span origin, struct arena *arena, struct fail *why);
/* Bcc fields go; a missing From is made of the sender and full_name; a header without an empty line behind gets one. */
bool message_fix_header(struct message *m, struct span full_name);

/* Hands the message in, in as many transactions as recipient_limit makes it. Returns the exit status, with each refusal
 * printed. */
int submit_message(const struct sendmail_options *o, const struct conf *conf, const struct message *m);
/* Asks for each recipient whether it would be taken. */
int submit_verify(const struct sendmail_options *o, const struct conf *conf, const struct message *m);
/* Standard input and output speak with the server. */
int submit_relay(const struct conf *conf);

int admin_list(const struct sendmail_options *o, const struct conf *conf);
int admin_flush(const struct sendmail_options *o, const struct conf *conf);
int admin_aliases(const struct conf *conf);

/* Prints "sendmail: text" and returns status. */
int complain(int status, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

#endif
