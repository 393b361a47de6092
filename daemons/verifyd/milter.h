/* SPDX-License-Identifier: ISC
 *
 * milter: the filter protocol of Sendmail and Postfix (version 6) as a client,
 * without I/O: packets to be sent are built here, a filter's replies taken apart.
 *
 * A packet is a length (32 bits, big-endian, of what follows), a command byte
 * and its data. What a filter says is foreign bytes: every count is bounded,
 * and what it did not ask for in the negotiation it may not do.
 */
#ifndef VERIFYD_MILTER_H
#define VERIFYD_MILTER_H

#include "base/arena.h"
#include "base/buf.h"
#include "base/fail.h"

enum {
	MILTER_PACKET_MAX = 131072, /* of a filter: a piece of body is at most 65536 bytes, a header field seldom a tenth */
	MILTER_CHUNK = 65535,       /* body bytes in one packet of ours */
	MILTER_STAGES = 7,          /* of macros */
	MILTER_MACROS_MAX = 64,     /* names that a filter may ask for in one stage */
	MILTER_MEMORY = 16384,
};

enum milter_event {
#define EVENT(name, command, no_send, no_reply, stage, version) MILTER_##name,
#include "milter.def"
	MILTER_EVENTS
};

enum milter_reply_id {
#define REPLY(name, letter, shape, when, action) MILTER_SAYS_##name,
#include "milter.def"
	MILTER_REPLIES
};

/* What was agreed on with one filter. */
struct milter {
	uint32_t version, actions, protocol;
	struct span macros[MILTER_STAGES]; /* names it wants there, blanks between; p NULL: the usual ones */
	struct arena mem;
};

void milter_init(struct milter *m);
void milter_free(struct milter *m); /* back to the state after milter_init */

/* Our offer; the filter's answer, a packet's command and data, goes to milter_negotiated(). */
void milter_put_offer(struct buf *out);
bool milter_negotiated(struct milter *m, struct span packet, struct fail *why);
/* Whether this filter is to be told, and whether it will answer. */
bool milter_wants(const struct milter *m, enum milter_event e);
bool milter_answers(const struct milter *m, enum milter_event e);

/* The macros in front of an event. value gives each one's, empty for those that are not known;
 * the name is "i" or "{client_addr}". Nothing is put where no macro has a value. */
void milter_put_macros(const struct milter *m, struct buf *out, enum milter_event e,
    struct span (*value)(void *arg, struct span name), void *arg);
/* family: '4', '6', 'L' (UNIX) or 'U' (unknown: neither port nor address). */
void milter_put_connect(struct buf *out, struct span host, char family, uint16_t port, struct span address);
/* HELO, MAIL, RCPT: strings, each with a NUL behind. */
void milter_put_strings(struct buf *out, enum milter_event e, const struct span *items, size_t n);
/* value: raw, as header_next() gives it. */
void milter_put_header(const struct milter *m, struct buf *out, struct span name, struct span value);
/* DATA, EOH, BODY, END. */
void milter_put_bytes(struct buf *out, enum milter_event e, struct span bytes);
void milter_put_abort(struct buf *out); /* the message is over; the session goes on */
void milter_put_quit(struct buf *out);

/* Takes the first packet off *in: its command and data go to *packet. NEED: it is not whole yet. */
enum milter_step { MILTER_NEED, MILTER_PACKET, MILTER_BAD };
enum milter_step milter_next(struct span *in, struct span *packet);

/* One reply; spans point into the packet. */
struct milter_reply {
	enum milter_reply_id id;
	uint32_t index;          /* INSHEADER, CHGHEADER */
	struct span name, value; /* of a header field; value: an address with or without <>, a reason, a piece of body */
	unsigned code;           /* REPLYCODE: 400 to 599 */
	struct span xcode;       /* its enhanced code, or empty */
	struct span text;        /* its lines as they came, codes in front of each further one */
};

/* What the packet says; false: a filter may not say this now, or not like this. */
bool milter_take(const struct milter *m, enum milter_event at, struct span packet, struct milter_reply *r, struct fail *why);
/* A REPLYCODE's text on one line, the codes of further lines left out and "%%" undone. */
void milter_put_text(struct buf *out, const struct milter_reply *r);
const char *milter_event_name(enum milter_event e);
const char *milter_reply_name(enum milter_reply_id id);

#endif
