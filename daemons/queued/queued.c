/* SPDX-License-Identifier: ISC */
#include "daemons/queued/tool.h"
#include "queue/history.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

enum {
	JOURNAL_THREADS = 2,
	FILE_THREADS = 6,
	SEGMENT_MAX = 128 * 1024 * 1024,
	PENDING_MAX = 64 * 1024 * 1024,
	PATIENCE_MS = 2,
	DEAD_MS = 1000,
	STOP_POLL_MS = 20,
	STOP_JOBS_MS = 5000, /* how long deliveries under way are waited for */
};

void
queued_soon(struct queued *q)
{
	turn_later(&q->run, q->service->loop);
}

static void
on_run(struct turn *t)
{
	struct queued *q = OWNER_OF(t, struct queued, run);

	queue_run(q->queue);
}

static void
on_wake(struct timer *t)
{
	struct queued *q = OWNER_OF(t, struct queued, wake);

	q->wake_at = 0;
	queue_run(q->queue);
}

static int64_t
port_now(void *arg)
{
	return loop_wall_ms(((struct queued *)arg)->service->loop);
}

static void
port_wake(void *arg, int64_t at_ms)
{
	struct queued *q = arg;
	int64_t now = loop_wall_ms(q->service->loop);

	if (at_ms <= now) {
		queued_soon(q);
	} else if (!q->wake_at || at_ms < q->wake_at || !timer_running(&q->wake)) {
		/* A wall clock that jumps must not put a timer off for long: look again each minute. */
		q->wake_at = at_ms;
		(void)timer_set(&q->wake, at_ms - now > 60000 ? 60000 : at_ms - now);
	}
}

static uint32_t
port_random(void *arg)
{
	struct queued *q = arg;

	/* Jitter, not a secret. */
	q->random ^= q->random << 13;
	q->random ^= q->random >> 17;
	q->random ^= q->random << 5;
	return q->random;
}

static void
on_dead(struct timer *t)
{
	service_exit(OWNER_OF(t, struct queued, stop)->service);
}

/* After a failed sync nothing in memory can be trusted to be on disk: the next
 * process begins with what is really there.  The refusals go out first. */
static void
on_journal_event(void *arg, const struct fail *what)
{
	struct queued *q = arg;

	log_put(LOG_journal, "%s", what->text);
	if (!q->journal || journal_alive(q->journal) || q->stopping)
		return;
	log_put(LOG_failure, "the journal cannot be written; starting again in a second");
	q->stopping = true;
	timer_init(&q->stop, q->service->loop, on_dead);
	(void)timer_set(&q->stop, DEAD_MS);
}

static void
on_sparse(void *arg, uint64_t segment)
{
	struct queued *q = arg;

	if (q->queue)
		queue_compact(q->queue, segment);
}

static struct queue_params
params_of(const struct queued *q)
{
	const struct conf *c = q->service->conf;

	return (struct queue_params){
		.maximal_queue_lifetime = c->maximal_queue_lifetime,
		.bounce_queue_lifetime = c->bounce_queue_lifetime,
		.minimal_backoff_time = c->minimal_backoff_time,
		.maximal_backoff_time = c->maximal_backoff_time,
		.queue_run_delay = c->queue_run_delay,
		.delay_warning_time = c->delay_warning_time,
		.rate_delay = c->default_destination_rate_delay,
		.concurrency_limit = (uint32_t)c->default_destination_concurrency_limit,
		.initial_concurrency = (uint32_t)c->initial_destination_concurrency,
		.local_concurrency_limit = (uint32_t)c->local_destination_concurrency_limit,
		.recipient_limit = (uint32_t)c->default_destination_recipient_limit,
		.bounce_size_limit = (size_t)c->bounce_size_limit,
		.inline_max = q->inline_max,
		.content_cache = (size_t)c->content_cache_size,
		.myhostname = c->myhostname,
	};
}

