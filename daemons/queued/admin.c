/* SPDX-License-Identifier: ISC
 *
 * queue_admin: what root's tools ask.
 */
#include <inttypes.h>
#include <stdlib.h>

#include "base/queueid.h"
#include "daemons/queued/tool.h"
#include "journal/blob.h"

/* ---- answers ---- */

void
tool_done(struct tool *t, uint64_t request, uint64_t found, uint64_t count, uint64_t size)
{
	if (t->view) {
		(void)ipc_send_queue_view_done(t->c, &(struct ipc_queue_view_done){ .id = request, .ok = true, .count = count, .size = size });
		(void)timer_set(&t->patience, VIEW_PATIENCE_MS);
	} else {
		struct ipc_queue_admin_done m = { .id = request, .ok = true, .found = found, .count = count, .size = size };

		(void)ipc_send_queue_admin_done(t->c, &m);
	}
}

void
tool_failed(struct tool *t, uint64_t request, struct span text)
{
	if (t->view) {
		(void)ipc_send_queue_view_done(t->c, &(struct ipc_queue_view_done){ .id = request, .text = text });
	} else {
		struct ipc_queue_admin_done m = { .id = request, .text = text };

		(void)ipc_send_queue_admin_done(t->c, &m);
	}
}

void
tool_wrong(struct tool *t, uint64_t request, unsigned column, struct span text)
{
	struct ipc_queue_admin_done m = { .id = request, .wrong = true, .column = column, .text = text };

	(void)ipc_send_queue_admin_done(t->c, &m);
}

struct filter *
tool_filter(struct tool *t, uint64_t request, struct span text, unsigned where)
{
	struct filter_error error;
	struct filter *f = filter_parse(text, where, &error);

	if (!f)
		tool_wrong(t, request, error.column, span_str(error.text));
	return f;
}

struct answer *
answer_new(struct tool *t, uint64_t request)
{
	struct answer *a = calloc(1, sizeof(*a));

	if (!a) {
		tool_failed(t, request, SPAN("no memory"));
		return NULL;
	}
	a->t = t;
	a->request = request;
	list_push(&t->answers, &a->node);
	return a;
}

void
answer_on_done(void *arg, uint64_t id, const struct fail *why)
{
	struct answer *a = arg;
	struct ipc_queue_admin_done m = { .id = a->request, .ok = !why, .count = !why, .message = id, .text = why ? fail_text(why) : SPAN_NONE };

	if (a->t)
		(void)ipc_send_queue_admin_done(a->t->c, &m);
	list_remove(&a->node);
	free(a);
}

/* ---- requests ---- */

/* One request at a time: the next one waits for done. */
static bool
busy(const struct tool *t)
{
	return t->task || t->past || t->import;
}

static bool
start(struct tool *t, struct task_request r)
{
	if (busy(t))
		return false;
	r.filter = tool_filter(t, r.id, r.text, FILTER_QUEUE);
	if (r.filter)
		task_start(t, &r);
	return true;
}

static bool
on_queue_admin_list(struct channel *c, const struct ipc_queue_admin_list *m)
{
	return start(channel_owner(c), (struct task_request){ .kind = TASK_LIST, .id = m->id, .limit = m->limit, .text = m->filter, .sort = m->sort });
}

const char *
tool_verb(enum queue_verb verb)
{
	static const char *const names[VERB_COUNT] = {
		[VERB_FLUSH] = "flush",
		[VERB_HOLD] = "hold",
		[VERB_RELEASE] = "release",
		[VERB_DELETE] = "delete",
		[VERB_BOUNCE] = "bounce",
		[VERB_REQUEUE] = "requeue",
		[VERB_EXPIRE] = "expire",
	};

	return names[verb];
}

static bool
verb_of(struct span s, enum queue_verb *verb)
{
	for (unsigned i = 0; i < VERB_COUNT; i++)
		if (span_eq(s, span_str(tool_verb(i)))) {
			*verb = i;
			return true;
		}
	return false;
}

static bool
on_queue_admin_act(struct channel *c, const struct ipc_queue_admin_act *m)
{
	struct tool *t = channel_owner(c);
	struct task_request r = { .kind = TASK_ACT, .id = m->id, .limit = m->limit, .text = m->filter, .dry_run = m->dry_run, .quiet = m->quiet };

	if (verb_of(m->verb, &r.verb))
		return start(t, r);
	tool_wrong(t, m->id, 0, SPAN("no such verb"));
	return true;
}

static bool
on_queue_admin_stats(struct channel *c, const struct ipc_queue_admin_stats *m)
{
	return start(channel_owner(c), (struct task_request){ .kind = TASK_STATS, .id = m->id, .text = m->filter, .senders = m->senders });
}

