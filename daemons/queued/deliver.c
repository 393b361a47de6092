/* SPDX-License-Identifier: ISC
 *
 * Jobs to remoted and locald, and what they answer.
 */
#include <stdlib.h>

#include "daemons/queued/queued.h"
#include "mail/orcpt.h"
#include "sys/limits.h"

enum { HINT_WORTH = 4 }; /* so many jobs more an instance may have and still get what it has a connection for */

struct agent {
	struct list node;
	struct queued *q;
	struct channel *c;
	unsigned kind, instance;
	uint32_t capacity, jobs;
	bool followed, crashed; /* its successor came before we saw its end, and said how that was */
};

/* Messages whose agent is gone, until it is known how it ended. */
struct lost {
	struct list node;
	unsigned kind, instance;
	struct queue_doubt *doubts;
	size_t n;
};

static const char *
program_of(unsigned kind)
{
	return kind == AGENT_LOCAL ? "locald" : "remoted";
}

static void
lost_free(struct lost *lost)
{
	list_remove(&lost->node);
	free(lost->doubts);
	free(lost);
}

static void
keep_doubts(struct queued *q, const struct agent *a)
{
	struct lost *lost = calloc(1, sizeof(*lost));

	if (!lost)
		return;
	*lost = (struct lost){ .kind = a->kind, .instance = a->instance };
	list_push(&q->lost, &lost->node);
	lost->n = queue_agent_doubts(q->queue, a, &lost->doubts);
}

static void
settle_lost(struct queued *q, unsigned kind, unsigned instance, bool crashed)
{
	LIST_EACH(&q->lost, it) {
		struct lost *lost = OWNER_OF(it, struct lost, node);

		if (lost->kind != kind || lost->instance != instance)
			continue;
		if (crashed && q->queue)
			queue_agent_crashed(q->queue, lost->doubts, lost->n, program_of(kind));
		lost_free(lost);
	}
}

/* The next of its kind and instance has come: now it is known how the one before ended. */
static void
settle_doubts(struct queued *q, unsigned kind, unsigned instance, bool crashed)
{
	LIST_EACH(&q->agents, it) {
		struct agent *a = OWNER_OF(it, struct agent, node);

		if (a->kind == kind && a->instance == instance) {
			a->followed = true;
			a->crashed = crashed;
		}
	}
	settle_lost(q, kind, instance, crashed);
}

static bool
takes(const struct agent *a)
{
	return a->jobs < a->capacity && !channel_congested(a->c);
}

bool
queued_agent_ready(void *arg, unsigned kind)
{
	struct queued *q = arg;

	LIST_EACH(&q->agents, it) {
		const struct agent *a = OWNER_OF(it, struct agent, node);

		if (!q->stopping && a->kind == kind && takes(a))
			return true;
	}
	return false;
}

/* The least busy one, but rather the one that may have a connection open. */
static struct agent *
choose(struct queued *q, const struct destination *d)
{
	struct agent *best = NULL;
	uint32_t best_load = UINT32_MAX;

	LIST_EACH(&q->agents, it) {
		struct agent *a = OWNER_OF(it, struct agent, node);
		uint32_t load = a->jobs + (d->agent_hint == a->instance + 1 ? 0 : HINT_WORTH);

		if (a->kind == d->agent && takes(a) && load < best_load) {
			best = a;
			best_load = load;
		}
	}
	return best;
}

/* RFC 3461 5.2.1 (d): who stands behind an alias hears of the address it was. */
static struct span
orcpt_of(const struct message *m, const struct unit *u, struct buf *made)
{
	struct span given = unit_orcpt(m, u);

	if (given.n || !u->address || u->sender)
		return given;
	buf_reset(made);
	orcpt_make(made, text_span(m->rcpts[u->recipient].address), (m->flags & MESSAGE_UTF8) != 0);
	return buf_len(made) <= ORCPT_MAX ? buf_span(made) : SPAN_NONE;
}

static bool
send_recipients(struct agent *a, const struct queue_job *job)
{
	const struct message *m = job->m;
	struct buf made;
	bool ok = true;

	buf_init(&made, 4 * B_LONG_ADDRESS);

	for (uint32_t i = 0; ok && i < job->nunits; i++) {
		const struct unit *u = job->units[i];
		const struct recipient *to = &m->rcpts[u->recipient];
		struct ipc_deliver_rcpt r = {
			.id = queue_job_id(job),
			.index = i,
			.address = unit_address(m, u),
			.orcpt = orcpt_of(m, u, &made),
			.original = text_span(to->address),
			.notify = unit_notify(m, u),
			.home = text_span(u->home),
			.uid = u->uid,
			.gid = u->gid,
			.quota = u->quota,
			.messages = u->messages,
			.forward = unit_may_forward(m, u),
		};

		ok = ipc_send_deliver_rcpt(a->c, &r);
	}
	buf_free(&made);
	return ok;
}

static bool
send_content(struct agent *a, struct queue_job *job)
{
	struct ipc_deliver_content small = { .id = queue_job_id(job), .bytes = job->content };
	struct ipc_deliver_content_fd large = { .id = queue_job_id(job), .size = job->m->size };
	int fd = job->fd;

	if (fd < 0)
		return ipc_send_deliver_content(a->c, &small);
	job->fd = -1; /* the channel closes it */
	return ipc_send_deliver_content_fd(a->c, &large, fd);
}

