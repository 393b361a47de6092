/* SPDX-License-Identifier: ISC
 *
 * Delivery status notifications: collected on the message, written when
 * nothing of it is under way, queued like any other mail with the null sender.
 * Never a report about a report (RFC 5321 6.1), never against NOTIFY (RFC 3461).
 */
#include <stdio.h>
#include <stdlib.h>

#include "base/queueid.h"
#include "journal/blob.h"
#include "mail/report.h"
#include "queue/impl.h"

enum {
	NOTIFY_SUCCESS = 1,
	NOTIFY_FAILURE = 2,
	NOTIFY_DELAY = 4,
	NOTIFY_NEVER = 8,
	RET_HDRS = 2,
	HEADER_READ = 256 * 1024,
	REPORT_MAX = 4 * 1024 * 1024,
	INSTANCE = QUEUEID_INSTANCES - 1,
};

bool
queue_wants(const struct recipient *r, unsigned action)
{
	if (r->notify & NOTIFY_NEVER)
		return false;
	if (action == REPORT_FAILED)
		return r->notify == 0 || (r->notify & NOTIFY_FAILURE);
	if (action == REPORT_DELAYED)
		return r->notify == 0 || (r->notify & NOTIFY_DELAY);
	return (r->notify & NOTIFY_SUCCESS) != 0;
}

void
queue_note(struct queue *q, struct message *m, uint32_t recipient, unsigned action, struct span code, struct span peer,
    struct span reply)
{
	if (!m->sender || (m->flags & MESSAGE_REPORT) || !queue_wants(&m->rcpts[recipient], action))
		return;
	if (!message_add_note(m, recipient, action, q->now, code, peer, reply))
		queue_log_message(LOG_failure, m, "no memory to note what the sender should be told");
}

static unsigned
group_of(unsigned action)
{
	return action == REPORT_FAILED ? 0 : action == REPORT_DELAYED ? 1 : 2;
}

/* As much of the original as the report may need. */
static bool
read_original(struct queue *q, struct message *m, struct buf *into, struct span *original, struct fail *why)
{
	struct record_envelope e;
	char name[40], *p;
	size_t n = m->size < HEADER_READ ? (size_t)m->size : HEADER_READ;
	int fd;
	bool ok;

	if (m->content) {
		*original = buf_span(&m->content->bytes);
		return true;
	}
	if (!(m->flags & MESSAGE_BLOB))
		return queue_read(q, m, into, &e, original, why);
	queue_blob_name(message_id(m), name);
	fd = blob_open(q->blobs, name, why);
	if (fd < 0)
		return false;
	p = buf_room(into, n);
	ok = p && vfs_read_all(q->blobs, fd, p, n, 0);
	if (ok)
		buf_added(into, n);
	(void)q->blobs->ops->close(q->blobs, fd);
	*original = buf_span(into);
	return ok || fail_errno(why, 0, "cannot read %s", name);
}

/* The head of a peer "host[address]:port" that is its name. */
static struct span
peer_name(struct span peer)
{
	size_t bracket = span_chr(peer, '[');

	return bracket == SIZE_MAX || bracket == 0 ? peer : span_sub(peer, 0, bracket);
}

static size_t
collect(const struct queue *q, const struct message *m, unsigned group, const struct note **from,
    struct report_recipient out[REPORT_RECIPIENTS])
{
	size_t n = 0;
	const struct note *note;

	for (note = *from; note && n < REPORT_RECIPIENTS; note = note->next) {
		const struct recipient *r = &m->rcpts[note->recipient];

		if (group_of(note->action) != group)
			continue;
		out[n++] = (struct report_recipient){
			.action = note->action,
			.final = text_span(r->address),
			.original = text_span(r->orcpt),
			.code = text_span(note->code),
			.remote_mta = peer_name(text_span(note->peer)),
			.reply = text_span(note->reply),
			.last_attempt = note->at_ms / 1000,
			.retry_until = group == 1 ? ((int64_t)((message_id(m) >> 4) / 1000) + q->p.maximal_queue_lifetime) / 1000 : 0,
		};
	}
	*from = note;
	return n;
}

static bool
store_blob(struct queue *q, uint64_t id, struct span s, struct fail *why)
{
	struct blob b;
	char name[40], temp[48];

	queue_blob_name(id, name);
	(void)snprintf(temp, sizeof(temp), "%s.new", name);
	if (!blob_create(&b, q->blobs, temp, name, why))
		return false;
	(void)blob_write(&b, s);
	return blob_commit_now(&b, why);
}

