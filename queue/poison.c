/* SPDX-License-Identifier: ISC
 *
 * Messages that were with an agent when it crashed.  The first time nobody
 * knows which of them it was: all are suspects, and go out one at a time from
 * then on.  Whose agent crashes again while it is alone there is the poison, and is held.
 */
#include <stdlib.h>

#include "queue/impl.h"

enum { TURN_MS = 1000 };

/* Another suspect is out: this one waits for its turn. */
void
queue_suspect_waits(struct queue *q, struct entry *e)
{
	struct word *reason = words_get(&q->words, SPAN("waits for another message that was there when its agent crashed"));

	queue_postpone(q, e, reason, q->now + TURN_MS + q->ports.random(q->ports.arg) % TURN_MS);
	words_put(&q->words, &reason);
}

size_t
queue_agent_doubts(const struct queue *q, const void *agent, struct queue_doubt **doubts)
{
	size_t n = 0;

	*doubts = q->jobs.count ? malloc(q->jobs.count * sizeof(**doubts)) : NULL;
	LIST_EACH(&q->job_list, it) {
		const struct queue_job *job = OWNER_OF(it, struct queue_job, node);

		if (*doubts && job->agent == agent)
			(*doubts)[n++] = (struct queue_doubt){ .message = message_id(job->m), .alone = job->alone };
	}
	return n;
}

static void
quarantine(struct queue *q, struct message *m, const char *who)
{
	struct buf reason;

	buf_init(&reason, 256);
	buf_printf(&reason, QUEUE_QUARANTINE "%s crashed twice while it had this message, the second time this one alone", who);
	words_put(&q->words, &m->reason);
	m->reason = words_get(&q->words, buf_span(&reason));
	m->suspect = false;
	m->flags |= MESSAGE_HELD;
	queue_unroute(q, m);
	queue_record_state(q, m);
	queue_log_message(LOG_quarantine, m, "held: %.*s", SPAN_ARG(buf_span(&reason)));
	buf_free(&reason);
}

void
queue_agent_crashed(struct queue *q, const struct queue_doubt *doubts, size_t n, const char *who)
{
	bool known = false;

	queue_clock(q);
	for (size_t i = 0; i < n; i++)
		known = known || doubts[i].alone;
	for (size_t i = 0; i < n; i++) {
		struct message *m = queue_find(q, doubts[i].message);

		if (!m || m->flags & (MESSAGE_HELD | MESSAGE_DELETED))
			continue;
		if (doubts[i].alone) {
			quarantine(q, m, who);
		} else if (!known) { /* else one that was alone has done it */
			m->suspect = true;
			queue_record_state(q, m); /* also for a queue that is started again */
			queue_log_message(LOG_quarantine, m, "suspect: %s crashed while it had this message and %zu more", who, n - 1);
		}
	}
}

void
queue_job_crashed(struct queue *q, uint64_t id, const char *who)
{
	struct map_node *node = map_get_u64(&q->jobs, id);

	if (node)
		OWNER_OF(node, struct queue_job, by_id)->crashed = who;
}

/* Of a job that comes to its end: what is said of its recipients is no longer the last word. */
void
queue_blame_job(struct queue *q, const struct queue_job *job)
{
	struct queue_doubt doubt = { .message = message_id(job->m), .alone = job->alone };

	if (job->crashed)
		queue_agent_crashed(q, &doubt, 1, job->crashed);
}
