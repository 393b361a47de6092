/* SPDX-License-Identifier: ISC */
#include "daemons/remoted/remoted.h"

#include <stdlib.h>
#include <sys/resource.h>

#include "daemons/remoted/callout.h"
#include "daemons/remoted/delivery.h"
#include "daemons/remoted/explain.h"

/* --- channels -------------------------------------------------------------------- */

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
	struct remoted *r = s->state;

	(void)peer, (void)instance;
	agent_open(&r->agent, c);
}

static void
on_dns_open(struct service *s, struct channel *c, struct span peer, unsigned instance)
{
	struct remoted *r = s->state;

	(void)peer, (void)instance;
	inquirer_open(&r->dns, c);
}

static void
on_tlspolicy_open(struct service *s, struct channel *c, struct span peer, unsigned instance)
{
	struct remoted *r = s->state;

	(void)instance;
	inquirer_open(span_eq(peer, SPAN("stsd")) ? &r->sts : &r->tables, c);
}

static void
on_sign_open(struct service *s, struct channel *c, struct span peer, unsigned instance)
{
	struct remoted *r = s->state;

	(void)peer, (void)instance;
	signer_attach_sign(r->signer, c);
}

static void
on_certs_open(struct service *s, struct channel *c, struct span peer, unsigned instance)
{
	struct remoted *r = s->state;

	(void)peer, (void)instance;
	signer_attach_certs(r->signer, c);
}

/* --- life ------------------------------------------------------------------------ */

void
remoted_check_stop(struct remoted *r)
{
	if (r->service->stopping && r->agent.count == 0 && r->ncallouts == 0 && r->nsessions == 0)
		service_exit(r->service);
}

static bool
on_boot(struct service *s, struct fail *why)
{
	struct remoted *r = calloc(1, sizeof(*r));

	if (!r || !(r->signer = signer_new_client()) || !(r->policy = policy_new(s->conf, NULL))) {
		free(r);
		return fail_set(why, FAIL_TEMP, 0, "no memory");
	}
	r->service = s;
	r->loop = s->loop;
	r->conf = s->conf;
	inquirer_init(&r->dns, &lookup_ops);
	inquirer_init(&r->tables, &tlsask_routed);
	inquirer_init(&r->sts, &tlsask_stsd);
	pool_init(&r->pool);
	list_init(&r->sessions);
	list_init(&r->callouts);
	agent_init(&r->agent, s, &delivery_ops, capacity());
	s->state = r;
	return true;
}

static void
on_sandbox(struct service *s, struct sandbox *walls)
{
	walls->tcp_bind = policy_binds(s->conf);
}

static void
on_reload(struct service *s, const struct conf *old)
{
	struct remoted *r = s->state;
	struct policy *fresh = policy_new(s->conf, r->policy);

	(void)old;
	r->conf = s->conf;
	signer_reload(r->signer);
	if (!fresh) {
		log_put(LOG_failure, "no memory for the new configuration's sessions");
		return;
	}
	policy_unref(&r->policy);
	r->policy = fresh;
}

/* What is past the final dot gets its reply; the rest comes back to the queue. */
static void
on_stop(struct service *s)
{
	struct remoted *r = s->state;

	pool_close(&r->pool);
	agent_stop(&r->agent);
	callout_stop(r);
	remoted_check_stop(r);
}

static void
on_state(struct service *s, struct buf *out)
{
	const struct remoted *r = s->state;

	buf_printf(out, "jobs=%zu callouts=%zu sessions=%zu idle=%zu connections=%llu delivered=%llu deferred=%llu failed=%llu", r->agent.count, r->ncallouts, r->nsessions,
	    r->pool.nidle, (unsigned long long)r->connections, (unsigned long long)r->delivered, (unsigned long long)r->deferred,
	    (unsigned long long)r->failed);
}

static const struct service_channel channels[] = {
	{ &ipc_channel_deliver, CHANNEL_SERVER, &agent_channel_ops, on_deliver_open },
	{ &ipc_channel_dns, CHANNEL_CLIENT, &lookup_channel_ops, on_dns_open },
	{ &ipc_channel_remote_admin, CHANNEL_SERVER, &explain_ops, explain_open },
	{ &ipc_channel_tlspolicy, CHANNEL_CLIENT, &tlsask_channel_ops, on_tlspolicy_open },
	{ &ipc_channel_callout, CHANNEL_SERVER, &callout_ops, callout_open },
	{ &ipc_channel_sign, CHANNEL_CLIENT, &signer_channel_ops, on_sign_open },
	{ &ipc_channel_certs, CHANNEL_CLIENT, NULL, on_certs_open },
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
