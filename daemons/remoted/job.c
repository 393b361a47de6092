/* SPDX-License-Identifier: ISC */
#include "daemons/remoted/job.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "daemons/remoted/outcome.h"
#include "daemons/remoted/remoted.h"
#include "daemons/remoted/tlsreport.h"
#include "log/log.h"
#include "mail/status.h"
#include "net/logins.h"

enum {
	/* For a connection: what is sent first and again after a second has had its answer by then. */
	HURRY_MS = 2500,          /* while another address of the same preference is left */
	HURRY_WORSE_MS = 10 * 1000, /* while one of a worse is: mail had better not go there for a packet that was lost */
};

static void resolve(struct job *j, struct span nexthop);
static void try_next(struct job *j);

/* --- the end ----------------------------------------------------------------- */

static void
stop_lookups(struct job *j)
{
	timer_stop(&j->timer);
	for (size_t i = 0; j->lookups && i < JOB_LOOKUPS; i++)
		lookup_cancel(&j->lookups[i].lookup);
}

void
job_free(struct job *j)
{
	struct remoted *r = j->remoted;

	stop_lookups(j);
	tlslookup_stop(&j->plans);
	j->kind->forget(j);
	content_free(&j->content);
	if (j->session)
		session_abandon(j->session);
	free(j->mail.rcpts);
	free(j->origins);
	if (j->logins.n)
		explicit_bzero((char *)(uintptr_t)j->logins.p, j->logins.n);
	arena_free(&j->arena);
	policy_unref(&j->policy);
	free(j);
	remoted_check_stop(r);
}

static void
report_and_free(struct job *j)
{
	outcome_settle(j);
	j->kind->tell(j);
	job_free(j);
}

/* No host is left: the fallback relays, then the report. */
static void
finish(struct job *j)
{
	const struct conf_list *fallback = &j->remoted->conf->smtp_fallback_relay;

	stop_lookups(j);
	tlslookup_stop(&j->plans);
	if (!j->hop.lmtp && j->kind->fallback && j->fallback < fallback->n && outcome_unheard(j)) {
		resolve(j, fallback->items[j->fallback++]);
		return;
	}
	report_and_free(j);
}

/* --- hosts --------------------------------------------------------------------- */

static enum tls_level
level_for(const struct job *j, const struct destination_target *t, const struct tlsplan *plan)
{
	bool plain = j->plain || pool_recalls(&j->remoted->pool, &t->address, POOL_PLAIN, loop_now_ms(j->remoted->loop));

	return plain && plan->level == TLS_LEVEL_MAY ? TLS_LEVEL_NONE : plan->level;
}

/* False: this host is not to be used. */
static bool
may_use(struct job *j, const struct destination_target *t, const struct tlsplan *plan)
{
	struct verdict v;

	if (!plan->skip)
		return true;
	tlsreport(&j->hop, plan, t->host, plan->result, span_str(plan->why));
	v = verdict_make(STATUS_TLS_FAILED, &j->arena, "%.*s: %s", SPAN_ARG(span_sub(t->host, 0, 100)), plan->why);
	outcome_trouble(j, &v, DELIVER_UNREACHED);
	if (j->target + 1 < j->destination.ntargets)
		outcome_attempt(j, SPAN_NONE, t->host, SPAN_NONE, &v);
	return false;
}

static int64_t
connect_wait(const struct job *j)
{
	const struct destination *d = &j->destination;
	int64_t ms;

	if (j->target + 1 >= d->ntargets - j->hurried)
		return j->policy->connect_ms;
	ms = d->targets[j->target + 1].preference == d->targets[j->target].preference ? HURRY_MS : HURRY_WORSE_MS;
	return ms < j->policy->connect_ms ? ms : j->policy->connect_ms;
}

/* The first that was given up in a hurry has its whole time when there is no other: so a host that is slow is
 * reached, too, however many there are. */
