/* SPDX-License-Identifier: ISC */
#include "hook.h"

#include <stdio.h>
#include <stdlib.h>

#include "change.h"
#include "mail/status.h"

enum {
	IN_CAP = MILTER_PACKET_MAX + 64,
	OUT_CAP = 4 << 20, /* one header field of a message may be a quarter of it */
	TEXT_CAP = 2000,
};

static const struct conf *
conf_of(const struct hook *h)
{
	return h->visit->front->verifyd->service->conf;
}

bool
hook_init(struct hook *h, struct visit *v, struct span address)
{
	struct fail why;

	*h = (struct hook){ .visit = v, .state = HOOK_CLOSED };
	milter_init(&h->milter);
	buf_init(&h->helo, B_HOST);
	buf_init(&h->text, TEXT_CAP);
	if (way_parse(address, &h->way, &why))
		return true;
	log_put(LOG_failure, "%s", why.text);
	return false;
}

/* Away, and all that was agreed on. */
static void
close_hook(struct hook *h)
{
	stream_close(&h->stream);
	milter_free(&h->milter);
	buf_reset(&h->helo);
	h->state = HOOK_CLOSED;
	h->told_connect = h->in_message = h->awaiting = false;
}

void
hook_free(struct hook *h)
{
	/* The kernel takes so few bytes at once, or the filter sees the end without a word. */
	if (stream_is_open(&h->stream) && h->state >= HOOK_OPEN && !h->awaiting) {
		milter_put_quit(stream_out(&h->stream));
		stream_flush(&h->stream);
	}
	stream_close(&h->stream);
	milter_free(&h->milter);
	buf_free(&h->helo);
	buf_free(&h->text);
}

/* The question is answered as far as this filter goes. */
static void
finish(struct hook *h)
{
	if (stream_is_open(&h->stream))
		stream_deadline(&h->stream, 0);
	h->awaiting = false;
	if (h->pending) {
		h->pending = false;
		visit_go_on(h->visit);
	}
}

static void
note(const struct hook *h, enum milter_event at, const char *action, struct span text)
{
	const struct facts *f = &h->visit->facts;

	log_put(LOG_filter, "session=%.*s%s%s filter=%s stage=%s action=%s%s%.*s", SPAN_ARG(f->session), f->queue_id[0] ? " id=" : "", f->queue_id,
	    h->way.text, milter_event_name(at), action, text.n ? " text=" : "", SPAN_ARG(text));
}

/* milter_default_action. */
static void
use_default(struct hook *h)
{
	struct visit *v = h->visit;
	const struct conf_listener *l = conf_listener_find(conf_of(h), v->facts.listener);
	enum conf_word action = l ? l->milter_default_action : conf_of(h)->milter_default_action;

	/* What is only refused now comes again: another recipient, the content. */
	h->done = action == CONF_MILTER_ACCEPT || action == CONF_MILTER_QUARANTINE;
	if (action == CONF_MILTER_TEMPFAIL)
		visit_refuse(v, STATUS_DENIED_TEMP, 451, SPAN("Service unavailable - try again later"));
	else if (action == CONF_MILTER_REJECT)
		visit_refuse(v, STATUS_DENIED, 0, SPAN("Service unavailable"));
	else if (action == CONF_MILTER_QUARANTINE)
		v->verdict.hold = v->verdict.note = true;
	visit_why(v, way_name(&h->way), "%.*s", SPAN_ARG(conf_word_text(action)));
}

static void
broken(struct hook *h, const char *what)
{
	bool asked = h->pending;

	h->visit->front->verifyd->failures++;
	if (h->state == HOOK_CONNECTING && h->way.host[0])
		names_blame(&h->visit->front->verifyd->names, span_str(h->way.host));
	log_put(LOG_failure, "session=%.*s filter=%s stage=%s: %s", SPAN_ARG(h->visit->facts.session), h->way.text, milter_event_name(h->sent), what);
	close_hook(h);
	if (!asked)
		return;
	letter_not_replaced(h->visit);
	use_default(h);
	finish(h);
}

/* ---- out ---- */

static void
put_connect(struct hook *h, struct buf *out)
{
	const struct facts *f = &h->visit->facts;
	struct netaddr a;

	if (!netaddr_parse(f->client_addr, f->client_port, &a)) { /* the submit socket: as Postfix has non-SMTP mail */
		milter_put_connect(out, SPAN("localhost"), '4', 0, SPAN("127.0.0.1"));
		return;
	}
	milter_put_connect(out, f->client_name, netaddr_family(&a) == AF_INET6 ? '6' : '4', f->client_port, f->client_addr);
}

