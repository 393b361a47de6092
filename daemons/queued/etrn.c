/* SPDX-License-Identifier: ISC
 *
 * ETRN (RFC 1985): a client that smtpd lets asks for the mail of a domain.
 * What waits for a recipient there is due now.  The queue is walked in slices,
 * for one request at a time.
 */
#include <stdlib.h>
#include <string.h>

#include "daemons/queued/queued.h"
#include "mail/domain.h"
#include "mail/status.h"

enum { SLICE = 500, WAITING_MAX = 64 };

struct etrn {
	struct list node;
	struct queued *q;
	struct channel *c;
	struct queue_walk walk;
	struct turn turn;
	bool walking, below;
	uint64_t id, count;
	size_t n;
	char domain[B_HOST];
};

static void
etrn_free(struct etrn *e)
{
	turn_cancel(&e->turn);
	if (e->walking)
		queue_walk_end(&e->walk);
	list_remove(&e->node);
	free(e);
}

static bool
concerns(const struct etrn *e, const struct message *m)
{
	struct span wanted = span_of(e->domain, e->n);

	for (uint32_t i = 0; i < m->nrcpts; i++) {
		struct span address = text_span(m->rcpts[i].address);
		size_t at = span_rchr(address, '@');
		struct span domain = at == SIZE_MAX ? SPAN_NONE : span_from(address, at + 1);

		if (!m->rcpts[i].settled && (e->below ? domain_within(domain, wanted) : span_caseeq(domain, wanted)))
			return true;
	}
	return false;
}

static void start_next(struct queued *q);

static void
on_slice(struct turn *turn)
{
	struct etrn *e = OWNER_OF(turn, struct etrn, turn);
	struct queued *q = e->q;
	struct message *m = NULL;

	for (int i = 0; i < SLICE && (m = queue_walk_next(&e->walk)); i++)
		if (concerns(e, m) && queue_act(q->queue, m, VERB_FLUSH))
			e->count++;
	queued_soon(q);
	if (m) {
		turn_later(&e->turn, q->service->loop);
		return;
	}
	log_put(LOG_queue, "ETRN %s%.*s: %llu messages are tried now", e->below ? "@" : "", (int)e->n, e->domain, (unsigned long long)e->count);
	(void)ipc_send_intake_flushed(e->c, &(struct ipc_intake_flushed){ .id = e->id, .status = STATUS_OK, .count = e->count });
	etrn_free(e);
	start_next(q);
}

static void
start_next(struct queued *q)
{
	struct etrn *e = list_empty(&q->etrns) ? NULL : OWNER_OF(q->etrns.next, struct etrn, node);

	if (!e || e->walking)
		return;
	queue_walk_begin(q->queue, &e->walk);
	e->walking = true;
	turn_later(&e->turn, q->service->loop);
}

void
queued_etrn(struct queued *q, struct channel *c, const struct ipc_intake_flush *m)
{
	struct etrn *e = NULL;
	size_t n = 0;

	LIST_EACH(&q->etrns, it)
		n++;
	if (n < WAITING_MAX && q->queue && !q->stopping)
		e = calloc(1, sizeof(*e));
	if (!e) {
		(void)ipc_send_intake_flushed(c, &(struct ipc_intake_flushed){ .id = m->id, .status = STATUS_CONGESTION });
		return;
	}
	e->q = q;
	e->c = c;
	e->id = m->id;
	e->below = m->below;
	e->n = m->domain.n;
	memcpy(e->domain, m->domain.p, e->n);
	turn_init(&e->turn, on_slice);
	list_push(&q->etrns, &e->node);
	start_next(q);
}

void
queued_etrn_closed(struct queued *q, const struct channel *c)
{
	LIST_EACH(&q->etrns, it) {
		struct etrn *e = OWNER_OF(it, struct etrn, node);

		if (!c || e->c == c)
			etrn_free(e);
	}
	if (c)
		start_next(q);
}
