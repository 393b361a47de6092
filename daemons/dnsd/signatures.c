/* SPDX-License-Identifier: ISC */
#include "daemons/dnsd/signatures.h"

#include <unbound.h>

/* The wait is longer than libunbound keeps that there are no keys: a minute. */
enum { RR_DNSKEY = 48, CLASS_IN = 1, WAIT_MS = 70 * 1000, WAIT_MOST_MS = 60 * 60 * 1000 };

static void
probe_later(struct signatures *s)
{
	(void)timer_set(&s->again, s->wait_ms);
	s->wait_ms = 2 * s->wait_ms < WAIT_MOST_MS ? 2 * s->wait_ms : WAIT_MOST_MS;
}

/* No answer says nothing of signatures. */
static void
on_result(void *arg, int err, struct ub_result *result)
{
	struct signatures *s = arg;
	bool known = err == 0 && result && (s->passed ? result->bogus : result->secure);

	ub_resolve_free(result);
	if (known) {
		s->passed = !s->passed;
		s->on_change(s);
	}
	if (!s->passed)
		probe_later(s);
}

void
signatures_probe(struct signatures *s)
{
	if (ub_resolve_async(s->context->ub, ".", RR_DNSKEY, CLASS_IN, s, on_result, NULL) != 0 && !s->passed)
		probe_later(s);
}

static void
on_again(struct timer *t)
{
	signatures_probe(OWNER_OF(t, struct signatures, again));
}

void
signatures_init(struct signatures *s, struct loop *loop, struct context *context, int64_t wait_ms, void (*on_change)(struct signatures *s))
{
	*s = (struct signatures){ .context = context, .wait_ms = wait_ms ? wait_ms : WAIT_MS, .passed = true, .on_change = on_change };
	timer_init(&s->again, loop, on_again);
}

void
signatures_stop(struct signatures *s)
{
	timer_stop(&s->again);
}
