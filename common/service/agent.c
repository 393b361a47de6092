/* SPDX-License-Identifier: ISC */
#include "service/agent.h"

#include <unistd.h>

/* The job of this conversation, if it is this peer's and the message may come now. */
static struct agent_job *
job_of(struct channel *c, uint64_t id, unsigned type)
{
	struct agent *a = channel_owner(c);
	struct map_node *node = map_get_u64(&a->by_id, id);
	struct agent_job *j = node ? OWNER_OF(node, struct agent_job, by_id) : NULL;

	return j && j->queued == c && channel_step(c, type, &j->conversation) ? j : NULL;
}

/* Another queued may use its id again while it ends. */
static void
abandon(struct agent_job *j)
{
	j->queued = NULL;
	map_remove(&j->agent->by_id, &j->by_id);
	j->agent->ops->on_abort(j);
}

static bool
on_deliver_job(struct channel *c, const struct ipc_deliver_job *m)
{
	struct agent *a = channel_owner(c);
	struct agent_job *j = NULL;

	if (!map_get_u64(&a->by_id, m->id) && a->count < (size_t)a->capacity * 2)
		j = a->ops->on_job(a, m);
	if (!j)
		return false;
	j->agent = a;
	j->queued = c;
	j->conversation = CONV_NONE;
	j->id = m->id;
	list_push(&a->jobs, &j->order);
	a->count++;
	limit_count(a->service->loop, LIMIT_delivery_jobs, a->count, a->capacity);
	if (map_put_u64(&a->by_id, &j->by_id, m->id))
		return channel_step(c, IPC_deliver_job, &j->conversation);
	abandon(j);
	return false;
}

static bool
on_deliver_rcpt(struct channel *c, const struct ipc_deliver_rcpt *m)
{
	struct agent_job *j = job_of(c, m->id, IPC_deliver_rcpt);

	return j && j->agent->ops->on_rcpt(j, m);
}

static bool
on_deliver_content(struct channel *c, const struct ipc_deliver_content *m)
{
	struct agent_job *j = job_of(c, m->id, IPC_deliver_content);
	struct agent_content content = { .bytes = m->bytes, .fd = -1, .size = m->bytes.n };

	return j && j->agent->ops->on_content(j, &content);
}

static bool
on_deliver_content_fd(struct channel *c, const struct ipc_deliver_content_fd *m, int fd)
{
	struct agent_job *j = job_of(c, m->id, IPC_deliver_content_fd);
	struct agent_content content = { .fd = fd, .offset = m->offset, .size = m->size };

	if (j && m->offset <= INT64_MAX / 2 && m->size <= INT64_MAX / 2)
		return j->agent->ops->on_content(j, &content);
	(void)close(fd);
	return false;
}

/* May cross our done: a job that is no more is no violation. */
static bool
on_deliver_cancel(struct channel *c, const struct ipc_deliver_cancel *m)
{
	const struct agent *a = channel_owner(c);
	struct agent_job *j;

	if (!map_get_u64(&a->by_id, m->id))
		return true;
	j = job_of(c, m->id, IPC_deliver_cancel);
	if (j)
		a->ops->on_cancel(j);
	return j != NULL;
}

#define DISPATCH_DEF "ipc/deliver.def"
#define DISPATCH_SIDE SERVER
#include "ipc/dispatch.h"

static void
on_closed(struct channel *c, const struct fail *why)
{
	struct agent *a = channel_owner(c);

	if (!a->service->stopping)
		log_put(LOG_channel, "queued: %s", why->text);
	LIST_EACH(&a->jobs, it) {
		struct agent_job *j = OWNER_OF(it, struct agent_job, order);

		if (j->queued == c)
			abandon(j);
	}
	channel_free(&c);
}

const struct channel_ops agent_channel_ops = { dispatch_deliver, on_closed, NULL };

void
agent_init(struct agent *a, struct service *s, const struct agent_ops *ops, uint32_t capacity)
{
	*a = (struct agent){ .service = s, .ops = ops, .capacity = capacity };
	map_init(&a->by_id);
	list_init(&a->jobs);
}

void
agent_open(struct agent *a, struct channel *c)
{
	channel_set_owner(c, a);
	(void)ipc_send_deliver_capacity(c, &(struct ipc_deliver_capacity){ .jobs = a->capacity });
}

void
agent_forget(struct agent_job *j)
{
	map_remove(&j->agent->by_id, &j->by_id);
	list_remove(&j->order);
	j->agent->count--;
	limit_count(j->agent->service->loop, LIMIT_delivery_jobs, j->agent->count, j->agent->capacity);
}

void
agent_stop(struct agent *a)
{
	LIST_EACH(&a->jobs, it) {
		struct agent_job *j = OWNER_OF(it, struct agent_job, order);

		if (j->conversation == CONV_WAIT)
			a->ops->on_cancel(j);
		else
			abandon(j);
	}
}
