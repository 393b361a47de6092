/* SPDX-License-Identifier: ISC */
#include "daemons/mailboxd/thread.h"

#include <stdlib.h>
#include <string.h>

enum { CLIMB_MAX = 20000 }; /* ancestors looked at for one link: more is taken for a loop, so that the work is bounded */

void
thread_init(struct thread *t, size_t cap)
{
	*t = (struct thread){ .all = NULL };
	arena_init(&t->arena, cap);
}

void
thread_free(struct thread *t)
{
	free(t->by_id);
	arena_free(&t->arena);
}

static struct thread_node *
new_node(struct thread *t)
{
	struct thread_node *n = ARENA_NEW(&t->arena, struct thread_node);

	if (!n) {
		t->failed = true;
		return NULL;
	}
	n->all = t->all;
	t->all = n;
	t->nodes++;
	return n;
}

/* What stands for an id so far is *place_of() it; NULL without memory. */
static struct thread_node **
place_of(struct thread *t, uint32_t id)
{
	size_t size = t->nids ? t->nids : 1024;
	struct thread_node **more;

	while (size <= id)
		size *= 2;
	if (size == t->nids)
		return &t->by_id[id];
	if (!(more = realloc(t->by_id, size * sizeof *more))) {
		t->failed = true;
		return NULL;
	}
	memset(more + t->nids, 0, (size - t->nids) * sizeof *more);
	t->by_id = more;
	t->nids = size;
	return &t->by_id[id];
}

static struct thread_node *
node_of(struct thread *t, uint32_t id)
{
	struct thread_node **at = place_of(t, id);

	if (at && !*at)
		*at = new_node(t);
	return at ? *at : NULL;
}

/* ---- the tree ---- */

static void
unlink_node(struct thread_node *n)
{
	struct thread_node **at = &n->parent->child;

	while (*at != n)
		at = &(*at)->next;
	*at = n->next;
	n->parent = n->next = NULL;
}

static void
link_child(struct thread_node *parent, struct thread_node *n)
{
	n->parent = parent;
	n->next = parent->child;
	parent->child = n;
}

static bool
would_loop(const struct thread_node *parent, const struct thread_node *n)
{
	unsigned climbed = 0;

	if (parent == n)
		return true;
	if (!n->child)
		return false;
	for (; parent; parent = parent->parent)
		if (parent == n || ++climbed > CLIMB_MAX)
			return true;
	return false;
}

void
thread_add(struct thread *t, const struct thread_message *m)
{
	struct thread_node *n = m->nids && m->ids[0] ? node_of(t, m->ids[0]) : NULL, *before = NULL;

	if (!n || n->number) /* (1): no id, or one that another message has: one of its own */
		n = new_node(t);
	if (!n)
		return;
	n->number = m->number;
	n->date = m->date;
	n->received = m->received;
	n->reply = m->reply;
	n->subject = m->subject;
	if (m->subject > t->last_subject)
		t->last_subject = m->subject;
	for (size_t i = 1; i < m->nids && !t->failed; i++) {
		struct thread_node *r = m->ids[i] ? node_of(t, m->ids[i]) : NULL;

		if (!r)
			continue;
		/* (1A): what is linked already stays */
		if (before && !r->parent && !would_loop(before, r))
			link_child(before, r);
		before = r;
	}
	if (!before || before == n->parent || would_loop(before, n)) /* (1B) */
		return;
	if (n->parent)
		unlink_node(n);
	link_child(before, n);
}

/* ---- order ---- */

/* A thread without its first message has the date of the first that is there. */
static const struct thread_node *
dated(const struct thread_node *n)
{
	while (!n->number && n->child)
		n = n->child;
	return n;
}

/* A node with what it is ordered by, so that ordering need not look at it. */
struct place {
	int64_t first, date; /* first: 0, or what counts before the date */
	struct thread_node *node;
	uint32_t number;
};

static int
by_place(const void *a, const void *b)
{
	const struct place *x = a, *y = b;

	if (x->first != y->first)
		return x->first < y->first ? -1 : 1;
	if (x->date != y->date)
		return x->date < y->date ? -1 : 1;
	return x->number < y->number ? -1 : x->number > y->number;
}

