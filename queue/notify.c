/* SPDX-License-Identifier: ISC
 *
 * Delivery status notifications: collected on the message, written when
 * nothing of it is under way, queued like any other mail with the null sender.
 * Never a report about a report (RFC 5321 6.1), never against NOTIFY (RFC 3461 4.1).
 */
#include <stdio.h>
#include <stdlib.h>

#include "base/cursor.h"
#include "base/queueid.h"
#include "journal/blob.h"
#include "mail/charset.h"
#include "mail/date.h"
#include "mail/report.h"
#include "queue/impl.h"

enum {
	NOTIFY_SUCCESS = 1,
	NOTIFY_FAILURE = 2,
	NOTIFY_DELAY = 4,
	NOTIFY_NEVER = 8,
	RET_HDRS = 2,
	HEADER_READ = 256 * 1024,
	FULL_MAX = 16 * 1024 * 1024,
	REPORT_MAX = 2 * FULL_MAX,
	REASON_MAX = 2000, /* fits its record */
	INSTANCE = QUEUEID_INSTANCES - 1,
};

static bool
wants(unsigned notify, unsigned action)
{
	if (notify & NOTIFY_NEVER)
		return false;
	if (action == REPORT_FAILED)
		return notify == 0 || (notify & NOTIFY_FAILURE);
	if (action == REPORT_DELAYED)
		return notify == 0 || (notify & NOTIFY_DELAY);
	return (notify & NOTIFY_SUCCESS) != 0;
}

static bool
has_code(struct span s)
{
	return s.n > 3 && ascii_digit(s.p[0]) && ascii_digit(s.p[1]) && ascii_digit(s.p[2]) && (s.p[3] == ' ' || s.p[3] == '-');
}

struct word *
queue_reason(struct queue *q, struct span peer, struct span reply)
{
	struct buf text;
	struct word *word;
	size_t port = span_rchr(peer, ':');

	if (!peer.n || span_chr(peer, '/') != SIZE_MAX || !has_code(reply))
		return words_get(&q->words, reply);
	buf_init(&text, 4096);
	buf_printf(&text, "host %.*s said: %.*s", SPAN_ARG(span_ends(peer, SPAN("]")) ? peer : span_sub(peer, 0, port)), SPAN_ARG(reply));
	word = words_get(&q->words, span_sub(buf_span(&text), 0, REASON_MAX));
	buf_free(&text);
	return word;
}

/* The other way round: who said it. */
static void
split_reason(struct span *peer, struct span *reply)
{
	size_t said = span_find(*reply, SPAN(" said: "));

	if (peer->n || !span_starts(*reply, SPAN("host ")) || said == SIZE_MAX)
		return;
	*peer = span_sub(*reply, 5, said - 5);
	*reply = span_from(*reply, said + 7);
}

static bool
add(struct message *m, uint32_t recipient, const struct news *news, struct span to)
{
	struct span peer = news->peer, reply = news->reply;
	struct note *n = message_add_note(m);

	if (!n) {
		queue_log_message(LOG_failure, m, "no memory to note what the sender should be told");
		return false;
	}
	split_reason(&peer, &reply);
	if (span_chr(peer, '/') != SIZE_MAX) /* the mailbox: nobody else's business */
		peer = SPAN_NONE;
	if (news->action == REPORT_DELIVERED) /* and so is the name of the file */
		reply = span_sub(reply, 0, span_find(reply, SPAN(" as ")));
	n->recipient = recipient;
	n->action = (uint8_t)news->action;
	n->at_ms = news->at_ms;
	n->code = text_new(news->code);
	n->peer = text_new(peer);
	n->reply = text_new(reply);
	n->to = text_new(to);
	return true;
}

bool
queue_note(struct message *m, uint32_t recipient, const struct unit *u, const struct news *news)
{
	struct span owner = u ? text_span(u->sender) : message_owner(m, recipient);
	bool listed = owner.n > 0 && (u || news->action == REPORT_FAILED || news->action == REPORT_DELAYED);
	unsigned notify = u ? unit_notify(m, u) : listed ? 0 : m->rcpts[recipient].notify;

	if (!m->sender || (m->flags & MESSAGE_REPORT) || !(wants(notify, news->action) || (news->wanted && !(notify & NOTIFY_NEVER)))) /* RFC 3461 5.2 */
		return false;
	return add(m, recipient, news, listed ? owner : SPAN_NONE);
}

void
queue_note_again(struct message *m, const struct record_result *r, int64_t at_ms)
{
	struct news news = { .action = r->note ? r->note - 1u : REPORT_FAILED, .code = r->code, .peer = r->peer, .reply = r->reply,
		.at_ms = at_ms };

	if (r->note)
		(void)add(m, r->index, &news, news.action == REPORT_FAILED ? r->owner : SPAN_NONE);
	else if (r->outcome == OUTCOME_FAILED) /* of an older version */
		(void)queue_note(m, r->index, NULL, &news);
}

static unsigned
group_of(unsigned action)
{
	return action == REPORT_FAILED ? 0 : action == REPORT_DELAYED ? 1 : 2;
}

/* RFC 3461 6.2: the whole message with news of a failure, unless the sender wants less, it is large, or not in lines;
 * RFC 8689 5: never one that requires TLS. */
static bool
returns_full(const struct queue *q, const struct message *m)
{
	return m->ret != RET_HDRS && !(m->flags & (MESSAGE_BINARY | MESSAGE_REQUIRETLS)) && m->size <= q->p.bounce_size_limit && m->size <= FULL_MAX;
}

