/* SPDX-License-Identifier: ISC
 *
 * Hold rules: filters that hold mail back as it arrives.  They stand in the
 * file `rules` of the queue directory, replaced as a whole by a durable one:
 *
 *   pillarpost-hold-rules 1
 *   next NUMBER                      numbers are given once
 *   NUMBER MILLISECONDS FILTER<TAB>COMMENT
 */
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "daemons/queued/tool.h"
#include "journal/blob.h"

enum { RULES_MAX = 1000, FILE_MAX = 32 * 1024 * 1024, COMMENT_MAX = 200 };

static const struct span first_line = SPAN_INIT("pillarpost-hold-rules 1");

struct rule {
	struct list node;
	uint64_t number, added_ms, held;
	struct filter *filter;
	struct text *text, *comment;
};

struct rule_list {
	struct vfs *vfs;
	struct worker_pool *pool;
	struct list rules;
	size_t n;
	uint64_t next;
	/* A change under way: */
	struct blob blob;
	struct answer *answer; /* NULL: none */
	struct rule *added;    /* one of the two */
	uint64_t deleted;
};

static void
free_rule(struct rule *r)
{
	if (!r)
		return;
	list_remove(&r->node);
	filter_free(&r->filter);
	free(r->text);
	free(r->comment);
	free(r);
}

static struct rule *
new_rule(uint64_t number, uint64_t added_ms, struct span filter, struct span comment, struct filter_error *error)
{
	struct rule *r = calloc(1, sizeof(*r));

	*error = (struct filter_error){ .text = "no memory" };
	if (!r)
		return NULL;
	r->number = number;
	r->added_ms = added_ms;
	r->text = text_new(filter);
	r->comment = text_new(comment);
	r->filter = r->text || !filter.n ? filter_parse(filter, FILTER_ARRIVAL, error) : NULL;
	if (r->filter)
		return r;
	free_rule(r);
	return NULL;
}

/* ---- the file ---- */

static bool
load_line(struct rule_list *l, struct span line)
{
	struct span rest = line, number = span_cut(&rest, ' '), added, filter;
	struct filter_error error;
	uint64_t n, ms;
	struct rule *r;

	if (span_eq(number, SPAN("next")))
		return span_u64(rest, UINT64_MAX, &l->next);
	added = span_cut(&rest, ' ');
	filter = span_cut(&rest, '\t');
	if (!span_u64(number, UINT64_MAX, &n) || !span_u64(added, UINT64_MAX, &ms))
		return false;
	r = new_rule(n, ms, filter, rest, &error);
	if (r) {
		list_push(&l->rules, &r->node);
		l->n++;
		l->next = n >= l->next ? n + 1 : l->next;
	}
	return r != NULL;
}

static bool
load(struct rule_list *l, struct span text)
{
	if (!span_eq(span_cut(&text, '\n'), first_line))
		return false;
	while (text.n) {
		struct span line = span_cut(&text, '\n');

		if (line.n && !load_line(l, line))
			log_put(LOG_failure, "a hold rule is not understood and has no effect: %.*s", SPAN_ARG(line));
	}
	return true;
}

struct rule_list *
rules_open(struct vfs *v, struct worker_pool *pool)
{
	struct rule_list *l = calloc(1, sizeof(*l));
	int fd = v->ops->open(v, "rules", VFS_READ);
	struct buf text;
	int64_t size;
	char *room;

	if (!l)
		return NULL;
	l->vfs = v;
	l->pool = pool;
	l->next = 1;
	list_init(&l->rules);
	if (fd < 0)
		return l;
	buf_init(&text, FILE_MAX);
	size = v->ops->size(v, fd);
	room = size > 0 ? buf_room(&text, (size_t)size) : NULL;
	if (room && vfs_read_all(v, fd, room, (size_t)size, 0))
		buf_added(&text, (size_t)size);
	if (!load(l, buf_span(&text)))
		log_put(LOG_failure, "the hold rules cannot be read: no mail is held by them");
	buf_free(&text);
	(void)v->ops->close(v, fd);
	return l;
}

void
rules_free(struct rule_list **at)
{
	struct rule_list *l = *at;

	*at = NULL;
	if (!l)
		return;
	LIST_EACH(&l->rules, it)
		free_rule(OWNER_OF(it, struct rule, node));
	free_rule(l->added);
	free(l);
}

static void
put_rule(struct buf *out, const struct rule *r)
{
	buf_printf(out, "%" PRIu64 " %" PRIu64 " %.*s\t%.*s\n", r->number, r->added_ms, SPAN_ARG(text_span(r->text)), SPAN_ARG(text_span(r->comment)));
}

