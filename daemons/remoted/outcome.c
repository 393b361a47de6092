/* SPDX-License-Identifier: ISC */
#include "daemons/remoted/outcome.h"

#include "base/queueid.h"
#include "daemons/remoted/remoted.h"
#include "log/log.h"
#include "mail/status.h"

/* Whoever is still open gets what an earlier host said of him, or else why
 * there was no other. */
void
outcome_settle(struct job *j)
{
	bool later = j->last.outcome == VERDICT_DEFERRED; /* what one host cannot have for good another may, which was not to be reached */

	if (j->last.outcome == VERDICT_PENDING)
		j->last = verdict_make(STATUS_TEMP, &j->arena, "no mail server was tried");
	for (size_t i = 0; i < j->mail.nrcpts; i++) {
		struct verdict *v = &j->mail.rcpts[i].verdict;
		struct job_origin *o = &j->origins[i];

		if (v->outcome != VERDICT_PENDING)
			continue;
		if (o->held.outcome == VERDICT_DEFERRED || (o->held.outcome == VERDICT_FAILED && !later)) {
			*v = o->held;
			o->peer = o->held_peer;
			o->tls = o->held_tls;
		} else {
			*v = j->last;
			if (j->health == DELIVER_ANSWERED || j->health == DELIVER_OVERLOADED)
				o->peer = span_str(j->host);
		}
	}
}

void
outcome_trouble(struct job *j, const struct verdict *v, enum deliver_health health)
{
	if (j->last.outcome != VERDICT_DEFERRED || v->outcome != VERDICT_FAILED)
		j->last = *v;
	j->health = health;
	(void)span_cstr(span_sub(v->text, 0, sizeof(j->trouble) - 1), j->trouble, sizeof(j->trouble));
}

void
outcome_attempt(const struct job *j, struct span to, struct span relay, struct span tls, const struct verdict *v)
{
	char id[QUEUEID_TEXT + 1];

	log_put(LOG_attempt, "%s%s%s%.*s%s relay=%.*s%s%.*s%s (%.*s)", j->callout ? "callout" : "id=", j->callout ? "" : queueid_text(j->message, id).p, to.n ? " to=<" : "", SPAN_ARG(to),
	    to.n ? ">" : "", SPAN_ARG(relay.n ? relay : SPAN("none")), tls.n ? " tls=\"" : "", SPAN_ARG(tls), tls.n ? "\"" : "", SPAN_ARG(v->text));
}

static bool
may_ask_another(const struct verdict *v)
{
	return (v->outcome == VERDICT_DEFERRED || v->outcome == VERDICT_FAILED) && v->again;
}

void
outcome_hold(struct job *j)
{
	bool another = j->target < j->destination.ntargets;

	for (size_t i = 0; i < j->mail.nrcpts; i++) {
		struct verdict *v = &j->mail.rcpts[i].verdict;

		struct job_origin *o = &j->origins[i];

		if (!may_ask_another(v))
			continue;
		if (another)
			outcome_attempt(j, j->mail.rcpts[i].address, o->peer, o->tls, v);
		if (v->outcome == VERDICT_DEFERRED || o->held.outcome != VERDICT_DEFERRED) {
			o->held = *v;
			o->held_peer = o->peer;
			o->held_tls = o->tls;
		}
		o->peer = o->tls = SPAN_NONE;
		v->outcome = VERDICT_PENDING;
	}
}

bool
outcome_open(const struct job *j)
{
	for (size_t i = 0; i < j->mail.nrcpts; i++) {
		const struct verdict *v = &j->mail.rcpts[i].verdict;

		if (v->outcome == VERDICT_PENDING || may_ask_another(v))
			return true;
	}
	return false;
}

bool
outcome_elsewhere(const struct job *j)
{
	for (size_t i = 0; i < j->mail.nrcpts; i++)
		if (j->mail.rcpts[i].verdict.outcome == VERDICT_FAILED && j->mail.rcpts[i].verdict.again)
			return true;
	return false;
}

bool
outcome_unheard(const struct job *j)
{
	for (size_t i = 0; i < j->mail.nrcpts; i++)
		if (j->mail.rcpts[i].verdict.outcome == VERDICT_PENDING && j->origins[i].held.outcome == VERDICT_PENDING)
			return true;
	return false;
}

void
outcome_session(struct job *j, const struct session *s)
{
	int64_t now = loop_now_ms(j->remoted->loop);
	struct span peer = SPAN_NONE, tls = SPAN_NONE;

	(void)span_cstr(span_str(s->peer), j->host, sizeof(j->host));
	j->reused = s->reused;
	if (!s->connected)
		return;
	j->connect_ms = s->reused || !s->greeted_ms ? 0 : (uint32_t)(s->greeted_ms - s->opened_ms);
	j->transfer_ms = s->mail_ms ? (uint32_t)(now - s->mail_ms) : 0;
	for (size_t i = 0; i < j->mail.nrcpts; i++) {
		if (j->mail.rcpts[i].verdict.outcome == VERDICT_PENDING || j->origins[i].peer.n)
			continue;
		if (!peer.n) {
			peer = arena_dup(&j->arena, span_str(s->peer));
			tls = s->tls_text[0] ? arena_dup(&j->arena, span_str(s->tls_text)) : SPAN_NONE;
		}
		j->origins[i].peer = peer;
		j->origins[i].tls = tls;
	}
}
