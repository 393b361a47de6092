/* SPDX-License-Identifier: ISC */
#include "daemons/locald/locald.h"

#include <stdlib.h>
#include <unistd.h>

#include "daemons/locald/owner.h"

static struct locald *
locald_of(struct channel *c)
{
	return channel_owner(c);
}

/* ---- jobs from queued ---- */

static struct job *
job_of(struct channel *c, uint64_t id, unsigned type)
{
	struct map_node *node = map_get_u64(&locald_of(c)->jobs, id);
	struct job *j = node ? OWNER_OF(node, struct job, by_id) : NULL;

	return j && j->queued == c && channel_step(c, type, &j->conversation) ? j : NULL;
}

static bool
on_deliver_job(struct channel *c, const struct ipc_deliver_job *m)
{
	struct locald *l = locald_of(c);
	struct job *j;

	if (map_get_u64(&l->jobs, m->id) || l->jobs.count >= (size_t)LOCALD_JOBS * 2)
		return false;
	j = job_new(l, c, m);
	return j && channel_step(c, IPC_deliver_job, &j->conversation);
}

static bool
on_deliver_rcpt(struct channel *c, const struct ipc_deliver_rcpt *m)
{
	struct job *j = job_of(c, m->id, IPC_deliver_rcpt);

	return j && job_rcpt(j, m);
}

static bool
on_deliver_content(struct channel *c, const struct ipc_deliver_content *m)
{
	struct job *j = job_of(c, m->id, IPC_deliver_content);

	if (!j || !job_content(j, m->bytes))
		return false;
	job_start(j);
	return true;
}

static bool
on_deliver_content_fd(struct channel *c, const struct ipc_deliver_content_fd *m, int fd)
{
	struct job *j = job_of(c, m->id, IPC_deliver_content_fd);

	if (!j || m->offset > INT64_MAX / 2 || m->size > INT64_MAX / 2) {
		(void)close(fd);
		return false;
	}
	job_content_fd(j, fd, m->offset, m->size);
	job_start(j);
	return true;
}

/* May cross our done: a job that is no more is no violation. */
static bool
on_deliver_cancel(struct channel *c, const struct ipc_deliver_cancel *m)
{
	struct job *j;

	if (!map_get_u64(&locald_of(c)->jobs, m->id))
		return true;
	j = job_of(c, m->id, IPC_deliver_cancel);
	if (j)
		job_cancel(j);
	return j != NULL;
}

#define DISPATCH_DEF "ipc/deliver.def"
#define DISPATCH_SIDE SERVER
#include "ipc/dispatch.h"

static void
on_deliver_closed(struct channel *c, const struct fail *why)
{
	struct locald *l = locald_of(c);

	if (!l->service->stopping)
		log_put(LOG_channel, "queued: %s", why->text);
	LIST_EACH(&l->order, it) {
		struct job *j = OWNER_OF(it, struct job, order);

		if (j->queued == c)
			job_abort(j);
	}
	channel_free(&c);
}

static const struct channel_ops deliver_ops = { dispatch_deliver, on_deliver_closed, NULL };

static void
on_deliver_open(struct service *s, struct channel *c, struct span peer, unsigned instance)
{
	(void)peer, (void)instance;
	channel_set_owner(c, s->state);
	(void)ipc_send_deliver_capacity(c, &(struct ipc_deliver_capacity){ .jobs = LOCALD_JOBS });
}

/* ---- userd ---- */

static bool
on_owner_child(struct channel *c, const struct ipc_owner_child *m, int fd)
{
	return owner_on_child(locald_of(c), m->id, fd);
}

static bool
on_owner_refused(struct channel *c, const struct ipc_owner_refused *m)
{
	return owner_on_refused(locald_of(c), m->id, m->why);
}

#define DISPATCH_DEF "ipc/owner.def"
#define DISPATCH_SIDE CLIENT
#include "ipc/dispatch.h"

static void
on_owner_closed(struct channel *c, const struct fail *why)
{
	struct locald *l = locald_of(c);

	if (!l->service->stopping)
		log_put(LOG_channel, "userd: %s", why->text);
	if (l->userd == c) {
		l->userd = NULL;
		owner_forget_questions(l);
	}
	channel_free(&c);
}

static const struct channel_ops owner_ops = { dispatch_owner, on_owner_closed, NULL };

static void
on_owner_open(struct service *s, struct channel *c, struct span peer, unsigned instance)
{
	struct locald *l = s->state;

	(void)peer, (void)instance;
	channel_set_owner(c, l);
	if (l->userd) {
		owner_forget_questions(l);
		channel_free(&l->userd);
	}
	l->userd = c;
	owner_ask_all(l);
}

/* ---- life ---- */

void
locald_check_stop(struct locald *l)
{
	if (l->service->stopping && l->jobs.count == 0)
		service_exit(l->service);
}

static void
on_patience(struct timer *t)
{
	struct locald *l = OWNER_OF(t, struct locald, patience);
	int64_t before = loop_now_ms(l->service->loop) - LOCALD_WAIT_MS;

	LIST_EACH(&l->order, it) {
		struct job *j = OWNER_OF(it, struct job, order);

		if (j->since_ms && j->since_ms < before)
			job_impatient(j);
	}
	if (l->jobs.count)
		(void)timer_set(t, LOCALD_PATIENCE_MS);
}

static bool
on_boot(struct service *s, struct fail *why)
{
	struct locald *l = calloc(1, sizeof(*l));

	if (!l)
		return fail_set(why, FAIL_TEMP, 0, "no memory");
	l->service = s;
	map_init(&l->owners);
	map_init(&l->jobs);
	list_init(&l->order);
	timer_init(&l->patience, s->loop, on_patience);
	s->state = l;
	return true;
}

/* What has been sent to a deliverd gets its answer; the rest goes back to the queue. */
static void
on_stop(struct service *s)
{
	struct locald *l = s->state;

	LIST_EACH(&l->order, it) {
		struct job *j = OWNER_OF(it, struct job, order);

		if (j->conversation == CONV_WAIT)
			job_cancel(j);
		else
			job_abort(j);
	}
	locald_check_stop(l);
}

static void
on_state(struct service *s, struct buf *out)
{
	const struct locald *l = s->state;

	buf_printf(out, "jobs=%zu owners=%zu delivered=%llu deferred=%llu failed=%llu", l->jobs.count, l->owners.count,
	    (unsigned long long)l->delivered, (unsigned long long)l->deferred, (unsigned long long)l->failed);
}

static const struct service_channel channels[] = {
	{ &ipc_channel_deliver, CHANNEL_SERVER, &deliver_ops, on_deliver_open },
	{ &ipc_channel_owner, CHANNEL_CLIENT, &owner_ops, on_owner_open },
};

const struct service_ops locald_ops = {
	.name = "locald",
	.see = CONF_LOCALD,
	.channels = channels,
	.nchannels = sizeof(channels) / sizeof(*channels),
	.on_boot = on_boot,
	.on_stop = on_stop,
	.on_state = on_state,
};