static void
try_again_later(struct job *j, const struct session *s)
{
	struct destination *d = &j->destination;
	bool refused = loop_now_ms(j->remoted->loop) - s->opened_ms < HURRY_MS;

	if (refused || j->hurried || j->target + 1 >= d->ntargets || d->ntargets == DESTINATION_TARGETS_MAX)
		return;
	d->targets[d->ntargets++] = d->targets[j->target];
	j->hurried = true;
}

static void
try_next(struct job *j)
{
	struct remoted *r = j->remoted;
	const struct destination *d = &j->destination;
	const struct tlsplan *plan;
	struct fail why;

	outcome_hold(j);
	for (; j->target < d->ntargets; j->target++) {
		const struct destination_target *t = &d->targets[j->target];
		struct verdict v;

		if (j->policy->session_limit && j->answered >= j->policy->session_limit)
			break;
		plan = tlslookup_plan(&j->plans, t);
		if (!plan) /* on_plan() comes back here */
			return;
		if (!may_use(j, t, plan))
			continue;
		j->session = session_open(r, j, t, span_str(j->key), plan, level_for(j, t, plan), d->hop.lmtp, connect_wait(j), &why);
		if (j->session) {
			r->connections++;
			return;
		}
		v = verdict_make(STATUS_NO_ANSWER, &j->arena, "%s", why.text);
		outcome_trouble(j, &v, DELIVER_UNREACHED);
		if (j->target + 1 < d->ntargets)
			outcome_attempt(j, SPAN_NONE, t->host, SPAN_NONE, &v);
	}
	finish(j);
}

static void
on_plan(struct tlslookup *t)
{
	struct job *j = OWNER_OF(t, struct job, plans);

	if (j->destination.state == DESTINATION_READY && !j->session)
		try_next(j);
}

/* Hosts that were dead a moment ago come last, in their order. */
static void
order_targets(struct job *j)
{
	struct destination *d = &j->destination;
	struct destination_target dead[DESTINATION_TARGETS_MAX];
	size_t ndead = 0, n = 0;

	for (size_t i = 0; i < d->ntargets; i++) {
		if (pool_recalls(&j->remoted->pool, &d->targets[i].address, POOL_DEAD, loop_now_ms(j->remoted->loop)))
			dead[ndead++] = d->targets[i];
		else
			d->targets[n++] = d->targets[i];
	}
	for (size_t i = 0; i < ndead; i++)
		d->targets[n + i] = dead[i];
}

/* --- the destination ---------------------------------------------------------------- */

/* The next hop is of the configuration, not the domain of the recipients, of whom nothing is said when it is not there. */
static bool
hop_is_ours(const struct job *j)
{
	struct span address = j->mail.nrcpts ? j->mail.rcpts[0].address : SPAN_NONE;

	return !span_caseeq(span_from(address, span_rchr(address, '@') + 1), j->way);
}

/* There is no host to try. What the administrator can put right is waited for. */
static void
destination_failed(struct job *j, const struct fail *why)
{
	bool lasting = why->class == FAIL_PERM && !hop_is_ours(j);

	j->last = verdict_make(lasting || why->class != FAIL_PERM ? why->status : STATUS_MISCONFIGURED, &j->arena, "%s", why->text);
	j->last.again = false;
	j->health = lasting ? DELIVER_UNTRIED : DELIVER_UNREACHED;
	(void)span_cstr(fail_text(why), j->trouble, sizeof(j->trouble));
	finish(j);
}

/* Asks what there is to ask, and goes on when nothing is left to ask. */
static void
go_on(struct job *j)
{
	struct destination *d = &j->destination;
	enum destination_type type;
	struct span name;
	unsigned slot;

	while (destination_question(d, &slot, &type, &name)) {
		struct job_lookup *l = &j->lookups[slot];

		l->slot = slot;
		if (!lookup_start(&j->remoted->dns, &l->lookup, (uint8_t)type, name))
			destination_answer(d, slot, DESTINATION_NO_NAME, false, SPAN_NONE);
	}
	if (d->state == DESTINATION_ASKING)
		return;
	stop_lookups(j);
	if (d->state == DESTINATION_FAILED) {
		destination_failed(j, &d->why);
		return;
	}
	order_targets(j);
	try_next(j);
}

