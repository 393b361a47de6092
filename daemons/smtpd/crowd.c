/* SPDX-License-Identifier: ISC */
#include <stdlib.h>
#include <string.h>

#include "smtpd.h"

struct crowd {
	struct map_node node;
	uint8_t key[16];
	size_t sessions;
};

static struct crowd *
find(struct smtpd *d, const uint8_t key[16])
{
	struct map_node *node = map_get(&d->crowd, span_of(key, 16));

	return node ? OWNER_OF(node, struct crowd, node) : NULL;
}

bool
crowd_enter(struct smtpd *d, const uint8_t key[16], size_t limit)
{
	struct crowd *c = find(d, key);

	if (!c) {
		c = calloc(1, sizeof(*c));
		if (!c)
			return false;
		memcpy(c->key, key, sizeof(c->key));
		if (!map_put(&d->crowd, &c->node, span_of(c->key, sizeof(c->key)))) {
			free(c);
			return false;
		}
	}
	if (limit && c->sessions >= limit)
		return false;
	c->sessions++;
	if (limit)
		limit_count(d->service->loop, LIMIT_smtpd_client_connection_count_limit, c->sessions, limit);
	return true;
}

void
crowd_leave(struct smtpd *d, const uint8_t key[16])
{
	struct crowd *c = find(d, key);

	if (!c || --c->sessions)
		return;
	map_remove(&d->crowd, &c->node);
	free(c);
}