static void
put_mail(struct hook *h, struct buf *out)
{
	const struct facts *f = &h->visit->facts;
	struct span args[4];
	char path[B_ADDRESS + 3], size[32];
	size_t n = 0;

	args[n++] = span_of(path, (size_t)snprintf(path, sizeof(path), "<%.*s>", SPAN_ARG(f->sender)));
	if (f->size)
		args[n++] = span_of(size, (size_t)snprintf(size, sizeof(size), "SIZE=%llu", (unsigned long long)f->size));
	if (f->body8)
		args[n++] = SPAN("BODY=8BITMIME");
	if (f->smtputf8)
		args[n++] = SPAN("SMTPUTF8");
	milter_put_strings(out, MILTER_MAIL, args, n);
}

static void
put_rcpt(struct hook *h, struct buf *out)
{
	char path[B_ADDRESS + 3];
	struct span arg = span_of(path, (size_t)snprintf(path, sizeof(path), "<%.*s>", SPAN_ARG(h->visit->facts.rcpt)));

	milter_put_strings(out, MILTER_RCPT, &arg, 1);
}

static bool
put_body(struct hook *h, struct buf *out)
{
	char *room = malloc(MILTER_CHUNK);
	struct span piece;
	struct fail why;
	bool good = room && spool_read(&h->visit->letter.body, h->body_at, room, MILTER_CHUNK, &piece, &why);

	if (good) {
		milter_put_bytes(out, MILTER_BODY, piece);
		h->body_at += piece.n;
	}
	free(room);
	return good;
}

/* Puts the event and says which comes next. False: there is nothing to say of it (no more fields, no body). */
static bool
put_event(struct hook *h, enum milter_event e, struct buf *out)
{
	struct visit *v = h->visit;

	h->next = e + 1;
	switch (e) {
	case MILTER_CONNECT:
		put_connect(h, out);
		h->told_connect = true;
		return true;
	case MILTER_HELO:
		buf_reset(&h->helo);
		buf_put(&h->helo, v->facts.helo);
		if (v->facts.helo.n)
			milter_put_strings(out, e, &v->facts.helo, 1);
		return v->facts.helo.n > 0;
	case MILTER_MAIL:
		put_mail(h, out);
		h->in_message = true;
		return true;
	case MILTER_RCPT:
		put_rcpt(h, out);
		return true;
	case MILTER_HEADER:
		if (!h->field)
			return false;
		milter_put_header(&h->milter, out, h->field->name, h->field->value);
		h->field = edit_next(&v->letter.edit, h->field);
		h->next = h->field ? MILTER_HEADER : MILTER_EOH;
		return true;
	case MILTER_BODY:
		if (h->body_at >= v->letter.body.size || !put_body(h, out))
			return false;
		h->next = h->body_at < v->letter.body.size ? MILTER_BODY : MILTER_END;
		return true;
	default:
		milter_put_bytes(out, e, SPAN_NONE);
		return true;
	}
}

static void
send_event(struct hook *h, enum milter_event e)
{
	struct buf *out = stream_out(&h->stream), event;

	h->next = e + 1;
	if (!milter_wants(&h->milter, e))
		return;
	/* Macros go in front, and only of an event that is sent. */
	buf_init(&event, OUT_CAP);
	if (put_event(h, e, &event)) {
		milter_put_macros(&h->milter, out, e, visit_macro, h->visit);
		buf_put(out, buf_span(&event));
		h->sent = e;
		h->awaiting = milter_answers(&h->milter, e);
		stream_deadline(&h->stream, e >= MILTER_HEADER ? conf_of(h)->milter_content_timeout : conf_of(h)->milter_command_timeout);
	}
	buf_free(&event);
}

/* Sends what is due. */
static void
go_on(struct hook *h)
{
	while (h->state == HOOK_OPEN && !h->awaiting && h->next <= h->goal) {
		if (stream_full(&h->stream))
			return; /* on_drain goes on, or the deadline comes */
		send_event(h, h->next);
	}
	if (h->state == HOOK_OPEN && !h->awaiting)
		finish(h);
}

/* ---- in ---- */