static void
on_record(struct lookup *l, const struct ipc_dns_record *m)
{
	struct job_lookup *jl = OWNER_OF(l, struct job_lookup, lookup);

	if (m->type == DESTINATION_MX)
		destination_mx(&jl->job->destination, jl->slot, m->preference, m->name);
	else
		destination_address(&jl->job->destination, jl->slot, m->data);
}

static void
on_done(struct lookup *l, const struct ipc_dns_done *m)
{
	struct job_lookup *jl = OWNER_OF(l, struct job_lookup, lookup);

	destination_canonical(&jl->job->destination, jl->slot, m->canonical);
	destination_answer(&jl->job->destination, jl->slot, (enum destination_result)m->result, m->secure, m->why);
	go_on(jl->job);
}

static enum tlswish
wish_of(const struct job *j)
{
	if (j->hop.lmtp) /* final delivery */
		return TLSWISH_NONE;
	return client_needs_tls(&j->mail) ? TLSWISH_REQUIRED : j->tls_optional ? TLSWISH_OPTIONAL : TLSWISH_NONE;
}

static void
start_destination(struct job *j, const struct hop *hop)
{
	destination_start(&j->destination, hop, &j->policy->rules, &j->arena);
	j->hurried = false;
	tlslookup_start(&j->plans, j->remoted, j->way, &j->hop, wish_of(j), &j->arena);
	go_on(j);
}

/* dnsd died: what it said so far is void. */
static void
on_again(struct lookup *l)
{
	struct job *j = OWNER_OF(l, struct job_lookup, lookup)->job;
	struct hop hop = j->hop;

	for (size_t i = 0; i < JOB_LOOKUPS; i++)
		lookup_cancel(&j->lookups[i].lookup);
	start_destination(j, &hop);
}

static void
on_timer(struct timer *t)
{
	struct job *j = OWNER_OF(t, struct job, timer);

	(void)fail_set(&j->destination.why, FAIL_TEMP, STATUS_DIRECTORY_TEMP, "%.*s: no answer from the resolver in time", SPAN_ARG(span_sub(j->hop.name, 0, 100)));
	destination_failed(j, &j->destination.why);
}

static bool
ready_lookups(struct job *j)
{
	if (j->lookups)
		return true;
	j->lookups = arena_alloc(&j->arena, JOB_LOOKUPS * sizeof(*j->lookups));
	for (size_t i = 0; j->lookups && i < JOB_LOOKUPS; i++) {
		j->lookups[i].job = j;
		j->lookups[i].lookup = (struct lookup){ .on_record = on_record, .on_done = on_done, .on_again = on_again };
	}
	return j->lookups != NULL;
}

static void
resolve(struct job *j, struct span nexthop)
{
	static const char *const marks[] = { [TLSWISH_NONE] = "", [TLSWISH_REQUIRED] = "!", [TLSWISH_OPTIONAL] = "?" };
	struct remoted *r = j->remoted;
	struct session *idle;
	struct fail why;

	tlslookup_stop(&j->plans);
	j->destination = (struct destination){ .ntargets = 0 }; /* those of another hop are none of this one's */
	j->target = j->answered = 0;
	j->plain = j->hurried = false;
	nexthop = arena_dup(&j->arena, nexthop); /* which the hop points into */
	j->way = nexthop;
	if (!hop_parse(nexthop, j->policy->port, &j->hop, &why)) {
		destination_failed(j, &why);
		return;
	}
	j->login = logins_get(j->logins, nexthop);
	(void)snprintf(j->key, sizeof(j->key), "%d%s %.*s %.*s", (int)policy_tls_level(r->conf, nexthop, &j->hop), marks[wish_of(j)], SPAN_ARG(nexthop), SPAN_ARG(span_sub(j->login, 0, span_chr(j->login, ':'))));
	idle = pool_take(&r->pool, span_str(j->key));
	if (idle) {
		j->session = idle;
		session_reuse(idle, j);
		return;
	}
	if (!ready_lookups(j)) {
		j->last = verdict_make(STATUS_SYSTEM_LOCAL_TEMP, &j->arena, "no memory");
		report_and_free(j);
		return;
	}
	(void)timer_set(&j->timer, j->policy->lookup_ms);
	start_destination(j, &j->hop);
}

