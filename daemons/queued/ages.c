/* SPDX-License-Identifier: ISC
 *
 * How long what is queued has waited, by domain: the view of Postfix's qshape.
 */
#include <stdlib.h>
#include <string.h>

#include "base/queueid.h"
#include "daemons/queued/tool.h"

enum { BUCKETS = 10, FIRST_MINUTES = 5, DOMAINS_MAX = 100000 };

struct age_row {
	struct map_node by_name;
	uint64_t total, buckets[BUCKETS];
	size_t n;
	char name[];
};

struct ages {
	bool senders;
	struct map rows;
	struct age_row *all, *others; /* all domains together; those beyond DOMAINS_MAX */
};

static struct age_row *
new_row(struct span name)
{
	struct age_row *r = calloc(1, sizeof(*r) + name.n + 1);

	if (!r)
		return NULL;
	r->n = name.n;
	for (size_t i = 0; i < name.n; i++)
		r->name[i] = ascii_lower(name.p[i]);
	return r;
}

struct ages *
ages_new(bool senders)
{
	struct ages *a = calloc(1, sizeof(*a));

	if (!a)
		return NULL;
	a->senders = senders;
	map_init(&a->rows);
	a->all = new_row(SPAN("TOTAL"));
	a->others = new_row(SPAN("(others)"));
	if (a->all && a->others) {
		memcpy(a->all->name, "TOTAL", a->all->n);
		return a;
	}
	ages_free(&a);
	return NULL;
}

static void
free_row(struct map_node *node, void *arg)
{
	(void)arg;
	free(OWNER_OF(node, struct age_row, by_name));
}

void
ages_free(struct ages **at)
{
	struct ages *a = *at;

	*at = NULL;
	if (!a)
		return;
	map_each(&a->rows, free_row, NULL);
	map_free(&a->rows);
	free(a->all);
	free(a->others);
	free(a);
}

static struct age_row *
row_of(struct ages *a, struct span name)
{
	char lower[B_HOST];
	struct map_node *node;
	struct age_row *r;

	name = span_sub(name, 0, sizeof(lower));
	for (size_t i = 0; i < name.n; i++)
		lower[i] = ascii_lower(name.p[i]);
	node = map_get(&a->rows, span_of(lower, name.n));
	if (node)
		return OWNER_OF(node, struct age_row, by_name);
	if (a->rows.count == DOMAINS_MAX)
		return a->others;
	r = new_row(name);
	if (r && !map_put(&a->rows, &r->by_name, span_of(r->name, r->n))) {
		free(r);
		r = NULL;
	}
	return r;
}

static void
count(struct age_row *r, unsigned bucket)
{
	r->total++;
	r->buckets[bucket]++;
}

static struct span
domain_of(struct span address, const char *without)
{
	size_t at = span_rchr(address, '@');

	return at == SIZE_MAX ? span_str(without) : span_from(address, at + 1);
}

bool
ages_add(struct ages *a, const struct message *m, int64_t now_ms)
{
	int64_t limit = FIRST_MINUTES * 60000, age = now_ms - queueid_time_ms(message_id(m));
	unsigned bucket = 0;
	struct age_row *r;

	while (bucket < BUCKETS - 1 && age >= limit) {
		bucket++;
		limit *= 2;
	}
	if (a->senders) {
		r = row_of(a, domain_of(text_span(m->sender), m->sender ? "(local)" : "MAILER-DAEMON"));
		if (r)
			count(r, bucket);
		count(a->all, bucket);
		return r != NULL;
	}
	for (uint32_t i = 0; i < m->nrcpts; i++) {
		if (m->rcpts[i].settled)
			continue;
		r = row_of(a, domain_of(text_span(m->rcpts[i].address), "(local)"));
		if (!r)
			return false;
		count(r, bucket);
		count(a->all, bucket);
	}
	return true;
}

static void
send_row(struct tool *t, uint64_t request, const struct age_row *r)
{
	struct buf bytes;
	struct ipc_queue_admin_age m = { .id = request, .domain = span_of(r->name, r->n), .total = r->total };

	buf_init(&bytes, BUCKETS * 8);
	for (unsigned i = 0; i < BUCKETS; i++)
		buf_le64(&bytes, r->buckets[i]);
	m.buckets = buf_span(&bytes);
	(void)ipc_send_queue_admin_age(t->c, &m);
	buf_free(&bytes);
}

struct gather {
	struct age_row **rows;
	size_t n;
};

static void
gather(struct map_node *node, void *arg)
{
	struct gather *g = arg;

	g->rows[g->n++] = OWNER_OF(node, struct age_row, by_name);
}

static int
by_total(const void *a, const void *b)
{
	const struct age_row *x = *(struct age_row *const *)a, *y = *(struct age_row *const *)b;

	return x->total != y->total ? (x->total > y->total ? -1 : 1) : span_cmp(span_of(x->name, x->n), span_of(y->name, y->n));
}

void
ages_send(struct ages *a, struct tool *t, uint64_t request)
{
	struct gather g = { .rows = malloc((a->rows.count + 1) * sizeof(*g.rows)) };

	send_row(t, request, a->all);
	if (!g.rows)
		return;
	map_each(&a->rows, gather, &g);
	if (g.n)
		qsort(g.rows, g.n, sizeof(*g.rows), by_total);
	for (size_t i = 0; i < g.n; i++)
		send_row(t, request, g.rows[i]);
	if (a->others->total)
		send_row(t, request, a->others);
	free(g.rows);
}