static bool
submit(struct queue *q, const struct message *m, uint64_t id, struct content *c, struct fail *why)
{
	struct record_recipient to = { .address = text_span(m->sender), .notify = NOTIFY_NEVER };
	struct record_envelope e = { .id = id, .report = true, .recipients = 1, .size = buf_len(&c->bytes),
		.client_name = q->p.myhostname, .protocol = SPAN("internal"), .smtputf8 = (m->flags & MESSAGE_UTF8) != 0,
		.body8 = (m->flags & MESSAGE_BODY8) != 0, .blob = buf_len(&c->bytes) > q->p.inline_max };
	struct buf list;
	bool ok;

	if (e.blob && !store_blob(q, id, buf_span(&c->bytes), why)) {
		content_free(c);
		return false;
	}
	buf_init(&list, 4096);
	ok = record_list_put(&list, &record_desc_recipient, &to);
	e.list = buf_span(&list);
	if (e.blob) {
		content_free(c);
		c = NULL;
	}
	if (ok) {
		ok = queue_accept(q, &e, c, NULL, NULL, why);
	} else {
		content_free(c);
		(void)fail_set(why, FAIL_PERM, 0, "the sender's address does not fit a record");
	}
	buf_free(&list);
	return ok;
}

static bool
write_report(struct queue *q, struct message *m, struct span original, const struct report_recipient *r, size_t n, struct fail *why)
{
	char from[320], mine[QUEUEID_TEXT + 1], its[QUEUEID_TEXT + 1], unique[80];
	uint64_t id = queueid_new(&q->last_id, q->now * 1000, INSTANCE);
	struct content *c = content_new(REPORT_MAX);
	struct report report = {
		.reporting_mta = q->p.myhostname,
		.to = text_span(m->sender),
		.envelope_id = message_envid(m),
		.queue_id = queueid_text(message_id(m), its),
		.arrival = (int64_t)((message_id(m) >> 4) / 1000000),
		.now = q->now / 1000,
		.full = m->ret != RET_HDRS && r[0].action == REPORT_FAILED && m->size <= q->p.bounce_size_limit,
		.utf8 = (m->flags & MESSAGE_UTF8) != 0,
		.original_8bit = (m->flags & MESSAGE_BODY8) != 0,
		.recipients = r,
		.nrecipients = n,
		.original = &original,
		.noriginal = 1,
	};

	if (!c)
		return fail_set(why, FAIL_TEMP, 0, "no memory for a report");
	(void)snprintf(from, sizeof(from), "MAILER-DAEMON@%.*s", SPAN_ARG(q->p.myhostname));
	report.from = span_str(from);
	(void)snprintf(unique, sizeof(unique), "%s.%s", queueid_text(id, mine).p, its);
	report.unique = span_str(unique);
	if (!report_build(&report, &c->bytes, why)) {
		content_free(c);
		return false;
	}
	if (!submit(q, m, id, c, why))
		return false;
	q->stats.reports++;
	queue_log_message(LOG_bounce, m, "report=%s to=<%.*s> recipients=%zu", mine, SPAN_ARG(text_span(m->sender)), n);
	return true;
}

bool
queue_report(struct queue *q, struct message *m)
{
	struct report_recipient *r = calloc(REPORT_RECIPIENTS, sizeof(*r));
	struct span original = SPAN_NONE;
	struct buf bytes;
	struct fail why = { .class = FAIL_NONE };
	bool ok = r != NULL, failures = false;

	buf_init(&bytes, (size_t)JOURNAL_RECORD_MAX + 4096);
	if (ok && !read_original(q, m, &bytes, &original, &why)) {
		queue_log_message(LOG_failure, m, "reported without its header: %s", why.text);
		original = SPAN_NONE;
	}
	for (unsigned group = 0; ok && group < 3; group++) {
		const struct note *from = message_notes(m);

		while (ok && from) {
			size_t n = collect(q, m, group, &from, r);

			failures |= n > 0 && group == 0;
			ok = n == 0 || write_report(q, m, original, r, n, &why);
		}
	}
	buf_free(&bytes);
	free(r);
	if (!ok) {
		queue_log_message(LOG_failure, m, "report not written: %s", why.text);
		return false;
	}
	message_drop_notes(m);
	if (failures && m->unsettled > 0)
		queue_record_outcome(q, m, SPAN_NONE, true, NULL);
	return true;
}