static struct place
place(struct thread_node *n, int64_t first)
{
	const struct thread_node *at = dated(n);

	return (struct place){ first, at->date, n, at->number };
}

/* Chains them in their order; the first one. */
static struct thread_node *
chain(struct place *room, size_t n)
{
	size_t sorted = 1;

	while (sorted < n && by_place(&room[sorted - 1], &room[sorted]) <= 0)
		sorted++;
	if (sorted < n)
		qsort(room, n, sizeof *room, by_place);
	for (size_t i = 0; i + 1 < n; i++)
		room[i].node->next = room[i + 1].node;
	if (n)
		room[n - 1].node->next = NULL;
	return n ? room[0].node : NULL;
}

static void
sort_list(struct thread_node **list, struct place *room, bool latest)
{
	size_t n = 0;

	if (!*list || !(*list)->next)
		return;
	for (struct thread_node *c = *list; c; c = c->next)
		room[n++] = place(c, latest ? c->received : 0);
	*list = chain(room, n);
}

/* ---- REFERENCES ---- */

/* Where a walk that visits children before their parents begins; the tree may
 * be as deep as it has nodes, so nothing here calls itself. */
static struct thread_node *
deepest(struct thread_node *n)
{
	while (n && n->child)
		n = n->child;
	return n;
}

/* (3): what is not there leaves its children to its parent; at the top only a single one. */
static void
prune(struct thread_node *top, struct thread_node **order)
{
	size_t n = 0;

	for (struct thread_node *c = top->child; c; c = c->next)
		order[n++] = c;
	for (size_t i = 0; i < n; i++)
		for (struct thread_node *c = order[i]->child; c; c = c->next)
			order[n++] = c;
	for (size_t i = 0; i < n; i++) { /* parents come first: theirs is found already */
		struct thread_node *p = order[i]->parent;

		if (p != top && !p->number && p->parent != top)
			order[i]->parent = p->parent;
	}
	top->child = NULL;
	for (size_t i = 0; i < n; i++)
		order[i]->child = order[i]->next = NULL;
	for (size_t i = 0; i < n; i++)
		if (order[i]->number)
			link_child(order[i]->parent, order[i]);
	for (size_t i = 0; i < n; i++)
		if (!order[i]->number && order[i]->parent == top && order[i]->child)
			link_child(top, order[i]->child->next ? order[i] : order[i]->child);
}

static uint32_t
thread_subject(const struct thread_node *n)
{
	return dated(n)->subject;
}

/* (5B): which thread stands for each subject. */
static void
take_subjects(struct thread_node *top, struct thread_node **table)
{
	for (struct thread_node *n = top->child; n; n = n->next) {
		struct thread_node **of = &table[thread_subject(n)];

		if (!*of || (!n->number && (*of)->number) || ((*of)->number && (*of)->reply && n->number && !n->reply))
			*of = n;
	}
}

static void
move_children(struct thread_node *from, struct thread_node *to)
{
	while (from->child) {
		struct thread_node *c = from->child;

		from->child = c->next;
		link_child(to, c);
	}
}

/* (5C) for one thread that is not in the list any more: where it goes. */
static void
merge(struct thread *t, struct thread_node *with, struct thread_node *n)
{
	struct thread_node *itself;

	if (!with->number && !n->number) {
		move_children(n, with);
	} else if (!with->number || (n->reply && !with->reply && n->number)) {
		link_child(with, n);
	} else if ((itself = new_node(t))) { /* both below one that is not there, which takes its place */
		itself->number = with->number;
		itself->date = with->date;
		itself->subject = with->subject;
		itself->reply = with->reply;
		move_children(with, itself);
		with->number = 0;
		link_child(with, itself);
		link_child(with, n);
	}
}

static void
merge_subjects(struct thread *t, struct thread_node *top)
{
	struct thread_node **table = calloc((size_t)t->last_subject + 1, sizeof *table);
	struct thread_node *list = NULL, **end = &list, *n;

	if (!table) {
		t->failed = true;
		return;
	}
	take_subjects(top, table);
	/* Those of the table stay in the list, the others are taken out first. */
	for (struct thread_node **at = &top->child; (n = *at);) {
		uint32_t subject = thread_subject(n);

		if (!subject || table[subject] == n) {
			at = &n->next;
			continue;
		}
		*at = n->next;
		n->next = NULL;
		*end = n;
		end = &n->next;
	}
	while ((n = list)) {
		list = n->next;
		n->next = NULL;
		merge(t, table[thread_subject(n)], n);
	}
	free(table);
}

