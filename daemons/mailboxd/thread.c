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
	map_init(&t->ids);
}

void
thread_free(struct thread *t)
{
	map_free(&t->ids);
	free(t->numbered);
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

static struct thread_node *
node_of(struct thread *t, struct span id)
{
	struct map_node *found = map_get(&t->ids, id);
	struct thread_node *n;

	if (found)
		return OWNER_OF(found, struct thread_node, by_id);
	if (!(n = new_node(t)))
		return NULL;
	id = arena_dup(&t->arena, id);
	if (!id.p || !map_put(&t->ids, &n->by_id, id))
		t->failed = true;
	return n;
}

/* The node of a number, NULL for none or without memory. */
static struct thread_node **
place_of(struct thread *t, uint32_t number)
{
	size_t size = t->nnumbered ? t->nnumbered : 1024;
	struct thread_node **more;

	while (size <= number)
		size *= 2;
	if (size == t->nnumbered)
		return &t->numbered[number];
	if (!(more = realloc(t->numbered, size * sizeof *more))) {
		t->failed = true;
		return NULL;
	}
	memset(more + t->nnumbered, 0, (size - t->nnumbered) * sizeof *more);
	t->numbered = more;
	t->nnumbered = size;
	return &t->numbered[number];
}

static struct thread_node *
numbered(struct thread *t, uint32_t number)
{
	struct thread_node **at = place_of(t, number);

	if (at && !*at)
		*at = new_node(t);
	return at ? *at : NULL;
}

/* The ids of a message one after the other. */
struct ids {
	const struct thread_message *m;
	struct span rest;
	size_t at;
};

/* Whether the next one is there at all, and what stands for it so far; it is taken with take_id(). */
static struct thread_node *
known_id(struct thread *t, const struct ids *ids, bool *empty)
{
	struct span rest = ids->rest, id;
	struct map_node *found;

	if (ids->m->numbers) {
		uint32_t number = ids->m->nnumbers ? ids->m->numbers[0] : 0;

		*empty = number == 0;
		return number && number < t->nnumbered ? t->numbered[number] : NULL;
	}
	id = span_cut(&rest, '\n');
	*empty = !id.n;
	found = id.n ? map_get(&t->ids, id) : NULL;
	return found ? OWNER_OF(found, struct thread_node, by_id) : NULL;
}

static bool
more_ids(const struct ids *ids)
{
	return ids->m->numbers ? ids->at < ids->m->nnumbers : ids->rest.n > 0;
}

/* The next one's node, made if need be; NULL: it is empty. */
static struct thread_node *
take_id(struct thread *t, struct ids *ids)
{
	struct span id;

	if (ids->m->numbers) {
		uint32_t number = ids->m->numbers[ids->at++];

		return number ? numbered(t, number) : NULL;
	}
	id = span_cut(&ids->rest, '\n');
	return id.n ? node_of(t, id) : NULL;
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
	struct ids ids = { .m = m, .rest = m->ids };
	bool empty;
	const struct thread_node *known = known_id(t, &ids, &empty);
	struct thread_node *n = NULL, *before = NULL;

	if (more_ids(&ids))
		n = take_id(t, &ids);
	/* (1): no id, or one that another message has: one of its own */
	if (empty || (known && known->number))
		n = new_node(t);
	if (!n)
		return;
	n->number = m->number;
	n->date = m->date;
	n->received = m->received;
	n->reply = m->reply;
	n->subject = m->subject.n ? arena_dup(&t->arena, m->subject) : SPAN_NONE;
	while (more_ids(&ids) && !t->failed) {
		struct thread_node *r = take_id(t, &ids);

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

static int
by_date(const void *a, const void *b)
{
	const struct thread_node *x = dated(*(struct thread_node *const *)a), *y = dated(*(struct thread_node *const *)b);

	if (x->date != y->date)
		return x->date < y->date ? -1 : 1;
	return x->number < y->number ? -1 : x->number > y->number;
}

static void
sort_list(struct thread_node **list, struct thread_node **room, int (*order)(const void *, const void *))
{
	size_t n = 0;

	for (struct thread_node *c = *list; c; c = c->next)
		room[n++] = c;
	if (n < 2)
		return;
	qsort(room, n, sizeof *room, order);
	for (size_t i = 0; i + 1 < n; i++)
		room[i]->next = room[i + 1];
	room[n - 1]->next = NULL;
	*list = room[0];
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

static struct span
thread_subject(const struct thread_node *n)
{
	return dated(n)->subject;
}

struct subject_row {
	struct map_node by_subject;
	struct thread_node *node;
};

/* (5B): which thread stands for each subject. */
static bool
take_subjects(struct thread *t, struct thread_node *top, struct map *table)
{
	for (struct thread_node *n = top->child; n; n = n->next) {
		struct span subject = thread_subject(n);
		struct map_node *known = subject.n ? map_get(table, subject) : NULL;
		struct subject_row *row = known ? OWNER_OF(known, struct subject_row, by_subject) : NULL;

		if (!subject.n)
			continue;
		if (!row) {
			row = ARENA_NEW(&t->arena, struct subject_row);
			if (!row || !map_put(table, &row->by_subject, subject))
				return false;
			row->node = n;
		} else if ((!n->number && row->node->number) || (row->node->number && row->node->reply && n->number && !n->reply)) {
			row->node = n;
		}
	}
	return true;
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
merge(struct thread *t, struct subject_row *row, struct thread_node *n)
{
	struct thread_node *with = row->node, *itself;

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
	struct thread_node *list, *n;
	struct map table;
	bool ok;

	map_init(&table);
	ok = take_subjects(t, top, &table);
	/* Those of the table stay in the list, the others are taken out first. */
	list = NULL;
	for (struct thread_node **at = &top->child, **end = &list; ok && (n = *at);) {
		struct span subject = thread_subject(n);
		struct map_node *known = subject.n ? map_get(&table, subject) : NULL;

		if (!known || OWNER_OF(known, struct subject_row, by_subject)->node == n) {
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
		merge(t, OWNER_OF(map_get(&table, thread_subject(n)), struct subject_row, by_subject), n);
	}
	t->failed = t->failed || !ok;
	map_free(&table);
}

static void
sort_tree(struct thread_node *top, struct thread_node **room)
{
	for (struct thread_node *n = deepest(top); n; n = n == top ? NULL : n->next ? deepest(n->next) : n->parent)
		sort_list(&n->child, room, by_date);
}

/* Each thread's latest arrival, at its top. */
static void
find_latest(struct thread_node *top)
{
	for (struct thread_node *n = deepest(top); n && n != top; n = n->next ? deepest(n->next) : n->parent)
		if (n->parent && n->parent != top && n->received > n->parent->received)
			n->parent->received = n->received;
}

static int
by_latest(const void *a, const void *b)
{
	const struct thread_node *x = *(struct thread_node *const *)a, *y = *(struct thread_node *const *)b;

	if (x->received != y->received)
		return x->received < y->received ? -1 : 1;
	return by_date(a, b);
}

void
thread_refs(struct thread *t)
{
	struct thread_node top = { .number = 0 };
	struct thread_node **room = calloc(t->nodes + 1, sizeof *room);

	if (!room) {
		t->failed = true;
		return;
	}
	for (struct thread_node *n = t->all; n; n = n->all)
		if (!n->parent)
			link_child(&top, n);
	prune(&top, room);
	sort_tree(&top, room);
	find_latest(&top);
	sort_list(&top.child, room, by_latest);
	t->root = top.child;
	for (struct thread_node *n = t->root; n; n = n->next)
		n->parent = NULL;
	free(room);
}

void
thread_references(struct thread *t)
{
	struct thread_node top = { .number = 0 };
	struct thread_node **room = calloc(t->nodes * 2 + 1, sizeof *room); /* merging makes more of them */

	if (!room) {
		t->failed = true;
		return;
	}
	for (struct thread_node *n = t->all; n; n = n->all)
		if (!n->parent) /* (2) */
			link_child(&top, n);
	prune(&top, room);
	sort_tree(&top, room); /* (4) */
	merge_subjects(t, &top);
	sort_tree(&top, room); /* (6) */
	t->root = top.child;
	for (struct thread_node *n = t->root; n; n = n->next)
		n->parent = NULL;
	free(room);
}

/* ---- ORDEREDSUBJECT ---- */

static int
by_subject(const void *a, const void *b)
{
	const struct thread_node *x = *(struct thread_node *const *)a, *y = *(struct thread_node *const *)b;
	int order = span_cmp(x->subject, y->subject);

	return order ? order : by_date(a, b);
}

void
thread_subjects(struct thread *t)
{
	struct thread_node **list = calloc(t->nodes + 1, sizeof *list);
	size_t n = 0, heads = 0;

	if (!list) {
		t->failed = true;
		return;
	}
	for (struct thread_node *m = t->all; m; m = m->all) {
		m->parent = m->child = m->next = NULL;
		if (m->number)
			list[n++] = m;
	}
	if (n)
		qsort(list, n, sizeof *list, by_subject);
	for (size_t i = 0; i < n;) {
		struct thread_node *first = list[i], **end = &first->child;

		for (i++; i < n && span_eq(list[i]->subject, first->subject); i++) {
			list[i]->parent = first;
			*end = list[i];
			end = &list[i]->next;
		}
		list[heads++] = first;
	}
	if (heads)
		qsort(list, heads, sizeof *list, by_date);
	for (size_t i = 0; i + 1 < heads; i++)
		list[i]->next = list[i + 1];
	t->root = heads ? list[0] : NULL;
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
