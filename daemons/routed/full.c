/* SPDX-License-Identifier: ISC */
#include "full.h"

#include <stdlib.h>
#include <string.h>

#include "mail/status.h"

struct row {
	struct map_node node;
	struct list age;
	int64_t until_ms;
	struct full_limits met;
	bool lasting;
	char home[];
};

void
full_init(struct full *f)
{
	*f = (struct full){ .n = 0 };
	map_init(&f->by_home);
	list_init(&f->by_age);
}

static void
forget(struct full *f, struct row *row)
{
	map_remove(&f->by_home, &row->node);
	list_remove(&row->age);
	f->n--;
	free(row);
}

void
full_free(struct full *f)
{
	LIST_EACH(&f->by_age, it)
		forget(f, OWNER_OF(it, struct row, age));
	map_free(&f->by_home);
}

static struct row *
find(struct full *f, struct span home)
{
	struct map_node *node = map_get(&f->by_home, home);

	return node ? OWNER_OF(node, struct row, node) : NULL;
}

void
full_note(struct full *f, struct span home, struct full_limits met, bool lasting, int64_t now_ms)
{
	struct row *row = find(f, home);

	if (row)
		forget(f, row);
	if (f->n >= FULL_MOST)
		forget(f, OWNER_OF(f->by_age.next, struct row, age));
	row = calloc(1, sizeof(*row) + home.n + 1);
	if (!row || home.n == 0) {
		free(row);
		return;
	}
	memcpy(row->home, home.p, home.n);
	row->until_ms = now_ms + FULL_MS;
	row->met = met;
	row->lasting = lasting;
	if (!map_put(&f->by_home, &row->node, span_of(row->home, home.n))) {
		free(row);
		return;
	}
	list_push(&f->by_age, &row->age);
	f->n++;
}

unsigned
full_status(struct full *f, struct span home, struct full_limits now, int64_t now_ms)
{
	struct row *row = find(f, home);
	bool lasting = row && row->lasting;

	if (!row)
		return 0;
	if (now_ms >= row->until_ms || row->met.quota != now.quota || row->met.messages != now.messages) {
		forget(f, row);
		return 0;
	}
	return lasting ? STATUS_MAILBOX_FULL : STATUS_MAILBOX_FULL_NOW;
}