static void
finish(struct rule_list *l, const struct fail *why)
{
	struct answer *a = l->answer;
	uint64_t number = l->added ? l->added->number : l->deleted;

	if (!why && l->added) {
		list_push(&l->rules, &l->added->node);
		l->n++;
		log_put(LOG_queue, "hold rule %" PRIu64 " added: %.*s", number, SPAN_ARG(text_span(l->added->text)));
		l->added = NULL;
	} else if (!why) {
		LIST_EACH(&l->rules, it)
			if (OWNER_OF(it, struct rule, node)->number == number) {
				free_rule(OWNER_OF(it, struct rule, node));
				l->n--;
			}
		log_put(LOG_queue, "hold rule %" PRIu64 " deleted", number);
	}
	free_rule(l->added);
	l->added = NULL;
	l->answer = NULL;
	answer_on_done(a, number, why);
}

static void
on_written(struct blob *b, const struct fail *why)
{
	finish(OWNER_OF(b, struct rule_list, blob), why);
}

/* The rules as they will be. */
static void
write_file(struct rule_list *l)
{
	struct fail why;
	struct buf text;

	buf_init(&text, FILE_MAX);
	buf_printf(&text, "%.*s\nnext %" PRIu64 "\n", SPAN_ARG(first_line), l->next);
	LIST_EACH(&l->rules, it)
		if (OWNER_OF(it, struct rule, node)->number != l->deleted || l->added)
			put_rule(&text, OWNER_OF(it, struct rule, node));
	if (l->added)
		put_rule(&text, l->added);
	(void)l->vfs->ops->unlink(l->vfs, "rules.new"); /* of a crash */
	if (!buf_ok(&text)) {
		(void)fail_set(&why, FAIL_LIMIT, 0, "the rules do not fit");
		finish(l, &why);
	} else if (!blob_create(&l->blob, l->vfs, "rules.new", "rules", &why)) {
		finish(l, &why);
	} else {
		(void)blob_write(&l->blob, buf_span(&text));
		blob_commit(&l->blob, l->pool, on_written);
	}
	buf_free(&text);
}

/* ---- use ---- */

uint64_t
rules_match(struct rule_list *l, const struct record_envelope *e)
{
	LIST_EACH(&l->rules, it) {
		struct rule *r = OWNER_OF(it, struct rule, node);

		if (filter_match(r->filter, &arrival_source, e)) {
			r->held++;
			return r->number;
		}
	}
	return 0;
}

struct span
rules_text(const struct rule_list *l, uint64_t number)
{
	LIST_EACH(&l->rules, it)
		if (OWNER_OF(it, struct rule, node)->number == number)
			return text_span(OWNER_OF(it, struct rule, node)->text);
	return SPAN_NONE;
}

void
rules_send(const struct rule_list *l, struct tool *t, uint64_t request)
{
	LIST_EACH(&l->rules, it) {
		const struct rule *r = OWNER_OF(it, struct rule, node);
		struct ipc_queue_admin_rule m = { .id = request, .number = r->number, .added_ms = r->added_ms, .held = r->held,
			.filter = text_span(r->text), .comment = text_span(r->comment) };

		(void)ipc_send_queue_admin_rule(t->c, &m);
	}
	tool_done(t, request, l->n, l->n, 0);
}

static bool
may_change(struct rule_list *l, struct tool *t, uint64_t request)
{
	if (l->answer) { /* maybe of the same tool, with the same number: it is being written all the same */
		tool_failed(t, request, SPAN("another change of the rules is being written; try again"));
		return false;
	}
	l->answer = answer_new(t, request);
	return l->answer != NULL;
}

void
rules_add(struct rule_list *l, struct tool *t, uint64_t request, struct span filter, struct span comment, int64_t now_ms)
{
	struct filter_error error;
	struct rule *r;

	limit_count(t->q->service->loop, LIMIT_hold_rules, l->n, RULES_MAX);
	if (l->n >= RULES_MAX) {
		limit_reached(t->q->service->loop, LIMIT_hold_rules, RULES_MAX, SPAN("mailctl"));
		tool_failed(t, request, SPAN("there are 1000 rules already"));
		return;
	}
	r = l->answer ? NULL : new_rule(l->next, (uint64_t)now_ms, filter, span_sub(comment, 0, COMMENT_MAX), &error);
	if (!l->answer && !r) {
		tool_wrong(t, request, error.column, span_str(error.text));
		return;
	}
	if (span_chr(filter, '\t') != SIZE_MAX || !may_change(l, t, request)) {
		if (span_chr(filter, '\t') != SIZE_MAX)
			tool_failed(t, request, SPAN("a rule must not hold a tab"));
		free_rule(r);
		return;
	}
	l->next++;
	l->added = r;
	l->deleted = 0;
	write_file(l);
}

void
rules_delete(struct rule_list *l, struct tool *t, uint64_t request, uint64_t number)
{
	bool known = false;

	LIST_EACH(&l->rules, it)
		known |= OWNER_OF(it, struct rule, node)->number == number;
	if (!known) {
		tool_failed(t, request, SPAN("no rule of this number"));
	} else if (may_change(l, t, request)) {
		l->deleted = number;
		write_file(l);
	}
}
