/* SPDX-License-Identifier: ISC
 *
 * status: what can be said about an address, a message or a transfer, as one
 * table (status.def): enhanced code (RFC 3463, RFC 5248 registry), the SMTP
 * reply we give, and the sentence a report tells a human.
 *
 * `struct fail.status` is an index into it; STATUS_NONE (0) means no row.
 * Several rows may share a code; the first of a code is its general meaning.
 */
#ifndef MAIL_STATUS_H
#define MAIL_STATUS_H

#include "base/fail.h"

enum status_id {
	STATUS_NONE,
#define STATUS(name, code, reply, class, text, report) STATUS_##name,
#include "mail/status.def"
#undef STATUS
	STATUS_COUNT
};

struct status {
	const char *name;      /* "BAD_MAILBOX" */
	const char *code;      /* "5.1.1" */
	unsigned reply;        /* 550 */
	enum fail_class class; /* FAIL_NONE (2xx), FAIL_TEMP, FAIL_PERM */
	const char *text;      /* behind the code in our SMTP reply */
	const char *report;    /* a sentence for the human part of a report */
};

/* Never NULL: an unknown id gives the row of STATUS_NONE ("", 0, ...). */
const struct status *status_get(unsigned id);
static inline bool status_permanent(unsigned id) { return status_get(id)->class == FAIL_PERM; }
static inline bool status_temporary(unsigned id) { return status_get(id)->class == FAIL_TEMP; }

/* The row for an enhanced code as received ("5.1.1"): the exact code, else X.Y.0,
 * else X.0.0; STATUS_NONE when it is not an enhanced code. */
unsigned status_find_code(struct span code);
/* The row for a bare reply code of a peer that gave no enhanced code. */
unsigned status_find_reply(unsigned reply);
/* The row of that name ("BAD_MAILBOX", any case); STATUS_NONE if there is none. */
unsigned status_find_name(struct span name);

/* Takes an enhanced code from the front of a reply's text when its class fits
 * the reply (RFC 2034 4): returns the code, empty if there is none, and moves
 * *text behind it and the blank. Code digits are bounded (1.3.3 digits). */
struct span status_take_code(unsigned reply, struct span *text);

/* What to say for a failure: its row, or the general row of its class. */
unsigned status_of_fail(const struct fail *why);

#endif
