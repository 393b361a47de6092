/* SPDX-License-Identifier: ISC
 *
 * Messages on their way in.  Small content is gathered in memory, larger
 * content goes to its blob as it comes.  accepted is said when the journal has
 * the envelope (and with it small content) on stable storage: law 1.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/queueid.h"
#include "daemons/queued/tool.h"
#include "journal/blob.h"
#include "mail/status.h"

struct intake { /* one smtpd */
	struct list node;
	struct queued *q;
	struct channel *c; /* NULL: gone, but transactions are with the disk */
	struct map transactions;
	size_t unfinished;
};

struct transaction {
	struct map_node by_id;
	struct intake *intake;
	struct arena arena;
	struct record_envelope e;
	struct buf list;
	struct roll roll; /* of a long list, for the queue's memory */
	struct queue_parts parts; /* of it, in the journal */
	struct content *content;
	struct blob blob;
	uint64_t size, declared;
	uint8_t state;
	uint64_t rule;  /* holds it back; 0: none */
	bool with_disk; /* freed when the disk answers */
	bool aborted;
};

enum { LIST_MAX = 8 * 1024 * 1024, ARENA_MAX = 16 * 1024, SPACE_MS = 1000, ROLL_FROM = 128,
	PART = 80 * 1024 /* of a list, in one record: more than the journal keeps for its index in memory */ };

static void
free_transaction(struct transaction *t)
{
	struct intake *in = t->intake;

	if (t->content)
		in->q->intake_bytes -= buf_len(&t->content->bytes);
	if (t->e.blob && !t->with_disk)
		blob_abandon(&t->blob);
	map_remove(&in->transactions, &t->by_id);
	content_free(t->content);
	buf_free(&t->list);
	roll_free(&t->roll);
	queue_parts_free(&t->parts);
	arena_free(&t->arena);
	free(t);
	if (!in->c && in->transactions.count == 0) {
		list_remove(&in->node);
		map_free(&in->transactions);
		free(in);
	}
}

static struct transaction *
find(const struct intake *in, uint64_t id)
{
	struct map_node *node = map_get_u64(&in->transactions, id);

	return node ? OWNER_OF(node, struct transaction, by_id) : NULL;
}

/* The conversation is over for the peer. */
static void
refuse(struct transaction *t, unsigned status, struct span text)
{
	struct ipc_intake_refused m = { .id = t->by_id.hash, .status = (uint16_t)status,
		.text = text.n ? text : span_str(status_get(status)->text) };

	if (t->intake->c && !t->aborted)
		(void)ipc_send_intake_refused(t->intake->c, &m);
	free_transaction(t);
}

static unsigned
status_for(const struct fail *why)
{
	if (why->status)
		return why->status;
	return why->class == FAIL_LIMIT ? STATUS_DISK_FULL : STATUS_SYSTEM_LOCAL_TEMP;
}

/* The journal has room of its own for a while; the reserve is kept by refusing here. */
static bool
is_full(struct queued *q)
{
	int64_t now = loop_now_ms(q->service->loop), space;
	bool full;

	if (q->space_at && now - q->space_at < SPACE_MS)
		return q->full;
	q->space_at = now;
	space = q->vfs->ops->space(q->vfs);
	full = space >= 0 && (uint64_t)space < q->service->conf->queue_minfree;
	if (full && q->spares.n > 0) { /* theirs comes first */
		spares_drop(&q->spares);
		space = q->vfs->ops->space(q->vfs);
		full = space >= 0 && (uint64_t)space < q->service->conf->queue_minfree;
	}
	if (full && !q->full)
		log_put(LOG_limit, "%" PRId64 " bytes of queue_directory are free, less than queue_minfree: mail is refused", space);
	else if (!full && q->full)
		log_put(LOG_limit, "%" PRId64 " bytes of queue_directory are free: mail is taken again", space);
	q->full = full;
	return full;
}

