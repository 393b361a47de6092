/* SPDX-License-Identifier: ISC
 *
 * explain: for mailctl route: the hosts of a next hop in the order in which they would
 * be tried, and how each would be spoken to, found the way a delivery finds it.
 */
#ifndef REMOTED_EXPLAIN_H
#define REMOTED_EXPLAIN_H

#include "service/service.h"

extern const struct channel_ops explain_ops;
void explain_open(struct service *s, struct channel *c, struct span peer, unsigned instance);

#endif
