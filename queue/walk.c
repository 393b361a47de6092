/* SPDX-License-Identifier: ISC */
#include "queue/impl.h"

static struct message *
next_of(const struct queue *q, int kind, const struct list *node)
{
	return node->next == &q->age[kind] ? NULL : OWNER_OF(node->next, struct message, age);
}

void
queue_walk_begin(struct queue *q, struct queue_walk *w)
{
	*w = (struct queue_walk){ .q = q, .total = q->messages.count };
	for (int kind = 0; kind < 2; kind++) {
		w->at[kind] = next_of(q, kind, &q->age[kind]);
		if (!list_empty(&q->age[kind])) {
			uint64_t newest = message_id(OWNER_OF(q->age[kind].prev, struct message, age));

			w->until = newest > w->until ? newest : w->until;
		}
	}
	list_push(&q->walks, &w->node);
}

struct message *
queue_walk_next(struct queue_walk *w)
{
	int kind = !w->at[0] || (w->at[1] && message_id(w->at[1]) < message_id(w->at[0]));
	struct message *m = w->at[kind];

	if (!m || message_id(m) > w->until)
		return NULL; /* what has come since is not part of it, or a busy queue were never walked to its end */
	w->at[kind] = next_of(w->q, kind, &m->age);
	w->seen++;
	return m;
}

void
queue_walk_end(struct queue_walk *w)
{
	list_remove(&w->node);
}

void
queue_walks_pass(struct queue *q, const struct message *m)
{
	int kind = m->sender == NULL;

	LIST_EACH(&q->walks, it) {
		struct queue_walk *w = OWNER_OF(it, struct queue_walk, node);

		if (w->at[kind] == m)
			w->at[kind] = next_of(q, kind, &m->age);
	}
}