/* A copy did not fit: what is missing must not pass for empty. */
static bool
arena_short(const struct ipc_intake_open *m, const struct record_envelope *e)
{
	return m->sender.n != e->sender.n || m->client_name.n != e->client_name.n || m->client_addr.n != e->client_addr.n ||
	       m->helo.n != e->helo.n || m->protocol.n != e->protocol.n || m->sasl_user.n != e->sasl_user.n || m->envid.n != e->envid.n;
}

static bool
on_intake_open(struct channel *c, const struct ipc_intake_open *m)
{
	struct intake *in = channel_owner(c);
	struct transaction *t;
	uint8_t state = CONV_NONE;
	struct arena *a;

	if (!m->id || find(in, m->id) || !channel_step(c, IPC_intake_open, &state))
		return false;
	t = calloc(1, sizeof(*t));
	if (!t || !map_put_u64(&in->transactions, &t->by_id, m->id)) {
		struct ipc_intake_refused no = { .id = m->id, .status = STATUS_NOT_ACCEPTING };

		free(t);
		return ipc_send_intake_refused(c, &no);
	}
	t->state = state;
	t->intake = in;
	a = &t->arena;
	arena_init(a, ARENA_MAX);
	buf_init(&t->list, LIST_MAX);
	queue_parts_init(&t->parts, PART);
	t->content = content_new(in->q->inline_max + IPC_DATA_MAX);
	t->declared = m->size;
	t->e = (struct record_envelope){
		.id = m->id,
		.sender = arena_dup(a, m->sender),
		.client_name = arena_dup(a, m->client_name),
		.client_addr = arena_dup(a, m->client_addr),
		.helo = arena_dup(a, m->helo),
		.protocol = arena_dup(a, m->protocol),
		.sasl_user = arena_dup(a, m->sasl_user),
		.envid = arena_dup(a, m->envid),
		.ret = m->ret,
		.body8 = m->body8,
		.binary = m->binary,
		.requiretls = m->requiretls,
		.release_ms = m->release_ms,
		.priority = m->priority,
		.by_ms = m->by_ms,
		.by_mode = m->by_mode,
		.smtputf8 = m->smtputf8,
		.held = m->hold,
	};
	if (!t->content || arena_short(m, &t->e) || in->q->stopping)
		refuse(t, STATUS_NOT_ACCEPTING, SPAN_NONE);
	else if (in->q->intake_bytes > INTAKE_MEMORY) {
		limit_reached(in->q->service->loop, LIMIT_intake_bytes, INTAKE_MEMORY, m->client_addr);
		refuse(t, STATUS_CONGESTION, SPAN_NONE);
	} else if (is_full(in->q))
		refuse(t, STATUS_DISK_FULL, SPAN_NONE);
	return true;
}

/* A hundred thousand at the end, at once, would be what all others wait for. */
static void
keep_roll(struct transaction *t, const struct record_recipient *r)
{
	bool ok = true;

	if (t->e.recipients == ROLL_FROM)
		ok = roll_load(&t->roll, buf_span(&t->list));
	else if (t->roll.n == t->e.recipients - 1 && t->roll.n)
		ok = roll_add(&t->roll, r);
	if (!ok)
		roll_free(&t->roll); /* then from the list after all */
}

static bool
on_intake_rcpt(struct channel *c, const struct ipc_intake_rcpt *m)
{
	struct transaction *t = find(channel_owner(c), m->id);
	struct record_recipient r = { .address = m->address, .orcpt = m->orcpt, .notify = m->notify };

	if (!t)
		return true; /* refused meanwhile */
	if (!channel_step(c, IPC_intake_rcpt, &t->state))
		return false;
	if (!record_list_put(&t->list, &record_desc_recipient, &r)) {
		refuse(t, STATUS_TOO_MANY_RECIPIENTS, SPAN_NONE);
		return true;
	}
	t->e.recipients++;
	keep_roll(t, &r);
	queue_put_part(t->intake->q->queue, &t->parts, m->id, buf_span(&t->list));
	return true;
}

