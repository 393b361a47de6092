/* SPDX-License-Identifier: ISC
 *
 * Every process is asked for its limits; what they say goes to mailctl as it comes.
 */
#include "daemons/suited/suite.h"
#include "sys/limits.h"

enum { PATIENCE_MS = 5000 };

static void
finish(struct suite *s, bool ok)
{
	struct ipc_suite_admin_done done = { .id = s->limits.request, .ok = ok, .text = ok ? SPAN_NONE : SPAN("not every process answered") };

	timer_stop(&s->limits.patience);
	if (s->limits.asker)
		(void)ipc_send_suite_admin_done(s->limits.asker->channel, &done);
	s->limits.asker = NULL;
	for (unsigned i = 0; i < s->nprocesses; i++)
		s->processes[i].limits_id = 0; /* what still comes is late */
}

static void
on_patience(struct timer *t)
{
	finish(OWNER_OF(t, struct suite, limits.patience), false);
}

bool
limits_ask(struct suite *s, struct admin_request *asker, uint64_t request)
{
	if (s->limits.asker)
		return false;
	timer_init(&s->limits.patience, s->loop, on_patience);
	s->limits.asker = asker;
	s->limits.request = request;
	s->limits.id++;
	s->limits.pending = 0;
	for (unsigned i = 0; i < s->nprocesses; i++) {
		struct process *p = &s->processes[i];

		if (p->ctl && p->ready && ipc_send_ctl_limits(p->ctl, &(struct ipc_ctl_limits){ .id = s->limits.id })) {
			p->limits_id = s->limits.id;
			s->limits.pending++;
		}
	}
	if (s->limits.pending == 0 || !timer_set(&s->limits.patience, PATIENCE_MS))
		finish(s, s->limits.pending == 0);
	return true;
}

bool
limits_row(struct process *p, const struct ipc_ctl_limit *m)
{
	struct suite *s = p->suite;
	struct ipc_suite_admin_limit row = { .id = s->limits.request, .process = span_str(p->row->name), .instance = p->instance, .row = m->row,
		.bound = m->bound, .used = m->used, .peak = m->peak, .hits = m->hits, .last_ms = m->last_ms, .who = m->who };

	if (p->limits_id == 0 || m->id != p->limits_id)
		return m->id != 0 && m->id <= s->limits.id; /* late; what was never asked for is a violation */
	if (m->row >= LIMIT_COUNT)
		return false;
	if (s->limits.asker)
		(void)ipc_send_suite_admin_limit(s->limits.asker->channel, &row);
	return true;
}

bool
limits_done(struct process *p, uint64_t id)
{
	struct suite *s = p->suite;

	if (p->limits_id == 0 || id != p->limits_id)
		return id != 0 && id <= s->limits.id;
	p->limits_id = 0;
	if (--s->limits.pending == 0)
		finish(s, true);
	return true;
}

void
limits_forget(struct suite *s, const struct admin_request *asker)
{
	if (s->limits.asker == asker) {
		s->limits.asker = NULL;
		finish(s, false);
	}
}
