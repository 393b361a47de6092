/* SPDX-License-Identifier: ISC */
#include "front/hosts.h"

#include <stdlib.h>

struct host *
hosts_enter(struct map *hosts, const struct netaddr *peer)
{
	char text[NETADDR_TEXT];
	struct span key = netaddr_text(peer, text);
	struct map_node *node = map_get(hosts, key);
	struct host *h = node ? OWNER_OF(node, struct host, node) : calloc(1, sizeof *h);

	if (!h)
		return NULL;
	if (!node && (!span_cstr(key, h->addr, sizeof h->addr) || !map_put(hosts, &h->node, span_str(h->addr)))) {
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
