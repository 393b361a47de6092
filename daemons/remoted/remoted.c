/* SPDX-License-Identifier: ISC */
#include "daemons/remoted/remoted.h"

#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "daemons/remoted/job.h"

/* --- the deliver channel --------------------------------------------------- */

static struct remoted *
remoted_of(struct channel *c)
{
	return channel_owner(c);
}

/* The job of this conversation, if it is this peer's and the message may come now. */
static struct job *
job_of(struct channel *c, uint64_t id, unsigned type)
{
	struct map_node *node = map_get_u64(&remoted_of(c)->by_id, id);
	struct job *j = node ? OWNER_OF(node, struct job, by_id) : NULL;

	return j && j->queued == c && channel_step(c, type, &j->conversation) ? j : NULL;
}

static bool
on_deliver_job(struct channel *c, const struct ipc_deliver_job *m)
{
	struct remoted *r = remoted_of(c);
	struct job *j;

	if (map_get_u64(&r->by_id, m->id) || r->njobs >= (size_t)REMOTED_JOBS * 2)
		return false;
	j = job_new(r, c, m);
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
	struct remote_content content = { .fd = -1, .size = m->bytes.n };

	if (!j)
		return false;
	content.bytes = malloc(m->bytes.n ? m->bytes.n : 1);
	if (!content.bytes)
		return false;
	memcpy(content.bytes, m->bytes.p, m->bytes.n);
	job_start(j, content);
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
	job_start(j, (struct remote_content){ .fd = fd, .offset = m->offset, .size = m->size });
	return true;
}

/* May cross our done: a job that is no more is no violation. */
static bool
on_deliver_cancel(struct channel *c, const struct ipc_deliver_cancel *m)
{
	struct job *j;

	if (!map_get_u64(&remoted_of(c)->by_id, m->id))
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
abort_jobs(struct remoted *r, const struct channel *of)
{
	LIST_EACH(&r->jobs, node) {
		struct job *j = OWNER_OF(node, struct job, node);

		if (j->queued == of)
			job_abort(j);
	}
}

static void
on_deliver_closed(struct channel *c, const struct fail *why)
{
	log_put(LOG_channel, "queued: %s", why->text);
	abort_jobs(remoted_of(c), c);
	channel_free(&c);
}

static const struct channel_ops deliver_ops = { dispatch_deliver, on_deliver_closed, NULL };

/* Each job may hold a connection and its content's descriptor. */
static uint32_t
capacity(void)
{
	struct rlimit limit;
	rlim_t n = REMOTED_JOBS;

	if (getrlimit(RLIMIT_NOFILE, &limit) == 0 && limit.rlim_cur != RLIM_INFINITY && limit.rlim_cur / 3 < n)
		n = limit.rlim_cur / 3;
	return n > 0 ? (uint32_t)n : 1;
}

static void
on_deliver_open(struct service *s, struct channel *c, struct span peer, unsigned instance)
{
	(void)peer, (void)instance;
	channel_set_owner(c, s->state);
	(void)ipc_send_deliver_capacity(c, &(struct ipc_deliver_capacity){ .jobs = capacity() });
}

static void
on_dns_open(struct service *s, struct channel *c, struct span peer, unsigned instance)
{
	struct remoted *r = s->state;

	(void)peer, (void)instance;
	lookup_client_open(&r->dns, c);
}

/* --- life ------------------------------------------------------------------------ */

void
remoted_check_stop(struct remoted *r)
{
	if (r->service->stopping && r->njobs == 0 && r->nsessions == 0)
		service_exit(r->service);
}

static void
say_what_is_missing(const struct conf *conf)
{
	bool dane = conf->smtp_tls_security_level == CONF_TLS_DANE;

	for (size_t i = 0; i < conf->nroutes; i++)
		dane = dane || conf->routes[i].tls == CONF_TLS_DANE;
	if (dane)
		log_put(LOG_degraded, "TLS level dane: this version does not look at TLSA records and treats it as may");
}

static bool
on_boot(struct service *s, struct fail *why)
{
	struct remoted *r = calloc(1, sizeof(*r));

	if (!r || !(r->policy = policy_new(s->conf, NULL))) {
		free(r);
		return fail_set(why, FAIL_TEMP, 0, "no memory");
	}
	r->service = s;
	r->loop = s->loop;
	r->conf = s->conf;
	lookup_client_init(&r->dns);
	pool_init(&r->pool);
	list_init(&r->sessions);
	list_init(&r->jobs);
	map_init(&r->by_id);
	say_what_is_missing(s->conf);
	s->state = r;
	return true;
}

static void
on_sandbox(struct service *s, struct sandbox *walls)
{
	walls->tcp_connect = true;
	if (s->conf->smtp_bind_address.n || s->conf->smtp_bind_address6.n)
		walls->tcp_bind = true;
	if (s->conf->smtp_tls_CAfile.n) /* read again at reload */
		walls->read[0] = s->conf->smtp_tls_CAfile.p;
}

static void
on_reload(struct service *s, const struct conf *old)
{
	struct remoted *r = s->state;
	struct policy *fresh = policy_new(s->conf, r->policy);

	(void)old;
	r->conf = s->conf;
	if (!fresh) {
		log_put(LOG_failure, "no memory for the new configuration's sessions");
		return;
	}
	policy_unref(&r->policy);
	r->policy = fresh;
	say_what_is_missing(s->conf);
}

/* What is past the final dot gets its reply; the rest comes back to the queue. */
static void
on_stop(struct service *s)
{
	struct remoted *r = s->state;

	pool_close(&r->pool);
	LIST_EACH(&r->jobs, node) {
		struct job *j = OWNER_OF(node, struct job, node);

		if (j->conversation == CONV_WAIT)
			job_cancel(j);
		else
			job_abort(j);
	}
	remoted_check_stop(r);
}

static void
on_state(struct service *s, struct buf *out)
{
	const struct remoted *r = s->state;

	buf_printf(out, "jobs=%zu sessions=%zu idle=%zu connections=%llu delivered=%llu deferred=%llu failed=%llu", r->njobs, r->nsessions,
	    r->pool.nidle, (unsigned long long)r->connections, (unsigned long long)r->delivered, (unsigned long long)r->deferred,
	    (unsigned long long)r->failed);
}

static const struct service_channel channels[] = {
	{ &ipc_channel_deliver, CHANNEL_SERVER, &deliver_ops, on_deliver_open },
	{ &ipc_channel_dns, CHANNEL_CLIENT, &lookup_channel_ops, on_dns_open },
};

const struct service_ops remoted_ops = {
	.name = "remoted",
	.see = CONF_REMOTED,
	.channels = channels,
	.nchannels = sizeof(channels) / sizeof(*channels),
	.on_boot = on_boot,
	.on_sandbox = on_sandbox,
	.on_reload = on_reload,
	.on_stop = on_stop,
	.on_state = on_state,
};
