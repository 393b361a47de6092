/* SPDX-License-Identifier: ISC */
#include "daemons/remoted/explain.h"

#include <stdlib.h>
#include <string.h>

#include "daemons/remoted/remoted.h"
#include "daemons/remoted/tlslookup.h"

enum { ARENA = 1024 * 1024, LOOKUPS = 1 + DESTINATION_HOSTS_MAX };

struct explain_lookup {
	struct lookup lookup;
	struct explain *explain;
	unsigned slot;
};

/* One tool; one request at a time. */
struct explain {
	struct remoted *remoted;
	struct channel *channel;
	struct policy *policy; /* a reference; NULL: nothing is asked */
	uint64_t id;
	struct arena arena;
	struct hop hop;
	struct destination destination;
	struct tlslookup plans;
	struct explain_lookup lookups[LOOKUPS];
	struct timer timer;
	size_t target;
	bool usable;
};

static void
line(struct explain *e, struct span text)
{
	(void)ipc_send_remote_admin_line(e->channel, &(struct ipc_remote_admin_line){ .id = e->id, .text = span_sub(text, 0, B_REPLY) });
}

static void
reset(struct explain *e)
{
	timer_stop(&e->timer);
	for (size_t i = 0; i < LOOKUPS; i++)
		lookup_cancel(&e->lookups[i].lookup);
	tlslookup_stop(&e->plans);
	e->plans.remoted = NULL;
	arena_free(&e->arena);
	if (e->policy)
		policy_unref(&e->policy);
}

static void
done(struct explain *e, struct span why)
{
	(void)ipc_send_remote_admin_done(e->channel, &(struct ipc_remote_admin_done){ .id = e->id, .ok = !why.n, .text = span_sub(why, 0, B_REPLY) });
	reset(e);
}

/* --- hosts ----------------------------------------------------------------------- */

static void
tell_plan(struct explain *e, const struct destination_target *t, const struct tlsplan *plan)
{
	char address[NETADDR_TEXT];
	struct buf b;

	buf_init(&b, B_REPLY);
	buf_printf(&b, "%.*s[%.*s]:%u", SPAN_ARG(t->host), SPAN_ARG(netaddr_text(&t->address, address)), netaddr_port(&t->address));
	buf_printf(&b, "%s, TLS %s", t->secure ? " (by DNSSEC)" : "", plan->skip ? "cannot be as it must: not used" : tlsplan_level_text(plan->level));
	if (plan->only13)
		buf_puts(&b, ", TLSv1.3");
	if (plan->level >= TLS_LEVEL_VERIFY && !plan->skip)
		for (size_t i = 0; i < plan->nnames; i++)
			buf_printf(&b, "%s%.*s", i ? " or " : " for ", SPAN_ARG(plan->names[i]));
	if (plan->why[0])
		buf_printf(&b, ": %s", plan->why);
	line(e, buf_span(&b));
	buf_free(&b);
	e->usable = e->usable || !plan->skip;
}

static void
tell_policy(struct explain *e)
{
	struct buf b;

	buf_init(&b, B_REPLY);
	if (e->plans.refusal[0])
		buf_printf(&b, "TLS policy: %s", e->plans.refusal);
	else
		buf_printf(&b, "TLS level %.*s by %s", SPAN_ARG(conf_word_text(e->plans.policy.level)), e->plans.origin);
	line(e, buf_span(&b));
	buf_free(&b);
}

static void
tell_hosts(struct explain *e)
{
	const struct destination *d = &e->destination;

	for (; e->target < d->ntargets; e->target++) {
		const struct tlsplan *plan = tlslookup_plan(&e->plans, &d->targets[e->target]);

		if (!plan)
			return;
		if (e->target == 0)
			tell_policy(e);
		tell_plan(e, &d->targets[e->target], plan);
	}
	done(e, e->usable ? SPAN_NONE : SPAN("no host may be used: mail would wait"));
}

static void
on_plan(struct tlslookup *t)
{
	struct explain *e = OWNER_OF(t, struct explain, plans);

	if (e->destination.state == DESTINATION_READY)
		tell_hosts(e);
}