static bool
on_boot(struct service *s, struct fail *why)
{
	struct queued *q = calloc(1, sizeof(*q));

	if (!q)
		return fail_set(why, FAIL_TEMP, 0, "no memory");
	q->service = s;
	s->state = q;
	list_init(&q->intakes);
	list_init(&q->etrns);
	list_init(&q->agents);
	list_init(&q->lost);
	list_init(&q->views);
	queued_view_users(q);
	if (getrandom(&q->random, sizeof(q->random), 0) != (ssize_t)sizeof(q->random) || !q->random)
		q->random = 1;
	turn_init(&q->run, on_run);
	timer_init(&q->wake, s->loop, on_wake);
	return true;
}

static bool
open_journal(struct queued *q, struct fail *why)
{
	const struct conf *c = q->service->conf;
	struct journal_options o = {
		.vfs = q->vfs,
		.dir = "journal",
		.kind = "queu",
		.segment_size = c->queue_segment_size > SEGMENT_MAX ? SEGMENT_MAX : (size_t)c->queue_segment_size,
		.spares = 2,
		.reserve = c->queue_minfree,
		.max_pending = PENDING_MAX,
		.loop = q->service->loop,
		.pool = q->pool,
		.on_event = on_journal_event,
		.on_sparse = on_sparse,
		.patience_ms = PATIENCE_MS,
		.arg = q,
	};

	q->journal = journal_open(&o, why);
	return q->journal != NULL;
}

static void
port_limits(void *arg, struct span nexthop, struct destination_limits *limits)
{
	const struct conf_route *r = conf_route_for_hop(((struct queued *)arg)->service->conf, nexthop);

	if (r)
		*limits = (struct destination_limits){ (uint32_t)r->concurrency, (uint32_t)r->recipients, r->rate_delay,
			r->minimal_backoff_time, r->maximal_backoff_time };
}

static bool
start_queue(struct queued *q, struct fail *why)
{
	const struct queue_ports ports = { .arg = q, .now_ms = port_now, .route = queued_ask, .agent_ready = queued_agent_ready,
		.deliver = queued_deliver_job, .wake = port_wake, .random = port_random, .limits = port_limits, .outcome = queued_outcome,
		.remove_blob = queued_remove_blob };
	struct queue_params p = params_of(q);
	struct queue_stats stats;
	unsigned damaged;

	q->queue = queue_new(q->journal, q->vfs, &p, &ports);
	if (!q->queue)
		return fail_set(why, FAIL_TEMP, 0, "no memory for the queue");
	if (!queue_recover(q->queue, &damaged, why))
		return false;
	stats = queue_stats(q->queue);
	if (stats.messages || damaged)
		log_put(LOG_journal, "replayed: messages=%zu recipients=%zu damaged=%u", stats.messages, stats.recipients, damaged);
	return true;
}

static bool
on_start(struct service *s, struct fail *why)
{
	struct queued *q = queued_of(s);
	const struct conf *c = s->conf;

	if (q->queue) { /* after a reload */
		queued_soon(q);
		return true;
	}
	q->inline_max = c->queue_blob_threshold < IPC_DATA_MAX ? (size_t)c->queue_blob_threshold : IPC_DATA_MAX;
	q->vfs = vfs_posix_new(c->queue_directory.p, why);
	if (!q->vfs || !vfs_posix_lock(q->vfs, why))
		return false;
	if (q->vfs->ops->mkdir(q->vfs, "blob") < 0)
		return fail_errno(why, 0, "cannot make %s/blob", c->queue_directory.p);
	q->pool = worker_pool_new(s->loop, JOURNAL_THREADS);
	q->files = worker_pool_new(s->loop, FILE_THREADS);
	if (!q->pool || !q->files)
		return fail_set(why, FAIL_TEMP, 0, "no threads to be had");
	queued_open_files(q);
	queued_open_history(q);
	q->rules = rules_open(q->vfs, q->files);
	if (!q->rules)
		return fail_set(why, FAIL_TEMP, 0, "no memory for the hold rules");
	if (!open_journal(q, why) || !start_queue(q, why))
		return false;
	queued_soon(q);
	return true;
}

