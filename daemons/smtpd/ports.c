/* SPDX-License-Identifier: ISC
 *
 * ports: what sessions want done, done: questions to the siblings, the log.
 */
#include <time.h>

#include "base/queueid.h"
#include "log/line.h"
#include "mail/status.h"
#include "smtpd.h"
#include "transaction.h"

static struct smtpd *
smtpd_of(void *owner)
{
	return ((struct client *)owner)->door->smtpd;
}

static struct buf *
output(void *owner)
{
	return &((struct client *)owner)->replies;
}

static bool
ask_rcpt(void *owner, struct ipc_rcpt_ask *m)
{
	struct smtpd *d = smtpd_of(owner);

	m->id = client_new_id(owner);
	return d->routed && ipc_send_rcpt_ask(d->routed, m);
}

static bool
ask_auth(void *owner, struct ipc_auth_ask *m)
{
	struct smtpd *d = smtpd_of(owner);

	m->id = client_new_id(owner);
	return d->authd && ipc_send_auth_ask(d->authd, m);
}

static bool
ask_scram(void *owner, struct ipc_auth_scram *m)
{
	struct smtpd *d = smtpd_of(owner);

	m->id = client_new_id(owner);
	return d->authd && ipc_send_auth_scram(d->authd, m);
}

static bool
ask_proof(void *owner, const struct ipc_auth_proof *m)
{
	struct smtpd *d = smtpd_of(owner);

	return d->authd && ipc_send_auth_proof(d->authd, m);
}

static bool
ask_token(void *owner, struct ipc_auth_token *m)
{
	struct smtpd *d = smtpd_of(owner);

	m->id = client_new_id(owner);
	return d->authd && ipc_send_auth_token(d->authd, m);
}

static bool
ask_certificate(void *owner, struct ipc_auth_certificate *m)
{
	struct smtpd *d = smtpd_of(owner);

	m->id = client_new_id(owner);
	return d->authd && ipc_send_auth_certificate(d->authd, m);
}

static bool
binding(void *owner, struct span type, struct buf *out)
{
	return stream_binding(&((struct client *)owner)->stream, type, out);
}

static bool
ask_flush(void *owner, struct ipc_intake_flush *m)
{
	struct smtpd *d = smtpd_of(owner);

	m->id = client_new_id(owner);
	return d->queued && ipc_send_intake_flush(d->queued, m);
}

static uint64_t
new_queue_id(void *owner)
{
	struct smtpd *d = smtpd_of(owner);
	struct timespec t;

	(void)clock_gettime(CLOCK_REALTIME, &t);
	return queueid_new(&d->last_queue_id, (int64_t)t.tv_sec * 1000000 + t.tv_nsec / 1000, d->service->instance % QUEUEID_INSTANCES);
}

static bool
intake_open(void *owner, const struct ipc_intake_open *m)
{
	struct client *c = owner;
	struct smtpd *d = smtpd_of(owner);

	if (!d->queued || !map_put_u64(&d->messages, &c->message, m->id))
		return false;
	c->hands_over = true;
	return ipc_send_intake_open(d->queued, m);
}

static bool
intake_rcpt(void *owner, const struct ipc_intake_rcpt *m)
{
	struct smtpd *d = smtpd_of(owner);

	return d->queued && ipc_send_intake_rcpt(d->queued, m);
}

static bool
intake_data(void *owner, const struct ipc_intake_data *m)
{
	struct smtpd *d = smtpd_of(owner);

	return d->queued && ipc_send_intake_data(d->queued, m);
}

static bool
intake_end(void *owner, const struct ipc_intake_end *m)
{
	struct smtpd *d = smtpd_of(owner);

	return d->queued && ipc_send_intake_end(d->queued, m);
}

static void
intake_abort(void *owner, uint64_t id)
{
	struct client *c = owner;
	struct smtpd *d = smtpd_of(owner);

	if (c->hands_over)
		map_remove(&d->messages, &c->message);
	c->hands_over = false;
	if (d->queued)
		(void)ipc_send_intake_abort(d->queued, &(struct ipc_intake_abort){ .id = id });
}

static bool
intake_full(void *owner)
{
	struct smtpd *d = smtpd_of(owner);

	return d->queued && channel_congested(d->queued);
}

static bool
intake_blocked(void *owner)
{
	struct smtpd *d = smtpd_of(owner);

	return d->queued && channel_blocked(d->queued);
}

static bool
filter_mail(void *owner, struct ipc_filter_mail *m)
{
	struct client *c = owner;
	struct smtpd *d = smtpd_of(owner);
	char id[QUEUEID_TEXT + 1];

	if (!m->id)
		m->id = client_new_id(c);
	m->listener = span_str(c->door->name);
	m->session = queueid_text(c->id, id);
	m->client_port = netaddr_port(&c->peer);
	return d->verifyd && ipc_send_filter_mail(d->verifyd, m);
}

static bool
filter(void *owner, unsigned type, const void *m)
{
	struct smtpd *d = smtpd_of(owner);

	return d->verifyd && channel_send(d->verifyd, type, m, -1);
}

