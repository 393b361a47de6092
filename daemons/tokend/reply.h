/* SPDX-License-Identifier: ISC
 *
 * reply: what an issuer says of a token (RFC 7662 2.2), read and judged. No I/O.
 */
#ifndef TOKEND_REPLY_H
#define TOKEND_REPLY_H

#include "base/span.h"
#include "ipc/bounds.h"

enum { REPLY_BODY_MAX = 64 * 1024, REPLY_WHY = 160 };

/* What is asked of a token besides being active. */
struct reply_want {
	struct span attribute; /* the name of the member that has the login; "a.b" for a member of an object */
	struct span scope;     /* all of these, blanks between; empty: any */
	struct span audience;  /* one of "aud"; empty: any */
};

struct reply {
	enum token_result result;
	char user[B_ADDRESS + 1];
	uint64_t seconds; /* 0: not said */
	char why[REPLY_WHY];
};

void reply_read(struct span body, const struct reply_want *want, int64_t now_s, struct reply *out);

#endif