/* Too large for the journal: what there is so far, and the rest, go to a file. */
static bool
open_blob(struct transaction *t, struct fail *why)
{
	struct queued *q = t->intake->q;

	if (q->vfs->ops->space(q->vfs) < (int64_t)(q->service->conf->queue_minfree + t->size))
		return fail_set(why, FAIL_LIMIT, STATUS_DISK_FULL, "free space is down to queue_minfree");
	if (!queued_new_blob(q, &t->blob, t->by_id.hash, t->declared, why))
		return false;
	t->e.blob = true;
	(void)blob_write(&t->blob, buf_span(&t->content->bytes));
	q->intake_bytes -= buf_len(&t->content->bytes);
	content_free(t->content);
	t->content = NULL;
	return true;
}

static bool
on_intake_data(struct channel *c, const struct ipc_intake_data *m)
{
	struct transaction *t = find(channel_owner(c), m->id);
	struct fail why;

	if (!t)
		return true;
	if (!channel_step(c, IPC_intake_data, &t->state))
		return false;
	t->size += m->bytes.n;
	if (!t->e.blob && t->size > t->intake->q->inline_max && !open_blob(t, &why)) {
		log_put(LOG_limit, "%s", why.text);
		refuse(t, status_for(&why), SPAN_NONE);
		return true;
	}
	if (t->e.blob) {
		(void)blob_write(&t->blob, m->bytes); /* a failure shows at the end */
	} else {
		struct buf *b = &t->content->bytes;
		size_t before = buf_len(b);

		buf_put(b, m->bytes);
		t->intake->q->intake_bytes += buf_len(b) - before;
		limit_count(t->intake->q->service->loop, LIMIT_intake_bytes, t->intake->q->intake_bytes, INTAKE_MEMORY);
		if (!buf_ok(b)) {
			log_put(LOG_failure, "no memory for a message of %" PRIu64 " bytes", t->size);
			refuse(t, STATUS_SYSTEM_LOCAL_TEMP, SPAN_NONE);
		}
	}
	return true;
}

/* Why it waits is seen in every listing. */
static void
tell_rule(struct queued *q, uint64_t id, uint64_t rule)
{
	char reason[200];
	int n = snprintf(reason, sizeof(reason), "held by rule %" PRIu64 ": %.*s", rule, SPAN_ARG(rules_text(q->rules, rule)));

	queue_hold_reason(q->queue, id, span_of(reason, n < 0 ? 0 : (size_t)n < sizeof(reason) ? (size_t)n : sizeof(reason) - 1));
}

static void
on_accepted(void *arg, uint64_t id, const struct fail *why)
{
	struct transaction *t = arg;
	struct ipc_intake_accepted m = { .id = id };

	if (why) {
		log_put(LOG_failure, "%s", why->text);
		refuse(t, status_for(why), SPAN_NONE);
		return;
	}
	if (t->intake->c && !t->aborted)
		(void)ipc_send_intake_accepted(t->intake->c, &m);
	if (t->rule)
		tell_rule(t->intake->q, id, t->rule);
	free_transaction(t);
}

static void
give_to_queue(struct transaction *t)
{
	struct queued *q = t->intake->q;
	struct content *content = t->content;
	struct fail why;

	t->e.list = buf_span(&t->list);
	t->e.size = t->size;
	t->content = NULL;
	t->with_disk = true;
	t->rule = rules_match(q->rules, &t->e);
	t->e.held |= t->rule != 0;
	if (content)
		q->intake_bytes -= buf_len(&content->bytes);
	if (queue_accept_list(q->queue, &t->e, &t->roll, &t->parts, content, on_accepted, t, &why))
		return;
	log_put(LOG_failure, "%s", why.text);
	if (t->e.blob)
		(void)blob_remove(q->vfs, t->blob.name, NULL);
	refuse(t, status_for(&why), SPAN_NONE);
}

static void
on_blob(struct blob *b, const struct fail *why)
{
	struct transaction *t = OWNER_OF(b, struct transaction, blob);

	if (why) {
		log_put(LOG_failure, "%s", why->text);
		refuse(t, why->err == ENOSPC ? STATUS_DISK_FULL : STATUS_SYSTEM_LOCAL_TEMP, SPAN_NONE);
	} else if (t->aborted) {
		(void)blob_remove(b->vfs, b->name, NULL);
		free_transaction(t);
	} else {
		give_to_queue(t);
	}
}