/* --- the destination --------------------------------------------------------------- */

static void
go_on(struct explain *e)
{
	struct destination *d = &e->destination;
	enum destination_type type;
	struct span name;
	unsigned slot;

	while (destination_question(d, &slot, &type, &name)) {
		struct explain_lookup *l = &e->lookups[slot];

		l->slot = slot;
		if (!lookup_start(&e->remoted->dns, &l->lookup, (uint8_t)type, name))
			destination_answer(d, slot, DESTINATION_NO_NAME, false, SPAN_NONE);
	}
	if (d->state == DESTINATION_FAILED)
		done(e, fail_text(&d->why));
	else if (d->state == DESTINATION_READY)
		tell_hosts(e);
}

static void
on_record(struct lookup *l, const struct ipc_dns_record *m)
{
	struct explain_lookup *el = OWNER_OF(l, struct explain_lookup, lookup);

	if (m->type == DESTINATION_MX)
		destination_mx(&el->explain->destination, el->slot, m->preference, m->name);
	else
		destination_address(&el->explain->destination, el->slot, m->data);
}

static void
on_done(struct lookup *l, const struct ipc_dns_done *m)
{
	struct explain_lookup *el = OWNER_OF(l, struct explain_lookup, lookup);

	destination_canonical(&el->explain->destination, el->slot, m->canonical);
	destination_answer(&el->explain->destination, el->slot, (enum destination_result)m->result, m->secure, m->why);
	go_on(el->explain);
}

static void
on_again(struct lookup *l)
{
	done(OWNER_OF(l, struct explain_lookup, lookup)->explain, SPAN("the resolver was restarted: ask again"));
}

static void
on_timer(struct timer *t)
{
	done(OWNER_OF(t, struct explain, timer), SPAN("no answer in time"));
}

/* --- the tool ------------------------------------------------------------------------ */

static bool
on_remote_admin_explain(struct channel *c, const struct ipc_remote_admin_explain *m)
{
	struct explain *e = channel_owner(c);
	struct span nexthop;
	struct fail why;

	if (e->policy)
		return false;
	e->id = m->id;
	arena_init(&e->arena, ARENA);
	e->policy = policy_ref(e->remoted->policy);
	e->target = 0;
	e->usable = false;
	nexthop = arena_dup(&e->arena, m->nexthop);
	if (!hop_parse(nexthop, e->policy->port, &e->hop, &why)) {
		done(e, fail_text(&why));
		return true;
	}
	(void)timer_set(&e->timer, 2 * e->policy->lookup_ms);
	destination_start(&e->destination, &e->hop, &e->policy->rules, &e->arena);
	tlslookup_start(&e->plans, e->remoted, nexthop, &e->hop, TLSWISH_NONE, &e->arena);
	go_on(e);
	return true;
}

#define DISPATCH_DEF "ipc/remote_admin.def"
#define DISPATCH_SIDE SERVER
#include "ipc/dispatch.h"

static void
on_closed(struct channel *c, const struct fail *why)
{
	struct explain *e = channel_owner(c);

	(void)why;
	reset(e);
	channel_free(&c);
	free(e);
}

const struct channel_ops explain_ops = { dispatch_remote_admin, on_closed, NULL };

void
explain_open(struct service *s, struct channel *c, struct span peer, unsigned instance)
{
	struct remoted *r = s->state;
	struct explain *e = calloc(1, sizeof(*e));

	(void)peer, (void)instance;
	if (!e) {
		channel_free(&c);
		return;
	}
	e->remoted = r;
	e->channel = c;
	e->plans.on_ready = on_plan;
	arena_init(&e->arena, ARENA);
	timer_init(&e->timer, r->loop, on_timer);
	for (size_t i = 0; i < LOOKUPS; i++)
		e->lookups[i] = (struct explain_lookup){ .explain = e, .lookup = { .on_record = on_record, .on_done = on_done, .on_again = on_again } };
	channel_set_owner(c, e);
}