bool
queued_deliver_job(void *arg, struct queue_job *job)
{
	struct agent *a = choose(arg, job->d);
	const struct message *m = job->m;
	bool list = job->nunits > 0 && job->units[0]->sender; /* RFC 3461 5.2.7.1 (b) */
	struct ipc_deliver_job head = {
		.id = queue_job_id(job),
		.message = message_id(m),
		.nexthop = destination_nexthop(job->d),
		.sender = job->sender,
		.size = m->size,
		.body8 = (m->flags & MESSAGE_BODY8) != 0,
		.binary = (m->flags & MESSAGE_BINARY) != 0,
		.requiretls = (m->flags & MESSAGE_REQUIRETLS) != 0,
		.tls_optional = (m->flags & MESSAGE_TLS_OPTIONAL) != 0,
		.smtputf8 = (m->flags & MESSAGE_UTF8) != 0,
		.priority = m->priority,
		.by_ms = m->extra ? m->extra->by_ms : 0,
		.by_mode = list || !m->extra ? 0 : m->extra->by_mode,
		.ret = list ? 0 : m->ret,
		.logins = job->nunits > 0 ? text_span(job->units[0]->logins) : SPAN_NONE,
		.envid = list ? SPAN_NONE : message_envid(m),
		.via = job->nunits > 0 ? message_via(m, job->units[0]->recipient) : SPAN_NONE,
		.last = job->last,
	};

	if (!a)
		return false;
	/* If the channel breaks half-way, its end comes as on_closed and the job is lost there. */
	if (!ipc_send_deliver_job(a->c, &head))
		return false;
	(void)(send_recipients(a, job) && send_content(a, job));
	job->agent = a;
	job->d->agent_hint = a->instance + 1;
	a->jobs++;
	limit_count(a->q->service->loop, LIMIT_queue_jobs, a->jobs, a->capacity);
	return true;
}

static bool
on_deliver_capacity(struct channel *c, const struct ipc_deliver_capacity *m)
{
	struct agent *a = channel_owner(c);

	a->capacity = m->jobs;
	queued_soon(a->q);
	return true;
}

/* routed can turn away at RCPT what would wait here (RFC 3463 X.2.2). */
static void
tell_full(struct queued *q, const struct ipc_deliver_result *m)
{
	const struct unit *u = queue_job_unit(q->queue, m->id, m->index);
	bool lasting = span_eq(m->code, SPAN("5.2.2"));

	if (q->route && u && m->peer.n && (lasting || span_eq(m->code, SPAN("4.2.2"))))
		(void)ipc_send_route_full(q->route, &(struct ipc_route_full){ .home = m->peer, .lasting = lasting, .quota = u->quota, .messages = u->messages });
}

static bool
on_deliver_result(struct channel *c, const struct ipc_deliver_result *m)
{
	struct agent *a = channel_owner(c);
	struct queue_result r = { .outcome = m->outcome, .code = m->code, .peer = m->peer, .reply = m->reply, .tls = m->tls, .maybe_done = m->maybe_done, .tell = m->tell,
		.forwards = m->forwards, .kept = m->kept };

	if (a->kind == AGENT_LOCAL && m->outcome != OUTCOME_DELIVERED)
		tell_full(a->q, m);
	if (m->crashed)
		queue_job_crashed(a->q->queue, m->id, "deliverd");
	return queue_job_result(a->q->queue, m->id, m->index, &r);
}

static bool
on_deliver_done(struct channel *c, const struct ipc_deliver_done *m)
{
	struct agent *a = channel_owner(c);

	if (!queue_job_done(a->q->queue, m->id, m->health, m->text))
		return false;
	if (a->jobs > 0)
		a->jobs--;
	limit_count(a->q->service->loop, LIMIT_queue_jobs, a->jobs, a->capacity);
	queued_soon(a->q);
	return true;
}

#define DISPATCH_DEF "ipc/deliver.def"
#define DISPATCH_SIDE CLIENT
#include "ipc/dispatch.h"

static void
on_closed(struct channel *c, const struct fail *why)
{
	struct agent *a = channel_owner(c);
	struct queued *q = a->q;

	if (why)
		log_put(LOG_channel, "%s: %s", program_of(a->kind), why->text);
	list_remove(&a->node);
	if (q->queue) {
		keep_doubts(q, a);
		queue_agent_lost(q->queue, a);
		if (a->followed)
			settle_lost(q, a->kind, a->instance, a->crashed);
	}
	free(a);
	channel_free(&c);
	if (q->queue)
		queued_soon(q);
}

static void
on_drained(struct channel *c)
{
	struct agent *a = channel_owner(c);

	queued_soon(a->q);
}

void
queued_deliver_open(struct service *s, struct channel *c, struct span peer, unsigned instance)
{
	struct queued *q = queued_of(s);
	struct agent *a = calloc(1, sizeof(*a));

	if (!a) {
		channel_give_up(&c);
		return;
	}
	*a = (struct agent){ .q = q, .c = c, .kind = span_eq(peer, SPAN("locald")) ? AGENT_LOCAL : AGENT_REMOTE, .instance = instance };
	settle_doubts(q, a->kind, instance, s->peer_crashed);
	list_push(&q->agents, &a->node);
	channel_set_owner(c, a);
}

const struct channel_ops queued_deliver_ops = { .dispatch = dispatch_deliver, .on_closed = on_closed, .on_drained = on_drained };
