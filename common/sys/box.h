/* SPDX-License-Identifier: ISC
 *
 * box: what is left of a program that crashes: a page that it shares with its
 * ruler, in which it names the peer whose bytes it is about to handle, and keeps the last input of
 * suspects: of those alone, so that nobody else's bytes are anywhere but where they belong.
 *
 * A peer is an address: of IPv4 itself, of IPv6 its /64.  Naming one is four stores; without a box
 * they go to memory of the process's own.
 */
#ifndef SYS_BOX_H
#define SYS_BOX_H

#include "base/buf.h"
#include "base/map.h"

enum { BOX_HALF = 12 << 10, BOX_INPUT = 2 * BOX_HALF, BOX_PEERS = 1000, BOX_TEXT = 48 };

struct box_name {
	uint64_t w[2]; /* 16 bytes of an address, IPv4 as ::ffff:a.b.c.d; all zero: nobody */
};

struct box_now {
	struct box_name name;
	uint64_t about; /* the message that it is about; 0: none yet */
};

/* CLEAR: like everybody. SUSPECT: its input is kept. SHUNNED: not served. */
enum box_level { BOX_CLEAR, BOX_SUSPECT, BOX_SHUNNED };

struct box_page;
struct box {
	struct box_now *now, idle;
	struct box_page *page; /* NULL: there is none */
	struct map peers;      /* struct peer, box.c: those who are not CLEAR */
	uint32_t sessions;     /* that had a tape so far */
};

/* Of one connection of a suspect. */
struct box_tape {
	struct box *box;
	uint32_t session;
	bool sticky; /* behind a login all is secret until box_tape_open(), else to the end of what came with it */
	bool secret;
	uint8_t word, n; /* of this line: which word, so far */
	char text[16];
};

void box_init(struct box *b);
void box_free(struct box *b);

/* Whom the program works for from here on; returns whom it did before. Nothing where b, of loop_box(), is NULL. */
static inline struct box_now
box_enter(struct box *b, struct box_now next)
{
	struct box_now before = { .about = 0 };

	if (b) {
		before = *b->now;
		*b->now = next;
	}
	return before;
}
static inline void
box_leave(struct box *b, struct box_now before)
{
	if (b)
		*b->now = before;
}

struct box_name box_name(const uint8_t bytes[16]); /* of netaddr_bytes() */
/* "192.0.2.1", "2001:db8::/64"; and back, false: it is none. */
struct span box_name_text(struct box_name name, char text[BOX_TEXT]);
bool box_name_parse(struct span text, struct box_name *name);

/* The process: takes fd, the page, for as long as it lives. False: it is none. */
bool box_take(struct box *b, int fd);
/* A peer is another level from now on; false: there are BOX_PEERS, or no memory. */
bool box_set(struct box *b, struct box_name name, enum box_level level);
enum box_level box_level(const struct box *b, struct box_name name);

/* A tape for a suspect's connection; NULL: there is no box to keep it in, or no memory. free() it. */
struct box_tape *box_tape_new(struct box *b, bool sticky);
/* What came from it, before a look is taken at it. What follows AUTH, AUTHENTICATE, LOGIN, PASS or APOP is kept as x. */
void box_tape_note(struct box_tape *t, struct span bytes);
static inline void box_tape_open(struct box_tape *t) { if (t) t->secret = false; } /* the login is over */

/* The ruler: a page, and what to send of it; NULL: none could be had. */
struct box_page *box_make(int *fd);
void box_drop(struct box_page **page);
/* What the process has left there, which may be anything: whom it worked for, and the input as box_each() has it. */
struct box_now box_read(const struct box_page *page, struct buf *input);
/* Parts of kept input in their order; false: it is broken. */
bool box_each(struct span input, void (*visit)(void *arg, uint32_t session, struct span bytes), void *arg);

#endif