static uint64_t
filter_question(void *owner)
{
	return client_new_id(owner);
}

static bool
filter_full(void *owner)
{
	struct smtpd *d = smtpd_of(owner);

	return d->verifyd && channel_congested(d->verifyd);
}

static void
start_tls(void *owner)
{
	((struct client *)owner)->tls_due = true; /* once the input behind it has been thrown away */
}

static int64_t
now(void *owner)
{
	return loop_wall_ms(smtpd_of(owner)->loop) / 1000;
}

static bool
client_at(void *owner, struct span address, struct session_peer *who, struct buf *literal)
{
	const struct client *c = owner;
	struct netaddr a;

	if (!netaddr_parse(address, 0, &a))
		return false;
	netaddr_put_literal(literal, &a);
	return client_rights(c, &a, who);
}

static void
note_received(struct client *c, struct span id, struct span who)
{
	const struct session *s = &c->session;
	const struct transaction *t = s->mail;
	struct span to = transaction_first(t);

	log_put(LOG_received, "id=%.*s client=%.*s helo=%.*s from=<%.*s> to=<%.*s>%s nrcpt=%u size=%llu message-id=%.*s%s%.*s%s%.*s%s%.*s%s", SPAN_ARG(id),
	    SPAN_ARG(who), SPAN_ARG(s->helo), SPAN_ARG(t->sender), SPAN_ARG(to), t->good > 1 ? ",..." : "", t->good, (unsigned long long)t->sent,
	    SPAN_ARG(t->message_id), s->user.n ? " user=" : "", SPAN_ARG(s->user),
	    t->rule.n ? " rule=" : "", SPAN_ARG(t->rule),
	    s->forward.set ? " orig_client=[" : "", SPAN_ARG(s->forward.set ? s->forward.address : SPAN_NONE), s->forward.set ? "]" : "");
}

static void
note(void *owner, enum session_note what, struct span text)
{
	struct client *c = owner;
	const struct transaction *t = c->session.mail;
	char label[400];
	struct span who = client_label(c, label);

	switch (what) {
	case SESSION_NOTE_ACCEPTED:
		c->door->smtpd->messages_in++;
		note_received(c, text, who);
		break;
	case SESSION_NOTE_REJECT:
		log_put(LOG_reject, "client=%.*s helo=%.*s from=<%.*s> to=<%.*s> reply=%.*s%s%.*s", SPAN_ARG(who), SPAN_ARG(c->session.helo),
		    SPAN_ARG(t ? t->sender : c->session.from), SPAN_ARG(c->session.about), SPAN_ARG(text), c->session.rule.n ? " rule=" : "",
		    SPAN_ARG(c->session.rule));
		break;
	case SESSION_NOTE_REFUSED:
		log_put(LOG_reject, "id=%.*s client=%.*s helo=%.*s from=<%.*s> content refused: %s%s%.*s", SPAN_ARG(text), SPAN_ARG(who), SPAN_ARG(c->session.helo),
		    SPAN_ARG(t ? t->sender : SPAN_NONE), status_get(t ? t->status : STATUS_NONE)->text, c->session.rule.n ? " rule=" : "",
		    SPAN_ARG(c->session.rule));
		break;
	case SESSION_NOTE_ACCESS:
		log_put(LOG_access, "id=%.*s client=%.*s from=<%.*s> to=<%.*s> rule=%.*s", SPAN_ARG(text), SPAN_ARG(who),
		    SPAN_ARG(t ? t->sender : SPAN_NONE), SPAN_ARG(c->session.about), SPAN_ARG(c->session.rule));
		break;
	case SESSION_NOTE_AUTH_OK:
		log_put(LOG_auth, "client=%.*s user=%.*s ok", SPAN_ARG(who), SPAN_ARG(text));
		break;
	case SESSION_NOTE_AUTH_FAILED:
		log_put(LOG_auth, "client=%.*s user=%s failed: %.*s", SPAN_ARG(who), log_line_value(c->session.subject, (char[LOG_VALUE]){ 0 }), SPAN_ARG(text));
		break;
	case SESSION_NOTE_DROPPED:
		log_put(LOG_limit, "client=%.*s dropped: %.*s", SPAN_ARG(who), SPAN_ARG(text));
		break;
	}
}

const struct session_ports client_ports = {
	.output = output,
	.ask_rcpt = ask_rcpt,
	.ask_flush = ask_flush,
	.ask_auth = ask_auth,
	.ask_scram = ask_scram,
	.ask_proof = ask_proof,
	.ask_certificate = ask_certificate,
	.ask_token = ask_token,
	.binding = binding,
	.new_queue_id = new_queue_id,
	.intake_open = intake_open,
	.intake_rcpt = intake_rcpt,
	.intake_data = intake_data,
	.intake_end = intake_end,
	.intake_abort = intake_abort,
	.intake_full = intake_full,
	.intake_blocked = intake_blocked,
	.filter_mail = filter_mail,
	.filter = filter,
	.filter_question = filter_question,
	.filter_full = filter_full,
	.start_tls = start_tls,
	.time = now,
	.client_at = client_at,
	.note = note,
};
