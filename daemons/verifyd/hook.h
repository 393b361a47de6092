/* SPDX-License-Identifier: ISC
 *
 * hook: a session's connection to one milter: made at its first MAIL, kept for
 * the session. Events go out one after the other, each when the filter has
 * answered the one before or has said that it will not.
 *
 * What it says before MAIL (to CONNECT and HELO) holds for the whole session
 * and is said to the client at MAIL. A filter that cannot be reached, hangs or breaks
 * the rules counts as milter_default_action says, until the next MAIL.
 */
#ifndef VERIFYD_HOOK_H
#define VERIFYD_HOOK_H

#include "net/stream.h"
#include "visit.h"
#include "way.h"

enum hook_state {
	HOOK_CLOSED,
	HOOK_CONNECTING,
	HOOK_NEGOTIATING,
	HOOK_OPEN,
	HOOK_CONTENT, /* it does not care about this session (accepted at CONNECT or HELO) */
	HOOK_REFUSES, /* it refuses this session */
};

struct hook {
	struct visit *visit;
	struct way way;
	struct stream stream;
	struct milter milter;
	uint8_t state;          /* enum hook_state */
	bool told_connect, in_message, done; /* done: it has accepted the present message */
	bool awaiting;          /* an answer */
	bool pending;           /* the visit waits for this hook */
	enum milter_event sent; /* the event that is to be answered, or was last */
	enum milter_event next, goal;
	struct buf helo;        /* as it was told */
	const struct field *field; /* the next to be shown */
	uint64_t body_at;
	unsigned status, reply; /* REFUSES: what the client hears */
	struct buf text;
};

/* False: no memory, or an address that is none. */
bool hook_init(struct hook *h, struct visit *v, struct span address);
void hook_free(struct hook *h);
/* True: it is being asked; visit_go_on() follows. False: it has no say, or had it at once. */
bool hook_ask(struct hook *h, enum visit_stage stage);
/* The present message is over. */
void hook_reset(struct hook *h);
/* Whether it wants to see content of the present message. */
bool hook_wants_content(const struct hook *h);

#endif
