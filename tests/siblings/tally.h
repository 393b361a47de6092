/* SPDX-License-Identifier: ISC
 *
 * tally: what each channel of the daemon has carried, and whether that was enough.
 */
#ifndef TESTS_SIBLINGS_TALLY_H
#define TESTS_SIBLINGS_TALLY_H

#include <stdbool.h>
#include <stdint.h>

#include "ipc/channel.h"

enum { TALLIES = 32 };

/* What a channel has carried, over all ends that it had. */
struct tally {
	const struct ipc_channel *type;
	const char *peer;      /* whom we play */
	uint64_t sent, heard;  /* messages, by us and by the daemon */
	uint64_t kept;         /* of those sent: as a sibling that keeps to the rules would have */
	uint64_t wrong;        /* of those sent: in a state that does not allow them */
	uint64_t spoilt;       /* packets */
	uint64_t closed;       /* ends, by the daemon */
	uint64_t resumed;      /* times it spoke on an end that took the place of a closed one */
	bool shut;             /* it has not yet */
	bool serves;           /* we do: the daemon is the client */
};

struct rig;

struct tally *tally_of(struct rig *r, const struct ipc_channel *type, const char *peer);
void tally_heard(struct tally *t);
void tally_closed(struct tally *t);
bool tally_leads(const struct rig *r, const struct tally *t); /* it has carried more than all others: they shall be heard, too */
bool tally_must_ask(const struct rig *r, const struct tally *t); /* the daemon, who is its client */
bool tally_enough(struct rig *r, bool tell); /* tell: in r->wrong, what is not */
void tally_print(const struct rig *r);

#endif