/* --- what sessions tell ----------------------------------------------------------------- */

/* A kept connection that the peer had given up meanwhile says nothing about
 * the peer: another connection, as if it had not been. */
static bool
was_stale(const struct session *s)
{
	return s->reused && !s->client.answered && (s->client.end == CLIENT_LOST || s->client.end == CLIENT_REFUSED || s->client.end == CLIENT_GOODBYE);
}

static void
session_ended(struct job *j, const struct session *s)
{
	const struct client *c = &s->client;
	struct verdict why = c->why;
	struct pool *pool = &j->remoted->pool;

	if (why.outcome == VERDICT_PENDING)
		why = verdict_make(STATUS_CONNECTION_LOST, &j->arena, "the session ended");
	if (c->end == CLIENT_TRY_PLAIN || (j->target + 1 < j->destination.ntargets && c->end != CLIENT_LOOP))
		outcome_attempt(j, SPAN_NONE, span_str(s->peer), span_str(s->tls_text), &why);
	switch (c->end) {
	case CLIENT_TRY_PLAIN:
		pool_remember(pool, &s->address, POOL_PLAIN, loop_now_ms(j->remoted->loop));
		j->plain = true;
		outcome_trouble(j, &why, DELIVER_UNREACHED);
		try_next(j); /* the same target */
		return;
	case CLIENT_LOOP:
		(void)fail_set(&j->destination.why, FAIL_PERM, STATUS_LOOP, "%.*s", SPAN_ARG(why.text));
		destination_failed(j, &j->destination.why);
		return;
	case CLIENT_REFUSED:
		j->answered++;
		outcome_trouble(j, &why, why.outcome == VERDICT_FAILED ? DELIVER_ANSWERED : DELIVER_OVERLOADED);
		break;
	case CLIENT_LOST:
		outcome_trouble(j, &why, c->answered ? DELIVER_OVERLOADED : DELIVER_UNREACHED);
		break;
	default:
		j->answered++;
		outcome_trouble(j, &why, c->end == CLIENT_NO_TLS ? DELIVER_UNREACHED : DELIVER_ANSWERED);
		break;
	}
	j->target++;
	j->plain = false;
	if (outcome_open(j))
		try_next(j);
	else
		finish(j);
}

/* A session out of the pool knows no targets: those come only now. */
static bool
next_needs_targets(struct job *j)
{
	if (j->destination.ntargets || !ready_lookups(j))
		return false;
	outcome_hold(j);
	(void)timer_set(&j->timer, j->policy->lookup_ms);
	start_destination(j, &j->hop);
	return true;
}

static void
ask_anew(struct job *j)
{
	j->target = j->answered = 0;
	if (!next_needs_targets(j))
		finish(j);
}

