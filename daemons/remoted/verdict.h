/* SPDX-License-Identifier: ISC
 *
 * verdict: what became of a recipient, and on what ground.
 */
#ifndef REMOTED_VERDICT_H
#define REMOTED_VERDICT_H

#include "base/arena.h"
#include "daemons/remoted/reply.h"

enum { VERDICT_CODE = 12, VERDICT_TEXT = 1024 };

enum verdict_outcome {
	VERDICT_PENDING,
	VERDICT_DELIVERED,
	VERDICT_RELAYED, /* delivered to a host without DSN (RFC 3461 5.2.2) */
	VERDICT_DEFERRED,
	VERDICT_FAILED,
};

struct verdict {
	enum verdict_outcome outcome;
	char code[VERDICT_CODE]; /* enhanced status code */
	struct span text;        /* the peer's reply or our words; in the arena */
	bool again;              /* DEFERRED, FAILED: another host may be asked at once */
	bool tell;               /* RELAYED, DELIVERED: the sender is to hear of it (RFC 2852) */
	bool maybe_done;         /* DEFERRED: the connection was lost after the final dot */
};

/* The outcome is that of the reply's class.  doing (may be empty) is put behind
 * the text: "(in reply to MAIL)". */
struct verdict verdict_of_reply(const struct reply *r, struct arena *arena, struct span doing);
/* In our own words; status is a row of mail/status.def, whose class decides. */
struct verdict verdict_make(unsigned status, struct arena *arena, const char *fmt, ...) __attribute__((format(printf, 3, 4)));

#endif