static void
sort_tree(struct thread_node *top, struct place *room)
{
	for (struct thread_node *n = deepest(top); n; n = n == top ? NULL : n->next ? deepest(n->next) : n->parent)
		sort_list(&n->child, room, false);
}

/* Each thread's latest arrival, at its top. */
static void
find_latest(struct thread_node *top)
{
	for (struct thread_node *n = deepest(top); n && n != top; n = n->next ? deepest(n->next) : n->parent)
		if (n->parent && n->parent != top && n->received > n->parent->received)
			n->parent->received = n->received;
}

/* (2) to (4), below top; what room is needed for further on, NULL without memory. */
static struct place *
gather(struct thread *t, struct thread_node *top)
{
	struct thread_node **order = calloc(t->nodes + 1, sizeof *order);
	struct place *room = calloc(t->nodes * 2 + 1, sizeof *room); /* merging makes more of them */

	t->failed = t->failed || !order || !room;
	if (t->failed) {
		free(order);
		free(room);
		return NULL;
	}
	for (struct thread_node *n = t->all; n; n = n->all)
		if (!n->parent)
			link_child(top, n);
	prune(top, order);
	free(order);
	sort_tree(top, room);
	return room;
}

static void
finish(struct thread *t, struct thread_node *top, struct place *room)
{
	t->root = top->child;
	for (struct thread_node *n = t->root; n; n = n->next)
		n->parent = NULL;
	free(room);
}

void
thread_refs(struct thread *t)
{
	struct thread_node top = { .number = 0 };
	struct place *room = gather(t, &top);

	if (!room)
		return;
	find_latest(&top);
	sort_list(&top.child, room, true);
	finish(t, &top, room);
}

void
thread_references(struct thread *t)
{
	struct thread_node top = { .number = 0 };
	struct place *room = gather(t, &top);

	if (!room)
		return;
	merge_subjects(t, &top);
	sort_tree(&top, room); /* (6) */
	finish(t, &top, room);
}

/* ---- ORDEREDSUBJECT ---- */

void
thread_subjects(struct thread *t)
{
	struct place *list = calloc(t->nodes + 1, sizeof *list);
	size_t n = 0, heads = 0;

	if (!list) {
		t->failed = true;
		return;
	}
	for (struct thread_node *m = t->all; m; m = m->all) {
		m->parent = m->child = m->next = NULL;
		if (m->number)
			list[n++] = place(m, m->subject);
	}
	qsort(list, n, sizeof *list, by_place);
	for (size_t i = 0; i < n;) {
		struct thread_node *first = list[i].node, **end = &first->child;
		int64_t subject = list[i].first;

		for (i++; i < n && list[i].first == subject; i++) {
			list[i].node->parent = first;
			*end = list[i].node;
			end = &list[i].node->next;
		}
		list[heads++] = place(first, 0);
	}
	t->root = chain(list, heads);
	free(list);
}

/* ---- writing ---- */

/* A chain stands in one pair of parentheses; where it forks each branch has one of its own. */
void
thread_put(const struct thread *t, struct buf *out)
{
	const struct thread_node *n = t->root;
	bool begin = true; /* n begins a pair */

	while (n) {
		if (begin)
			buf_putc(out, '(');
		if (n->number) {
			if (!begin)
				buf_putc(out, ' ');
			buf_put_u64(out, n->number);
		}
		if (n->child) {
			bool forks = n->child->next != NULL;

			if (forks && n->number)
				buf_putc(out, ' ');
			begin = forks;
			n = n->child;
			continue;
		}
		/* Back to where a branch is left; each pair that ends on the way is closed. */
		for (;;) {
			bool branch = !n->parent || n->parent->child->next;

			if (branch)
				buf_putc(out, ')');
			if (n->next) {
				n = n->next;
				begin = true;
				break;
			}
			n = n->parent;
			if (!n)
				break;
		}
	}
}