/* As much of the original as the report may need. */
static bool
read_original(struct queue *q, struct message *m, struct buf *into, struct span *original, struct fail *why)
{
	struct record_envelope e;
	char name[40], *p;
	size_t n = m->size < HEADER_READ || returns_full(q, m) ? (size_t)m->size : HEADER_READ;
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

/* What one report holds: of one group, to one address. */
struct batch {
	unsigned group;
	struct span to;
	struct report_recipient *r;
	size_t n;
	struct note *notes[REPORT_RECIPIENTS];
};

static struct span
addressee(const struct message *m, const struct note *note)
{
	return text_span(note->to ? note->to : m->sender);
}

static void
collect(const struct queue *q, const struct message *m, struct note *first, struct batch *b)
{
	b->group = group_of(first->action);
	b->to = addressee(m, first);
	b->n = 0;
	for (struct note *note = first; note && b->n < REPORT_RECIPIENTS; note = note->next) {
		const struct recipient *r = &m->rcpts[note->recipient];

		if (note->told || group_of(note->action) != b->group || !span_eq(addressee(m, note), b->to))
			continue;
		b->notes[b->n] = note;
		b->r[b->n++] = (struct report_recipient){
			.action = note->action,
			.final = text_span(r->address),
			.original = note->to ? SPAN_NONE : text_span(r->orcpt), /* RFC 3461 5.2.7.1 (b) */
			.code = text_span(note->code),
			.remote_mta = peer_name(text_span(note->peer)),
			.reply = text_span(note->reply),
			.last_attempt = note->at_ms / 1000,
			.retry_until = b->group == 1 ? (message_arrival_ms(m) + q->p.maximal_queue_lifetime) / 1000 : 0,
		};
	}
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
submit(struct queue *q, const struct message *about, const struct report *report, uint64_t id, struct content *c, struct fail *why)
{
	struct record_recipient to = { .address = report->to, .notify = NOTIFY_NEVER }; /* RFC 3461 6.1 */
	struct record_envelope e = { .id = id, .report = true, .recipients = 1, .size = buf_len(&c->bytes),
		.client_name = q->p.myhostname, .protocol = SPAN("internal"), .smtputf8 = report->utf8,
		.requiretls = (about->flags & MESSAGE_REQUIRETLS) != 0, /* RFC 8689 5 */
		.priority = about->priority,                            /* RFC 6710 4.6 */
		.body8 = utf8_has_8bit(buf_span(&c->bytes)), .blob = buf_len(&c->bytes) > q->p.inline_max };
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
write_report(struct queue *q, struct message *m, struct span original, const struct batch *b, struct fail *why)
{
	char from[320], mine[QUEUEID_TEXT + 1], its[QUEUEID_TEXT + 1], unique[80];
	uint64_t id = queueid_new(&q->last_id, q->now * 1000, INSTANCE);
	struct content *c = content_new(REPORT_MAX);
	bool listed = !span_eq(b->to, text_span(m->sender));
	struct report report = {
		.reporting_mta = q->p.myhostname,
		.to = b->to,
		.envelope_id = listed ? SPAN_NONE : message_envid(m),
		.queue_id = queueid_text(message_id(m), its),
		.arrival = message_arrival_ms(m) / 1000,
		.deliver_by = m->extra && m->extra->by_mode ? m->extra->by_ms / 1000 : 0,
		.now = q->now / 1000,
		.zone = date_local_zone(q->now / 1000),
		.full = b->group == 0 && returns_full(q, m),
		.utf8 = utf8_has_8bit(b->to), /* RFC 6533 4.5: another sender's host may not take SMTPUTF8 */
		.original_utf8 = (m->flags & MESSAGE_UTF8) != 0,
		.original_8bit = (m->flags & MESSAGE_BODY8) != 0,
		.recipients = b->r,
		.nrecipients = b->n,
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
	if (!submit(q, m, &report, id, c, why))
		return false;
	q->stats.reports++;
	for (size_t i = 0; i < b->n; i++)
		b->notes[i]->told = true;
	queue_log_message(LOG_bounce, m, "report=%s to=<%.*s> recipients=%zu", mine, SPAN_ARG(b->to), b->n);
	return true;
}

bool
queue_report(struct queue *q, struct message *m)
{
	struct batch b = { .r = calloc(REPORT_RECIPIENTS, sizeof(*b.r)) };
	struct span original = SPAN_NONE;
	struct buf bytes;
	struct fail why = { .class = FAIL_NONE };
	bool ok = b.r != NULL, lasting = false;

	buf_init(&bytes, (size_t)JOURNAL_RECORD_MAX + 4096);
	if (ok && !read_original(q, m, &bytes, &original, &why)) {
		queue_log_message(LOG_failure, m, "reported without its header: %s", why.text);
		original = SPAN_NONE;
	}
	for (struct note *note = m->extra->notes; ok && note; note = note->next) {
		lasting |= note->action != REPORT_DELAYED;
		if (note->told)
			continue;
		collect(q, m, note, &b);
		ok = write_report(q, m, original, &b, &why);
	}
	buf_free(&bytes);
	free(b.r);
	if (!ok) {
		queue_log_message(LOG_failure, m, "report not written: %s", why.text);
		return false;
	}
	message_drop_notes(m);
	if (lasting && m->unsettled > 0)
		queue_record_outcome(q, m, SPAN_NONE, true, NULL);
	return true;
}

void
queue_report_later(struct queue *q, const struct message *m)
{
	if (buf_len(&q->unreported) == 0)
		q->report_ms = q->now + q->p.queue_run_delay;
	buf_le64(&q->unreported, message_id(m));
}

void
queue_run_reports(struct queue *q)
{
	struct cursor c = cursor_of(buf_span(&q->unreported));

	if (q->now < q->report_ms)
		return;
	while (!cursor_end(&c)) {
		struct message *m = queue_find(q, cursor_le64(&c));

		if (m)
			queue_touch(q, m);
	}
	buf_reset(&q->unreported);
}
