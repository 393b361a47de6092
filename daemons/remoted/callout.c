/* SPDX-License-Identifier: ISC */
#include "daemons/remoted/callout.h"

#include <stdlib.h>

#include "daemons/remoted/job.h"
#include "daemons/remoted/remoted.h"

struct callout {
	struct list node; /* remoted.callouts */
	struct channel *channel;
	struct job *job;
	uint64_t id;
};

/* What is said of one address. */
static void
tell(struct job *j)
{
	static const uint8_t outcomes[] = {
		[VERDICT_PENDING] = CALLOUT_LATER, [VERDICT_DELIVERED] = CALLOUT_TAKES, [VERDICT_RELAYED] = CALLOUT_TAKES,
		[VERDICT_DEFERRED] = CALLOUT_LATER, [VERDICT_FAILED] = CALLOUT_REFUSES,
	};
	const struct verdict *v = &j->mail.rcpts[0].verdict;

	(void)ipc_send_callout_answer(j->callout->channel, &(struct ipc_callout_answer){
		.id = j->callout->id, .outcome = outcomes[v->outcome], .unreached = j->health == DELIVER_UNREACHED && v->outcome == VERDICT_DEFERRED,
		.code = span_str(v->code), .peer = j->origins[0].peer, .reply = span_sub(v->text, 0, B_REPLY) });
}

static void
forget(struct job *j)
{
	struct remoted *r = j->remoted;

	list_remove(&j->callout->node);
	free(j->callout);
	limit_count(r->loop, LIMIT_callouts, --r->ncallouts, CALLOUTS_MAX);
}

/* A fallback relay takes everything: it would say yes of whom it knows nothing. */
static const struct job_kind kind = { .fallback = false, .tell = tell, .forget = forget };

static bool
refuse(struct channel *c, uint64_t id, const char *why)
{
	return ipc_send_callout_answer(c, &(struct ipc_callout_answer){ .id = id, .outcome = CALLOUT_LATER, .code = SPAN("4.4.5"), .reply = span_str(why) });
}

static bool
on_callout_ask(struct channel *c, const struct ipc_callout_ask *m)
{
	struct service *s = channel_owner(c);
	struct remoted *r = s->state;
	struct callout *a;
	struct job *j;

	if (!r || s->stopping) /* who asked hears that we are gone */
		return true;
	if (r->ncallouts >= CALLOUTS_MAX) {
		limit_reached(r->loop, LIMIT_callouts, CALLOUTS_MAX, m->nexthop);
		return refuse(c, m->id, "too many addresses are being verified");
	}
	a = calloc(1, sizeof(*a));
	j = a ? job_new(r, &kind, m->nexthop, m->logins) : NULL;
	if (!j) {
		free(a);
		return refuse(c, m->id, "out of memory");
	}
	*a = (struct callout){ .channel = c, .job = j, .id = m->id };
	list_push(&r->callouts, &a->node);
	limit_count(r->loop, LIMIT_callouts, ++r->ncallouts, CALLOUTS_MAX);
	j->callout = a;
	j->mail.callout = true;
	j->mail.sender = arena_dup(&j->arena, m->sender);
	if (job_add(j, m->address, SPAN_NONE, 0)) {
		job_run(j);
		return true;
	}
	job_free(j);
	return refuse(c, m->id, "out of memory");
}

#define DISPATCH_DEF "ipc/callout.def"
#define DISPATCH_SIDE SERVER
#include "ipc/dispatch.h"

static void
end(struct remoted *r, const struct channel *c)
{
	LIST_EACH(&r->callouts, it) {
		struct callout *a = OWNER_OF(it, struct callout, node);

		if (!c || a->channel == c)
			job_free(a->job);
	}
}

static void
on_closed(struct channel *c, const struct fail *why)
{
	struct service *s = channel_owner(c);

	if (!s->stopping)
		log_put(LOG_channel, "callout: %s", why->text);
	if (s->state)
		end(s->state, c);
	channel_free(&c);
}

const struct channel_ops callout_ops = { dispatch_callout, on_closed, NULL };

void
callout_open(struct service *s, struct channel *c, struct span peer, unsigned instance)
{
	(void)s, (void)c, (void)peer, (void)instance; /* the owner is the service */
}

void
callout_stop(struct remoted *r)
{
	end(r, NULL);
}
