/* SPDX-License-Identifier: ISC
 *
 * signature: which runs of three and four octets a text has, in so few bits
 * that those of a mailbox are looked through in milliseconds.  A text without a
 * needle's runs does not contain it; one with all of them may: a search reads those.
 *
 * A long run sets one bit, a short one two, at places that are others in each
 * message (a Bloom filter with a salt). Of three bits two are clear: a run of three octets
 * that is not there looks as if it was in one of twelve messages, a word of seven letters in
 * none of many thousands.
 */
#ifndef STORE_SIGNATURE_H
#define STORE_SIGNATURE_H

#include "base/buf.h"

enum {
	SIGNATURE_UNIT = 8,         /* octets: sizes are multiples of it */
	SIGNATURE_MAX = 512 << 10,  /* octets of one */
	SIGNATURE_NEEDLE_MIN = 3,   /* octets: what is shorter is in every text, as far as we know */
	SIGNATURE_LONG = 22,        /* runs of a needle that are looked for */
	SIGNATURE_SHORT = 10,
};

/* Gathers what a message has, one after another. */
struct signature_maker {
	unsigned char *seen; /* a bit for each hash; owned */
	uint32_t *runs;      /* those hashes; owned */
	size_t n, size;
	size_t bits;         /* that they are to set */
	bool failed;         /* memory; until signature_reset() */
};

bool signature_init(struct signature_maker *m); /* false: no memory */
void signature_free(struct signature_maker *m);
void signature_reset(struct signature_maker *m);
/* No run reaches from one text into the next. */
void signature_add(struct signature_maker *m, struct span text);
/* Appends the signature, of at most so many octets (but one unit at least). salt: any number, the message's own. */
bool signature_put(struct signature_maker *m, uint32_t salt, size_t most, struct buf *out);

struct signature_query {
	unsigned nlong, nshort; /* both 0: the needle is too short */
	uint32_t longs[SIGNATURE_LONG], shorts[SIGNATURE_SHORT];
};

void signature_query(struct signature_query *q, struct span needle);
/* False: no text that the signature was made of has the needle. */
bool signature_may_have(struct span signature, uint32_t salt, const struct signature_query *q);

#endif
