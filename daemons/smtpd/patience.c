/* SPDX-License-Identifier: ISC */
#include <stdlib.h>
#include <string.h>

#include "smtpd.h"

enum { PATIENT_MAX = 4096 }; /* whose last wait is longest ago goes */

struct patient {
	struct map_node node;
	struct list by_wait;
	uint8_t key[16];
	int64_t since_ms;
};

void
patience_init(struct patience *p)
{
	map_init(&p->by_key);
	list_init(&p->by_wait);
}

static void
forget(struct patience *p, struct patient *one)
{
	map_remove(&p->by_key, &one->node);
	list_remove(&one->by_wait);
	free(one);
}

void
patience_free(struct patience *p)
{
	while (!list_empty(&p->by_wait))
		forget(p, OWNER_OF(p->by_wait.next, struct patient, by_wait));
	map_free(&p->by_key);
}

static struct patient *
find(const struct patience *p, const uint8_t key[16])
{
	struct map_node *node = map_get(&p->by_key, span_of(key, 16));

	return node ? OWNER_OF(node, struct patient, node) : NULL;
}

bool
patience_shown(const struct patience *p, const uint8_t key[16], int64_t now_ms, int64_t ttl_ms)
{
	const struct patient *one = find(p, key);

	return one && now_ms - one->since_ms < ttl_ms;
}

void
patience_show(struct patience *p, const uint8_t key[16], int64_t now_ms)
{
	struct patient *one = find(p, key);

	if (one)
		forget(p, one);
	else if (p->by_key.count >= PATIENT_MAX)
		forget(p, OWNER_OF(p->by_wait.next, struct patient, by_wait));
	if (!(one = calloc(1, sizeof(*one))))
		return;
	memcpy(one->key, key, sizeof(one->key));
	one->since_ms = now_ms;
	if (!map_put(&p->by_key, &one->node, span_of(one->key, sizeof(one->key)))) {
		free(one);
		return;
	}
	list_push(&p->by_wait, &one->by_wait);
}