/* A refusal; of the whole session when the filter gave it at CONNECT or HELO. */
static void
refuse(struct hook *h, unsigned status, unsigned reply, struct span text)
{
	struct visit *v = h->visit;

	if (h->sent <= MILTER_HELO) {
		h->state = HOOK_REFUSES;
		h->status = status;
		h->reply = reply;
		buf_reset(&h->text);
		buf_put(&h->text, text);
	}
	visit_refuse(v, status, reply, text);
	visit_why(v, way_name(&h->way), "%s refused", milter_event_name(h->sent));
}

static void
refuse_by_code(struct hook *h, const struct milter_reply *r)
{
	unsigned general = r->code >= 500 ? STATUS_DENIED : STATUS_DENIED_TEMP;
	unsigned status = r->xcode.n ? status_find_code(r->xcode) : 0;
	struct buf text;

	if (!status || status_get(status)->class != status_get(general)->class)
		status = general;
	buf_init(&text, TEXT_CAP);
	milter_put_text(&text, r);
	note(h, h->sent, milter_reply_name(r->id), buf_span(&text));
	refuse(h, status, r->code, buf_span(&text));
	buf_free(&text);
}

/* A verdict or a wish. True: the question is answered. */
static bool
obey(struct hook *h, const struct milter_reply *r)
{
	struct visit *v = h->visit;

	h->awaiting = false;
	if (r->id == MILTER_SAYS_CONTINUE)
		return false;
	if (r->id == MILTER_SAYS_SKIP) {
		h->next = MILTER_END;
		return false;
	}
	if (r->id == MILTER_SAYS_REPLYCODE) {
		refuse_by_code(h, r);
		return true;
	}
	if (r->id != MILTER_SAYS_ACCEPT)
		note(h, h->sent, milter_reply_name(r->id), SPAN_NONE);
	switch (r->id) {
	case MILTER_SAYS_ACCEPT:
		h->done = true;
		if (h->sent <= MILTER_HELO)
			h->state = HOOK_CONTENT;
		break;
	case MILTER_SAYS_DISCARD:
		v->verdict.discard = v->verdict.note = true;
		visit_why(v, way_name(&h->way), "discard");
		break;
	case MILTER_SAYS_REJECT:
		refuse(h, STATUS_DENIED, 0, SPAN("Command rejected"));
		break;
	case MILTER_SAYS_SHUTDOWN:
		refuse(h, STATUS_NOT_ACCEPTING, 421, SPAN_NONE);
		break;
	default: /* TEMPFAIL, CONNFAIL */
		refuse(h, STATUS_DENIED_TEMP, 451, SPAN("Service unavailable - try again later"));
		break;
	}
	return true;
}

static void
on_reply(struct hook *h, struct span packet)
{
	struct milter_reply r;
	struct fail why;

	if (!h->awaiting) {
		broken(h, "an answer that was not asked for");
		return;
	}
	if (!milter_take(&h->milter, h->sent, packet, &r, &why)) {
		broken(h, why.text);
		return;
	}
	if (r.id == MILTER_SAYS_PROGRESS || r.id >= MILTER_SAYS_ADDHEADER) {
		stream_deadline(&h->stream, conf_of(h)->milter_content_timeout);
		if (r.id != MILTER_SAYS_PROGRESS && !change_do(h->visit, way_name(&h->way), &r, &why))
			broken(h, why.text);
		return;
	}
	if (h->sent == MILTER_END) {
		letter_replaced(h->visit);
		h->in_message = false;
	}
	if (obey(h, &r))
		finish(h);
	else
		go_on(h);
}

static void
on_negotiated(struct hook *h, struct span packet)
{
	struct fail why;

	if (!milter_negotiated(&h->milter, packet, &why)) {
		broken(h, why.text);
		return;
	}
	h->state = HOOK_OPEN;
	h->awaiting = false;
	h->next = MILTER_CONNECT;
	go_on(h);
}

/* A packet is copied: what it leads to may close the stream that it lies in. */
static void
take_packet(struct hook *h, struct span packet, size_t eat, bool more)
{
	struct buf copy;

	buf_init(&copy, packet.n + 1);
	buf_put(&copy, packet);
	stream_eat(&h->stream, eat);
	if (more)
		stream_again(&h->stream);
	if (h->state == HOOK_NEGOTIATING)
		on_negotiated(h, buf_span(&copy));
	else
		on_reply(h, buf_span(&copy));
	buf_free(&copy);
}

static void
on_input(struct stream *s)
{
	struct hook *h = OWNER_OF(s, struct hook, stream);
	struct span in = stream_input(s), all = in, packet;
	enum milter_step step = milter_next(&in, &packet);

	if (step == MILTER_PACKET)
		take_packet(h, packet, all.n - in.n, in.n > 0);
	else if (step == MILTER_BAD)
		broken(h, "not the milter protocol");
}

