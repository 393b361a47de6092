/* SPDX-License-Identifier: ISC */
#include "front/hosts.h"

#include <stdlib.h>
#include <string.h>

struct host *
hosts_enter(struct map *hosts, const struct netaddr *peer)
{
	uint8_t network[16];
	struct map_node *node;
	struct host *h;

	netaddr_network(peer, 32, 64, network);
	node = map_get(hosts, span_of((char *)network, sizeof network));
	h = node ? OWNER_OF(node, struct host, node) : calloc(1, sizeof *h);
	if (!h)
		return NULL;
	if (!node)
		memcpy(h->network, network, sizeof network);
	if (!node && !map_put(hosts, &h->node, span_of((char *)h->network, sizeof h->network))) {
		free(h);
		return NULL;
	}
	h->connections++;
	return h;
}

void
hosts_leave(struct map *hosts, struct host **host)
{
	struct host *h = *host;

	*host = NULL;
	if (!h || --h->connections > 0)
		return;
	map_remove(hosts, &h->node);
	free(h);
}