static bool
on_intake_end(struct channel *c, const struct ipc_intake_end *m)
{
	struct transaction *t = find(channel_owner(c), m->id);

	if (!t)
		return true;
	if (!channel_step(c, IPC_intake_end, &t->state) || m->size != t->size)
		return false;
	t->e.message_id = arena_dup(&t->arena, m->message_id);
	t->e.body8 |= m->body8;
	t->e.smtputf8 |= m->smtputf8;
	t->e.tls_optional = m->tls_optional && !t->e.requiretls; /* RFC 8689 4.1 */
	if (t->e.recipients == 0) {
		refuse(t, STATUS_NO_RECIPIENTS, SPAN_NONE);
	} else if (t->e.blob) {
		t->with_disk = true;
		blob_commit(&t->blob, t->intake->q->files, on_blob);
	} else {
		give_to_queue(t);
	}
	return true;
}

static bool
on_intake_abort(struct channel *c, const struct ipc_intake_abort *m)
{
	struct transaction *t = find(channel_owner(c), m->id);

	if (!t)
		return true;
	if (!channel_step(c, IPC_intake_abort, &t->state))
		return false;
	t->aborted = true;
	if (!t->with_disk)
		free_transaction(t);
	return true;
}

static bool
on_intake_flush(struct channel *c, const struct ipc_intake_flush *m)
{
	struct intake *in = channel_owner(c);
	uint8_t state = CONV_NONE;

	if (!m->domain.n || !channel_step(c, IPC_intake_flush, &state))
		return false;
	queued_etrn(in->q, c, m);
	return true;
}

#define DISPATCH_DEF "ipc/intake.def"
#define DISPATCH_SIDE SERVER
#include "ipc/dispatch.h"

static void
abort_one(struct map_node *node, void *arg)
{
	struct transaction *t = OWNER_OF(node, struct transaction, by_id);

	(void)arg;
	t->aborted = true;
	if (!t->with_disk)
		free_transaction(t);
}

static void
on_closed(struct channel *c, const struct fail *why)
{
	struct intake *in = channel_owner(c);

	if (why)
		log_put(LOG_channel, "smtpd: %s", why->text);
	queued_etrn_closed(in->q, c);
	map_each(&in->transactions, abort_one, NULL);
	in->c = NULL;
	if (in->transactions.count == 0) {
		list_remove(&in->node);
		map_free(&in->transactions);
		free(in);
	}
	channel_free(&c);
}

void
queued_intake_open(struct service *s, struct channel *c, struct span peer, unsigned instance)
{
	struct queued *q = queued_of(s);
	struct intake *in = calloc(1, sizeof(*in));

	(void)peer, (void)instance;
	if (!in) {
		channel_give_up(&c);
		return;
	}
	in->q = q;
	in->c = c;
	map_init(&in->transactions);
	list_push(&q->intakes, &in->node);
	channel_set_owner(c, in);
}

const struct channel_ops queued_intake_ops = { .dispatch = dispatch_intake, .on_closed = on_closed };

static void
count_one(struct map_node *node, void *arg)
{
	if (OWNER_OF(node, struct transaction, by_id)->with_disk)
		++*(size_t *)arg;
}

size_t
queued_unfinished(const struct queued *q)
{
	size_t n = 0;

	LIST_EACH(&q->intakes, it)
		map_each(&OWNER_OF(it, struct intake, node)->transactions, count_one, &n);
	return n;
}

static void
refuse_one(struct map_node *node, void *arg)
{
	struct transaction *t = OWNER_OF(node, struct transaction, by_id);

	(void)arg;
	if (!t->with_disk)
		refuse(t, STATUS_NOT_ACCEPTING, SPAN_NONE);
}

void
queued_refuse_all(struct queued *q)
{
	LIST_EACH(&q->intakes, it)
		map_each(&OWNER_OF(it, struct intake, node)->transactions, refuse_one, NULL);
}