void
job_session_over(struct job *j, struct session *s, enum session_over over)
{
	struct verdict v;

	j->session = NULL;
	outcome_session(j, s);
	switch (over) {
	case SESSION_DONE:
		j->health = DELIVER_ANSWERED;
		pool_forget(&j->remoted->pool, &s->address);
		j->answered++;
		j->target++;
		if (!outcome_open(j))
			finish(j);
		else if (j->destination.ntargets)
			try_next(j);
		else if (outcome_elsewhere(j)) /* what a kept connection lacks, its host may have by now, or another */
			ask_anew(j);
		else
			finish(j); /* put off by a host that was asked on a kept connection: queued tries again */
		return;
	case SESSION_UNREACHABLE:
		pool_remember(&j->remoted->pool, &s->address, POOL_DEAD, loop_now_ms(j->remoted->loop));
		try_again_later(j, s);
		v = verdict_make(STATUS_NO_ANSWER, &j->arena, "connecting to %s: %s", s->peer, s->failure);
		outcome_trouble(j, &v, DELIVER_UNREACHED);
		if (j->target + 1 < j->destination.ntargets)
			outcome_attempt(j, SPAN_NONE, span_str(s->peer), SPAN_NONE, &v);
		j->target++;
		j->plain = false;
		try_next(j);
		return;
	case SESSION_ENDED:
		if (was_stale(s))
			resolve(j, j->way);
		else if (!j->destination.ntargets && outcome_open(j) && s->client.end != CLIENT_LOOP && next_needs_targets(j))
			return;
		else
			session_ended(j, s);
		return;
	}
}

/* --- what its owner does ----------------------------------------------------------------------- */

struct client_mail *
job_mail(struct job *j)
{
	return &j->mail;
}

struct policy *
job_policy(const struct job *j)
{
	return j->policy;
}

uint64_t
job_message(const struct job *j)
{
	return j->message;
}

const struct hop *
job_hop(const struct job *j)
{
	return &j->hop;
}

const struct remote_content *
job_content(const struct job *j)
{
	return &j->content;
}

struct span
job_login(const struct job *j)
{
	return j->login;
}

bool
job_source(const struct job *j, int family, struct netaddr *from)
{
	return policy_source(j->remoted->conf, j->way, family, from);
}

struct job *
job_new(struct remoted *r, const struct job_kind *kind, struct span nexthop, struct span logins)
{
	struct job *j = calloc(1, sizeof(*j));

	if (!j)
		return NULL;
	j->remoted = r;
	j->kind = kind;
	j->policy = policy_ref(r->policy);
	j->content.fd = -1;
	arena_init(&j->arena, JOB_ARENA);
	timer_init(&j->timer, r->loop, on_timer);
	j->plans.on_ready = on_plan;
	(void)span_cstr(nexthop, j->nexthop, sizeof(j->nexthop));
	j->mail.arena = &j->arena;
	j->health = DELIVER_UNTRIED;
	j->logins = arena_dup(&j->arena, logins);
	return j;
}

static bool
grow(struct job *j)
{
	size_t size = j->rcpts_size ? j->rcpts_size * 2 : 4;
	struct client_rcpt *rcpts = realloc(j->mail.rcpts, size * sizeof(*rcpts));
	struct job_origin *origins;

	if (!rcpts)
		return false;
	j->mail.rcpts = rcpts;
	origins = realloc(j->origins, size * sizeof(*origins));
	if (!origins)
		return false;
	j->origins = origins;
	j->rcpts_size = size;
	return true;
}

bool
job_add(struct job *j, struct span address, struct span orcpt, uint8_t notify)
{
	size_t n = j->mail.nrcpts;

	if (n == JOB_RCPTS || (n == j->rcpts_size && !grow(j)))
		return false;
	j->mail.rcpts[n] = (struct client_rcpt){ .address = arena_dup(&j->arena, address), .orcpt = arena_dup(&j->arena, orcpt), .notify = notify };
	j->origins[n] = (struct job_origin){ .peer = SPAN_NONE };
	j->mail.nrcpts++;
	return j->mail.rcpts[n].address.p != NULL;
}

void
job_run(struct job *j)
{
	resolve(j, span_str(j->nexthop));
}

void
job_call_off(struct job *j)
{
	if (j->session && j->session->client.state == CLIENT_STATE_final)
		return;
	if (j->session)
		session_abandon(j->session);
	j->session = NULL;
	j->last = verdict_make(STATUS_TEMP, &j->arena, "the delivery was called off");
	report_and_free(j);
}
