/* SPDX-License-Identifier: ISC
 *
 * delivery: the jobs of queued: one message to one destination.  Each ends with a
 * result for each recipient and done.
 */
#ifndef REMOTED_DELIVERY_H
#define REMOTED_DELIVERY_H

#include "daemons/remoted/job.h"

/* For remoted.agent. */
extern const struct agent_ops delivery_ops;

#endif