static bool
on_queue_admin_show(struct channel *c, const struct ipc_queue_admin_show *m)
{
	return start(channel_owner(c), (struct task_request){ .kind = TASK_SHOW, .id = m->id, .limit = m->limit, .text = m->filter,
	    .envelope = m->envelope, .content = m->content });
}

static bool
on_queue_admin_history(struct channel *c, const struct ipc_queue_admin_history *m)
{
	struct tool *t = channel_owner(c);
	struct filter *f;

	if (busy(t))
		return false;
	f = tool_filter(t, m->id, m->filter, FILTER_PAST);
	if (f)
		past_start(t, m->id, f);
	return true;
}

static bool
on_queue_admin_undelete(struct channel *c, const struct ipc_queue_admin_undelete *m)
{
	struct tool *t = channel_owner(c);
	struct answer *a = answer_new(t, m->id);
	char id[QUEUEID_TEXT + 1];
	struct fail why;

	if (!a)
		return true;
	if (!queue_undelete(t->q->queue, m->message, answer_on_done, a, &why))
		answer_on_done(a, m->message, &why);
	else
		log_put(LOG_queue, "id=%s brought back after its deletion, uid=%u", queueid_text(m->message, id).p, t->uid);
	return true;
}

static bool
on_queue_admin_import(struct channel *c, const struct ipc_queue_admin_import *m)
{
	struct tool *t = channel_owner(c);

	return !busy(t) && import_start(t, m->id, m->hold);
}

static bool
on_queue_admin_import_envelope(struct channel *c, const struct ipc_queue_admin_import_envelope *m)
{
	struct tool *t = channel_owner(c);

	return t->import && import_envelope(t->import, m->bytes);
}

static bool
on_queue_admin_import_bytes(struct channel *c, const struct ipc_queue_admin_import_bytes *m)
{
	struct tool *t = channel_owner(c);

	return t->import && import_bytes(t->import, m->bytes);
}

static bool
on_queue_admin_import_end(struct channel *c, const struct ipc_queue_admin_import_end *m)
{
	struct tool *t = channel_owner(c);

	(void)m;
	return t->import && import_end(t->import);
}

static bool
on_queue_admin_rules(struct channel *c, const struct ipc_queue_admin_rules *m)
{
	struct tool *t = channel_owner(c);

	rules_send(t->q->rules, t, m->id);
	return true;
}

static bool
on_queue_admin_rule_add(struct channel *c, const struct ipc_queue_admin_rule_add *m)
{
	struct tool *t = channel_owner(c);

	rules_add(t->q->rules, t, m->id, m->filter, m->comment, loop_wall_ms(t->q->service->loop));
	return true;
}

static bool
on_queue_admin_rule_delete(struct channel *c, const struct ipc_queue_admin_rule_delete *m)
{
	struct tool *t = channel_owner(c);

	rules_delete(t->q->rules, t, m->id, m->number);
	return true;
}

#define DISPATCH_DEF "ipc/queue_admin.def"
#define DISPATCH_SIDE SERVER
#include "ipc/dispatch.h"

void
tool_free(struct tool *t)
{
	LIST_EACH(&t->answers, it) {
		OWNER_OF(it, struct answer, node)->t = NULL;
		list_remove(it);
	}
	task_stop(&t->task);
	past_stop(&t->past);
	import_stop(&t->import);
	list_remove(&t->node);
	timer_stop(&t->patience);
	channel_free(&t->c);
	free(t);
}

void
tool_go_on(struct tool *t)
{
	if (t->task)
		task_go_on(t->task);
	if (t->past)
		past_go_on(t->past);
}

static void
on_closed(struct channel *c, const struct fail *why)
{
	(void)why; /* tools come and go */
	tool_free(channel_owner(c));
}

static void
on_drained(struct channel *c)
{
	tool_go_on(channel_owner(c));
}

struct tool *
tool_new(struct queued *q, struct channel *c, unsigned uid)
{
	struct tool *t = q->queue && q->rules ? calloc(1, sizeof(*t)) : NULL;

	if (!t) {
		channel_free(&c);
		return NULL;
	}
	t->q = q;
	t->c = c;
	t->uid = uid;
	list_init(&t->answers);
	channel_set_owner(c, t);
	return t;
}

void
queued_admin_open(struct service *s, struct channel *c, struct span peer, unsigned instance)
{
	(void)peer;
	(void)tool_new(queued_of(s), c, instance);
}

const struct channel_ops queued_admin_ops = { .dispatch = dispatch_queue_admin, .on_closed = on_closed, .on_drained = on_drained };
