/* SPDX-License-Identifier: ISC
 *
 * tlsask: questions over the tlspolicy channel.
 */
#ifndef REMOTED_TLSASK_H
#define REMOTED_TLSASK_H

#include "service/inquiry.h"

/* Embedded in its owner. */
struct tlsask {
	struct inquiry inquiry;
	char name[B_NEXTHOP + 1];
	void (*on_answer)(struct tlsask *a, const struct ipc_tlspolicy_answer *m);
};

extern const struct inquiry_ops tlsask_routed, tlsask_stsd; /* of the inquirer, by whom it asks */
extern const struct channel_ops tlsask_channel_ops;

/* False: the name does not fit. */
bool tlsask_start(struct inquirer *peer, struct tlsask *a, struct span name);
void tlsask_cancel(struct tlsask *a);

#endif