static void
on_connected(struct stream *s)
{
	struct hook *h = OWNER_OF(s, struct hook, stream);

	h->state = HOOK_NEGOTIATING;
	milter_put_offer(stream_out(s));
	stream_deadline(s, conf_of(h)->milter_command_timeout);
}

static void
on_drain(struct stream *s)
{
	go_on(OWNER_OF(s, struct hook, stream));
}

static void
on_timeout(struct stream *s)
{
	broken(OWNER_OF(s, struct hook, stream), "timeout");
}

static void
on_closed(struct stream *s, enum stream_why why)
{
	struct hook *h = OWNER_OF(s, struct hook, stream);

	if (h->pending) {
		broken(h, why == STREAM_CONNECT ? stream_failure(s)->text : "connection lost");
		return;
	}
	close_hook(h); /* between questions: asked again at the next MAIL; before that it is missed */
}

static const struct stream_events events = {
	.on_input = on_input,
	.on_drain = on_drain,
	.on_connected = on_connected,
	.on_timeout = on_timeout,
	.on_closed = on_closed,
};

/* ---- questions ---- */

static bool
find_filter(struct hook *h, struct fail *why)
{
	return !h->way.host[0] || names_find(&h->visit->front->verifyd->names, span_str(h->way.host), h->way.port, &h->way.to, why);
}

static void
connect_hook(struct hook *h)
{
	static const struct stream_limits limits = { .in_cap = IN_CAP, .out_cap = OUT_CAP };
	struct visit *v = h->visit;
	struct fail why;

	h->sent = MILTER_CONNECT;
	h->state = HOOK_CONNECTING;
	if (find_filter(h, &why) && stream_connect(&h->stream, v->front->verifyd->service->loop, &h->way.to, NULL, conf_of(h)->milter_connect_timeout, &events, &limits, &why))
		return;
	h->pending = false; /* the visit goes on by itself */
	broken(h, why.text);
	use_default(h);
}

static enum milter_event
first_event(const struct hook *h, enum visit_stage stage)
{
	static const enum milter_event first[] = { MILTER_MAIL, MILTER_RCPT, MILTER_DATA, MILTER_HEADER };

	if (stage != VISIT_MAIL)
		return first[stage];
	if (!h->told_connect)
		return MILTER_CONNECT;
	return span_eq(buf_span(&h->helo), h->visit->facts.helo) ? MILTER_MAIL : MILTER_HELO;
}

static void
begin_content(struct hook *h)
{
	h->field = edit_next(&h->visit->letter.edit, NULL);
	h->body_at = 0;
}

bool
hook_ask(struct hook *h, enum visit_stage stage)
{
	static const enum milter_event goals[] = { MILTER_MAIL, MILTER_RCPT, MILTER_DATA, MILTER_END };

	if (h->state == HOOK_REFUSES) {
		visit_refuse(h->visit, h->status, h->reply, buf_span(&h->text));
		visit_why(h->visit, way_name(&h->way), "refused this session");
		return false;
	}
	if (stage == VISIT_MAIL)
		h->done = false;
	if (h->state == HOOK_CONTENT || h->done)
		return false;
	h->goal = goals[stage];
	h->pending = true;
	if (h->state == HOOK_CLOSED && stage == VISIT_MAIL) {
		connect_hook(h);
		return h->pending;
	}
	if (h->state == HOOK_CLOSED) {
		h->sent = h->goal;
		h->pending = false;
		broken(h, "it had closed its connection");
		use_default(h);
		return false;
	}
	h->next = first_event(h, stage);
	if (stage == VISIT_END)
		begin_content(h);
	/* What goes out at once and is not answered must not call visit_go_on() from here. */
	while (!h->awaiting && h->next <= h->goal && !stream_full(&h->stream))
		send_event(h, h->next);
	h->pending = h->awaiting || h->next <= h->goal;
	if (!h->pending)
		stream_deadline(&h->stream, 0);
	return h->pending;
}

void
hook_reset(struct hook *h)
{
	if (h->pending || h->awaiting) { /* its answer would be taken for another one's */
		h->pending = false;
		close_hook(h);
		return;
	}
	if (h->in_message && h->state == HOOK_OPEN)
		milter_put_abort(stream_out(&h->stream));
	h->in_message = false;
}

bool
hook_wants_content(const struct hook *h)
{
	return h->state == HOOK_OPEN && !h->done;
}
