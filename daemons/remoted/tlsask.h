/* SPDX-License-Identifier: ISC
 *
 * tlsask: questions over the tlspolicy channel.  When the peer dies they are
 * asked again of the next one.
 */
#ifndef REMOTED_TLSASK_H
#define REMOTED_TLSASK_H

#include "base/map.h"
#include "ipc/messages.h"

struct tlsask_client {
	struct channel *channel; /* NULL while there is no peer */
	struct list unsent;      /* waiting for one */
	struct map sent;         /* by id */
	uint64_t last_id;
};

/* Embedded in its owner. */
struct tlsask {
	struct list node;
	struct map_node by_id;
	struct tlsask_client *client; /* NULL when not under way */
	uint64_t id;
	char name[B_NEXTHOP + 1];
	void (*on_answer)(struct tlsask *a, const struct ipc_tlspolicy_answer *m);
};

void tlsask_client_init(struct tlsask_client *c);
/* The peer has come; the client owns the channel. */
void tlsask_client_open(struct tlsask_client *c, struct channel *channel);
extern const struct channel_ops tlsask_channel_ops;

/* False: the name does not fit. */
bool tlsask_start(struct tlsask_client *c, struct tlsask *a, struct span name);
void tlsask_cancel(struct tlsask *a);

#endif
