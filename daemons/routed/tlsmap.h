/* SPDX-License-Identifier: ISC
 *
 * tlsmap: what smtp_tls_policy_maps has for a next hop, for remoted.
 */
#ifndef ROUTED_TLSMAP_H
#define ROUTED_TLSMAP_H

#include "rules.h"
#include "service/service.h"

/* nexthop: as it stands in the route. The next hop itself, then, where it has neither
 * brackets nor port, the domains above it with their dot. *which: the table. */
enum table_found tlsmap_find(struct rules *rules, struct span nexthop, struct arena *arena, struct span *value, struct span *which,
    struct span *key, struct fail *why);

extern const struct channel_ops tlsmap_ops;
void tlsmap_open(struct service *s, struct channel *c, struct span peer, unsigned instance);

#endif
