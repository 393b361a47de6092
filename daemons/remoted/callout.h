/* SPDX-License-Identifier: ISC
 *
 * callout: whether a next hop takes mail for an address, asked for routed: a job
 * without a message, which ends behind the reply to RCPT.
 */
#ifndef REMOTED_CALLOUT_H
#define REMOTED_CALLOUT_H

#include "service/service.h"

enum { CALLOUTS_MAX = 200 /* at once in one process; beyond it the answer is: not now */ };

struct remoted;

extern const struct channel_ops callout_ops;

void callout_open(struct service *s, struct channel *c, struct span peer, unsigned instance);
/* All of them end without an answer. */
void callout_stop(struct remoted *r);

#endif
