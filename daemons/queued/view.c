/* SPDX-License-Identifier: ISC
 *
 * queue_view: what any local user may ask.  Its socket is open to everybody,
 * so who calls is the kernel's word (SO_PEERCRED), what may be asked is the
 * channel's few rows, and how much at once is limited.
 */
#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/queueid.h"
#include "daemons/queued/tool.h"

enum { VIEWS_MAX = 32, VIEWS_OF_ONE = 4 };

/* ---- who may ---- */

/* Names are looked up once, at the start, before the walls are up. */
static void
resolve(struct user_list *list, const struct conf_list *names)
{
	list->n = 0;
	for (size_t i = 0; i < names->n && list->n < USERS_MAX; i++) {
		struct span name = names->items[i];
		bool not = span_starts(name, SPAN("!"));
		struct user_rule *r = &list->rules[list->n];
		const struct passwd *pw;
		uint64_t uid;
		char text[B_NAME];

		name = span_from(name, not);
		*r = (struct user_rule){ .deny = not };
		if (span_eq(name, SPAN("static:anyone")) || span_eq(name, SPAN("static:all")) || span_eq(name, SPAN("anyone"))) {
			r->anyone = true;
		} else if (span_u64(name, UINT32_MAX, &uid)) {
			r->uid = (unsigned)uid;
		} else if (span_cstr(name, text, sizeof(text)) && (pw = getpwnam(text))) {
			r->uid = pw->pw_uid;
		} else {
			log_put(LOG_config, "authorized users: no user %.*s", SPAN_ARG(name));
			continue;
		}
		list->n++;
	}
}

void
queued_view_users(struct queued *q)
{
	resolve(&q->may_list, &q->service->conf->authorized_mailq_users);
	resolve(&q->may_flush, &q->service->conf->authorized_flush_users);
}

static bool
may(const struct user_list *list, unsigned uid)
{
	if (uid == 0 || uid == geteuid())
		return true;
	for (size_t i = 0; i < list->n; i++)
		if (list->rules[i].anyone || list->rules[i].uid == uid)
			return !list->rules[i].deny;
	return false;
}

static bool
deny(struct tool *t, uint64_t request, const char *text)
{
	struct ipc_queue_view_done m = { .id = request, .denied = true, .text = span_str(text) };

	log_put(LOG_limit, "uid %u: %s", t->uid, text);
	(void)ipc_send_queue_view_done(t->c, &m);
	return true;
}

/* ---- requests ---- */

static bool
start(struct tool *t, struct task_request r)
{
	struct filter_error error;

	r.filter = filter_parse(r.text, FILTER_QUEUE, &error);
	if (!r.filter) {
		tool_failed(t, r.id, span_str(error.text));
		return true;
	}
	timer_stop(&t->patience);
	task_start(t, &r);
	return true;
}

static bool
on_queue_view_list(struct channel *c, const struct ipc_queue_view_list *m)
{
	struct tool *t = channel_owner(c);

	if (t->task)
		return false;
	if (!may(&t->q->may_list, t->uid))
		return deny(t, m->id, "not allowed to view the mail queue (authorized_mailq_users)");
	return start(t, (struct task_request){ .kind = TASK_LIST, .id = m->id });
}

/* A foreign text as a value of the filter language. */
static void
put_value(struct buf *out, const char *field, struct span value)
{
	if (!value.n)
		return;
	buf_printf(out, " %s:\"", field);
	for (size_t i = 0; i < value.n; i++) {
		if (value.p[i] == '"' || value.p[i] == '\\')
			buf_putc(out, '\\');
		buf_putc(out, value.p[i]);
	}
	buf_putc(out, '"');
}

static bool
on_queue_view_flush(struct channel *c, const struct ipc_queue_view_flush *m)
{
	struct tool *t = channel_owner(c);
	char id[QUEUEID_TEXT + 1];
	struct buf text;
	bool ok;

	if (t->task)
		return false;
	if (!may(&t->q->may_flush, t->uid))
		return deny(t, m->id, "not allowed to flush the mail queue (authorized_flush_users)");
	buf_init(&text, B_FILTER);
	put_value(&text, "domain", m->site);
	put_value(&text, "from", m->sender);
	put_value(&text, "to", m->recipient);
	if (m->message)
		buf_printf(&text, " id:%s", queueid_text(m->message, id).p);
	ok = start(t, (struct task_request){ .kind = TASK_ACT, .id = m->id, .verb = VERB_FLUSH, .text = buf_span(&text), .quiet = true });
	buf_free(&text);
	return ok;
}

#define DISPATCH_DEF "ipc/queue_view.def"
#define DISPATCH_SIDE SERVER
#include "ipc/dispatch.h"

static void
on_closed(struct channel *c, const struct fail *why)
{
	(void)why;
	tool_free(channel_owner(c));
}

static void
on_drained(struct channel *c)
{
	tool_go_on(channel_owner(c));
}

static void
on_impatient(struct timer *timer)
{
	tool_free(OWNER_OF(timer, struct tool, patience));
}

void
queued_view_open(struct service *s, struct channel *c, struct span peer, unsigned instance)
{
	struct queued *q = queued_of(s);
	unsigned all = 0, same = 0;
	struct tool *t;

	(void)peer;
	LIST_EACH(&q->views, it) {
		all++;
		same += OWNER_OF(it, struct tool, node)->uid == instance;
	}
	if (all >= VIEWS_MAX || same >= VIEWS_OF_ONE) {
		char who[32];

		(void)snprintf(who, sizeof(who), "uid %u", instance);
		limit_reached(s->loop, LIMIT_queue_views, all >= VIEWS_MAX ? VIEWS_MAX : VIEWS_OF_ONE, span_str(who));
		log_put(LOG_limit, "uid %u: %u queue listings at once", instance, same);
		channel_free(&c);
		return;
	}
	t = tool_new(q, c, instance);
	if (!t)
		return;
	t->view = true;
	limit_count(s->loop, LIMIT_queue_views, all + 1, VIEWS_MAX);
	list_push(&q->views, &t->node);
	timer_init(&t->patience, s->loop, on_impatient);
	(void)timer_set(&t->patience, VIEW_PATIENCE_MS);
}

const struct channel_ops queued_view_ops = { .dispatch = dispatch_queue_view, .on_closed = on_closed, .on_drained = on_drained };