static void
on_reload(struct service *s, const struct conf *old)
{
	struct queued *q = queued_of(s);
	struct queue_params p = params_of(q);

	(void)old;
	q->space_at = 0;
	if (q->journal)
		journal_set_reserve(q->journal, q->service->conf->queue_minfree);
	if (q->queue)
		queue_set_params(q->queue, &p);
	queued_set_history(q);
}

/* Nothing is promised to anybody any more: put everything away. */
static void
finish(struct queued *q)
{
	timer_stop(&q->stop);
	timer_stop(&q->wake);
	queued_etrn_closed(q, NULL);
	turn_cancel(&q->run);
	worker_pool_free(&q->pool);
	journal_unthread(q->journal);
	worker_pool_free(&q->files);
	spares_drop(&q->spares);
	(void)journal_sync(q->journal, NULL);
	timer_stop(&q->flush);
	history_close(&q->history);
	turn_cancel(&q->run);
	service_exit(q->service);
}

static void
on_stop_poll(struct timer *t)
{
	struct queued *q = OWNER_OF(t, struct queued, stop);
	bool jobs = queue_stats(q->queue).jobs > 0 && loop_now_ms(q->service->loop) < q->stop_at;

	if (jobs || (journal_alive(q->journal) && queued_unfinished(q) > 0))
		(void)timer_set(&q->stop, STOP_POLL_MS);
	else
		finish(q);
}

static void
on_stop(struct service *s)
{
	struct queued *q = queued_of(s);

	if (!q->queue || !journal_alive(q->journal)) {
		service_exit(s);
		return;
	}
	q->stopping = true;
	q->stop_at = loop_now_ms(s->loop) + STOP_JOBS_MS;
	queued_refuse_all(q);
	timer_init(&q->stop, s->loop, on_stop_poll);
	(void)timer_set(&q->stop, 0);
}

static void
on_state(struct service *s, struct buf *out)
{
	struct queued *q = queued_of(s);
	struct queue_stats st;
	struct journal_stats j;

	if (!q->queue)
		return;
	st = queue_stats(q->queue);
	j = journal_stats(q->journal);
	buf_printf(out, "messages=%zu recipients=%zu destinations=%zu jobs=%zu accepted=%" PRIu64 " delivered=%" PRIu64
	    " deferred=%" PRIu64 " failed=%" PRIu64 " reports=%" PRIu64 " maybe_twice=%" PRIu64 " records=%" PRIu64 " syncs=%" PRIu64
	    " segments=%u+%u%s", st.messages, st.recipients, st.destinations, st.jobs, st.accepted, st.delivered, st.deferred,
	    st.failed, st.reports, st.duplicates, j.records, j.syncs, j.segments, j.free_segments,
	    journal_alive(q->journal) ? "" : " journal=dead");
}

static const struct service_channel channels[] = {
	{ &ipc_channel_intake, CHANNEL_SERVER, &queued_intake_ops, queued_intake_open },
	{ &ipc_channel_route, CHANNEL_CLIENT, &queued_route_ops, queued_route_open },
	{ &ipc_channel_deliver, CHANNEL_CLIENT, &queued_deliver_ops, queued_deliver_open },
	{ &ipc_channel_queue_admin, CHANNEL_SERVER, &queued_admin_ops, queued_admin_open },
	{ &ipc_channel_queue_view, CHANNEL_SERVER, &queued_view_ops, queued_view_open },
};

const struct service_ops queued_ops = {
	.name = "queued",
	.see = CONF_QUEUED,
	.channels = channels,
	.nchannels = sizeof(channels) / sizeof(*channels),
	.on_boot = on_boot,
	.on_start = on_start,
	.on_reload = on_reload,
	.on_stop = on_stop,
	.on_state = on_state,
};
