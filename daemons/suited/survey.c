/* SPDX-License-Identifier: ISC
 *
 * Every process is asked how far its limits are used, or what it counts; what they say goes to mailctl as it comes.
 */
#include "daemons/suited/suite.h"
#include "sys/limits.h"

enum { PATIENCE_MS = 5000 };

static void
finish(struct suite *s, bool ok)
{
	struct ipc_suite_admin_done done = { .id = s->survey.request, .ok = ok, .text = ok ? SPAN_NONE : SPAN("not every process answered") };

	timer_stop(&s->survey.patience);
	if (s->survey.asker)
		(void)ipc_send_suite_admin_done(s->survey.asker->channel, &done);
	s->survey.asker = NULL;
	for (unsigned i = 0; i < s->nprocesses; i++)
		s->processes[i].survey_id = 0; /* what still comes is late */
}

static void
on_patience(struct timer *t)
{
	finish(OWNER_OF(t, struct suite, survey.patience), false);
}

static bool
send_question(struct process *p)
{
	struct suite *s = p->suite;

	if (!p->ctl || !p->ready)
		return false;
	if (s->survey.of == SURVEY_LIMITS)
		return ipc_send_ctl_limits(p->ctl, &(struct ipc_ctl_limits){ .id = s->survey.id });
	return ipc_send_ctl_ask(p->ctl, &(struct ipc_ctl_ask){ .id = s->survey.id });
}

bool
survey_begin(struct suite *s, enum survey_of of, struct admin_request *asker, uint64_t request)
{
	if (s->survey.asker)
		return false;
	timer_init(&s->survey.patience, s->loop, on_patience);
	s->survey.of = of;
	s->survey.asker = asker;
	s->survey.request = request;
	s->survey.id++;
	s->survey.pending = 0;
	for (unsigned i = 0; i < s->nprocesses; i++)
		if (send_question(&s->processes[i])) {
			s->processes[i].survey_id = s->survey.id;
			s->survey.pending++;
		}
	if (s->survey.pending == 0 || !timer_set(&s->survey.patience, PATIENCE_MS))
		finish(s, s->survey.pending == 0);
	return true;
}

/* Late is no fault; what was never asked for is. */
static bool
was_asked(const struct suite *s, uint64_t id)
{
	return id != 0 && id <= s->survey.id;
}

bool
survey_limit(struct process *p, const struct ipc_ctl_limit *m)
{
	struct suite *s = p->suite;
	struct ipc_suite_admin_limit row = { .id = s->survey.request, .process = span_str(p->row->name), .instance = p->instance, .row = m->row,
		.bound = m->bound, .used = m->used, .peak = m->peak, .hits = m->hits, .last_ms = m->last_ms, .who = m->who };

	if (p->survey_id == 0 || m->id != p->survey_id)
		return was_asked(s, m->id);
	if (m->row >= LIMIT_COUNT || s->survey.of != SURVEY_LIMITS)
		return false;
	if (s->survey.asker)
		(void)ipc_send_suite_admin_limit(s->survey.asker->channel, &row);
	return true;
}

bool
survey_done(struct process *p, uint64_t id)
{
	struct suite *s = p->suite;

	if (p->survey_id == 0 || id != p->survey_id)
		return was_asked(s, id);
	p->survey_id = 0;
	if (--s->survey.pending == 0)
		finish(s, true);
	return true;
}

bool
survey_counters(struct process *p, const struct ipc_ctl_state *m)
{
	struct suite *s = p->suite;
	struct ipc_suite_admin_counters row = { .id = s->survey.request, .process = span_str(p->row->name), .instance = p->instance, .text = m->text };

	if (p->survey_id == 0 || m->id != p->survey_id)
		return was_asked(s, m->id);
	if (s->survey.of != SURVEY_COUNTERS)
		return false;
	if (s->survey.asker)
		(void)ipc_send_suite_admin_counters(s->survey.asker->channel, &row);
	return survey_done(p, m->id);
}

void
survey_forget(struct suite *s, const struct admin_request *asker)
{
	if (s->survey.asker == asker) {
		s->survey.asker = NULL;
		finish(s, false);
	}
}
