/* SPDX-License-Identifier: ISC */
#include "daemons/locald/locald.h"

#include <stdlib.h>

#include "daemons/locald/job.h"
#include "daemons/locald/owner.h"

static struct locald *
locald_of(struct channel *c)
{
	return channel_owner(c);
}

/* ---- jobs from queued ---- */

static void
on_deliver_open(struct service *s, struct channel *c, struct span peer, unsigned instance)
{
	struct locald *l = s->state;

	(void)peer, (void)instance;
	agent_open(&l->agent, c);
}

/* ---- userd ---- */

static bool
on_owner_child(struct channel *c, const struct ipc_owner_child *m, int fd)
{
	return owner_on_child(locald_of(c), m->id, m->crashed, fd);
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
	if (l->service->stopping && l->agent.count == 0)
		service_exit(l->service);
}

static void
on_patience(struct timer *t)
{
	struct locald *l = OWNER_OF(t, struct locald, patience);
	int64_t before = loop_now_ms(l->service->loop) - LOCALD_WAIT_MS;

	LIST_EACH(&l->agent.jobs, it) {
		struct job *j = OWNER_OF(it, struct job, base.order);

		if (j->since_ms && j->since_ms < before)
			job_impatient(j);
	}
	if (l->agent.count)
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
	agent_init(&l->agent, s, &job_ops, LOCALD_JOBS);
	l->most_open = LOCALD_OWNERS;
	l->rest_ms = LOCALD_REST_MS;
	list_init(&l->idle);
	list_init(&l->queue);
	timer_init(&l->rest, s->loop, owner_on_rest);
	timer_init(&l->patience, s->loop, on_patience);
	s->state = l;
	return true;
}

/* What has been sent to a deliverd gets its answer; the rest goes back to the queue. */
static void
on_stop(struct service *s)
{
	struct locald *l = s->state;

	owner_forget_questions(l);
	agent_stop(&l->agent);
	locald_check_stop(l);
}

static void
on_state(struct service *s, struct buf *out)
{
	const struct locald *l = s->state;

	buf_printf(out, "jobs=%zu owners=%zu delivered=%llu deferred=%llu failed=%llu", l->agent.count, l->owners.count,
	    (unsigned long long)l->delivered, (unsigned long long)l->deferred, (unsigned long long)l->failed);
}

static const struct service_channel channels[] = {
	{ &ipc_channel_deliver, CHANNEL_SERVER, &agent_channel_ops, on_deliver_open },
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
