/* SPDX-License-Identifier: ISC */
#include "asker.h"

#include "mail/status.h"

enum {
	IN_CAP = DELEGATE_ANSWER_MAX + 64,
	OUT_CAP = 65536,
	ARENA = 65536,
};

static const struct conf *
conf_of(const struct asker *a)
{
	return a->visit->front->verifyd->service->conf;
}

bool
asker_init(struct asker *a, struct visit *v, struct span address, enum visit_stage stage)
{
	struct fail why;

	*a = (struct asker){ .visit = v, .stages = 1u << stage };
	if (way_parse(address, &a->way, &why))
		return true;
	log_put(LOG_failure, "%s", why.text);
	return false;
}

void
asker_free(struct asker *a)
{
	stream_close(&a->stream);
}

static void
finish(struct asker *a)
{
	if (stream_is_open(&a->stream))
		stream_deadline(&a->stream, 0);
	if (a->pending) {
		a->pending = false;
		visit_go_on(a->visit);
	}
}

static void
put_verdict(struct asker *a, const struct delegate_answer *d)
{
	struct visit *v = a->visit;

	if (d->status)
		visit_refuse(v, d->status, d->reply, d->text);
	v->verdict.hold |= d->hold;
	v->verdict.discard |= d->discard;
	v->verdict.note |= d->note;
	buf_put(&v->verdict.prepend, d->prepend);
	if (d->redirect.n) {
		buf_reset(&v->verdict.redirect);
		buf_put(&v->verdict.redirect, d->redirect);
	}
	if (d->status || d->note) {
		visit_why(v, way_name(&a->way), "%.*s", SPAN_ARG(d->action));
		log_put(LOG_filter, "session=%.*s%s%s filter=%s to=<%.*s> action=%.*s", SPAN_ARG(v->facts.session), v->facts.queue_id[0] ? " id=" : "",
		    v->facts.queue_id, a->way.text, SPAN_ARG(v->facts.rcpt), SPAN_ARG(d->action));
	}
}

static void
use_default(struct asker *a)
{
	struct span in;
	struct buf line;
	struct arena arena;
	struct delegate_answer d;
	struct fail why;

	buf_init(&line, 2048);
	arena_init(&arena, ARENA);
	buf_printf(&line, "action=%.*s\n\n", SPAN_ARG(conf_of(a)->smtpd_policy_service_default_action));
	in = buf_span(&line);
	if (delegate_next(&in, &arena, &d, &why) == DELEGATE_ANSWER)
		put_verdict(a, &d);
	else
		visit_refuse(a->visit, STATUS_MISCONFIGURED, 0, SPAN_NONE);
	arena_free(&arena);
	buf_free(&line);
}

static void
broken(struct asker *a, const char *what)
{
	a->visit->front->verifyd->failures++;
	if (a->way.host[0])
		names_blame(&a->visit->front->verifyd->names, span_str(a->way.host));
	log_put(LOG_failure, "session=%.*s policy service=%s: %s", SPAN_ARG(a->visit->facts.session), a->way.text, what);
	stream_close(&a->stream);
	use_default(a);
	finish(a);
}

static void
put_tls(struct buf *out, struct span tls)
{
	struct span version = span_word(&tls), cipher, bits;

	(void)span_word(&tls); /* the word cipher */
	cipher = span_word(&tls);
	bits = span_word(&tls);
	delegate_put(out, "encryption_protocol", version);
	delegate_put(out, "encryption_cipher", cipher);
	delegate_put(out, "encryption_keysize", bits.n > 1 ? span_from(bits, 1) : SPAN("0"));
}

static void
put_request(struct asker *a, enum visit_stage stage)
{
	static const char *const states[] = { "MAIL", "RCPT", "DATA", "END-OF-MESSAGE" };
	const struct visit *v = a->visit;
	const struct facts *f = &v->facts;
	struct buf *out = stream_out(&a->stream);

	delegate_put(out, "request", SPAN("smtpd_access_policy"));
	delegate_put(out, "protocol_state", span_str(states[stage]));
	delegate_put(out, "protocol_name", f->protocol);
	delegate_put(out, "client_address", f->client_addr);
	delegate_put(out, "client_name", f->client_name);
	delegate_put_number(out, "client_port", f->client_port);
	delegate_put(out, "reverse_client_name", f->client_name);
	delegate_put(out, "helo_name", f->helo);
	delegate_put(out, "sender", f->sender);
	/* As Postfix: behind RCPT only where there is but one. */
	delegate_put(out, "recipient", stage == VISIT_RCPT || f->nrcpt == 1 ? f->rcpt : SPAN_NONE);
	delegate_put_number(out, "recipient_count", stage == VISIT_RCPT ? 0 : f->nrcpt);
	delegate_put(out, "queue_id", span_str(f->queue_id));
	delegate_put(out, "instance", arena_printf(&a->visit->mem, "%.*s.%llx", SPAN_ARG(f->session), (unsigned long long)v->letters));
	delegate_put_number(out, "size", stage == VISIT_END ? v->letter.body.size + buf_len(&v->letter.header) : f->size);
	delegate_put(out, "etrn_domain", SPAN_NONE);
	delegate_put(out, "stress", SPAN_NONE);
	delegate_put(out, "sasl_method", f->sasl_method);
	delegate_put(out, "sasl_username", f->sasl_user);
	delegate_put(out, "sasl_sender", SPAN_NONE);
	delegate_put(out, "ccert_subject", SPAN_NONE);
	delegate_put(out, "ccert_issuer", SPAN_NONE);
	delegate_put(out, "ccert_fingerprint", SPAN_NONE);
	delegate_put(out, "ccert_pubkey_fingerprint", SPAN_NONE);
	put_tls(out, f->tls);
	delegate_put_end(out);
	stream_deadline(&a->stream, conf_of(a)->smtpd_policy_service_timeout);
}

static void
on_input(struct stream *s)
{
	struct asker *a = OWNER_OF(s, struct asker, stream);
	struct span in = stream_input(s), all = in;
	struct delegate_answer d;
	enum delegate_step step;
	struct arena arena;
	struct fail why;

	arena_init(&arena, ARENA);
	step = delegate_next(&in, &arena, &d, &why);
	if (step == DELEGATE_ANSWER && a->pending) {
		stream_eat(s, all.n - in.n);
		a->used = true;
		put_verdict(a, &d);
		finish(a);
	} else if (step != DELEGATE_NEED) {
		if (a->pending)
			broken(a, step == DELEGATE_BAD ? why.text : "an answer that was not asked for");
		else
			stream_close(s);
	}
	arena_free(&arena);
}

static void
on_connected(struct stream *s)
{
	struct asker *a = OWNER_OF(s, struct asker, stream);

	put_request(a, visit_stage(a->visit));
}

static void
on_timeout(struct stream *s)
{
	broken(OWNER_OF(s, struct asker, stream), "timeout");
}

static bool connect_asker(struct asker *a, struct fail *why);

/* A service may close a connection that has been idle: the question is put once more on a new one. */
static void
on_closed(struct stream *s, enum stream_why reason)
{
	struct asker *a = OWNER_OF(s, struct asker, stream);
	struct fail why = *stream_failure(s);

	if (!a->pending)
		return;
	if (reason != STREAM_CONNECT && a->used) {
		stream_close(s);
		if (connect_asker(a, &why))
			return;
	}
	broken(a, why.text[0] ? why.text : "connection lost");
}

static const struct stream_events events = {
	.on_input = on_input,
	.on_connected = on_connected,
	.on_timeout = on_timeout,
	.on_closed = on_closed,
};

static bool
connect_asker(struct asker *a, struct fail *why)
{
	static const struct stream_limits limits = { .in_cap = IN_CAP, .out_cap = OUT_CAP };

	a->used = false;
	if (a->way.host[0] && !names_find(&a->visit->front->verifyd->names, span_str(a->way.host), a->way.port, &a->way.to, why))
		return false;
	return stream_connect(&a->stream, a->visit->front->verifyd->service->loop, &a->way.to, NULL, conf_of(a)->smtpd_policy_service_timeout,
	    &events, &limits, why);
}

bool
asker_ask(struct asker *a, enum visit_stage stage)
{
	struct fail why;

	if (!(a->stages & 1u << stage))
		return false;
	a->pending = true;
	if (stream_is_open(&a->stream)) {
		put_request(a, stage);
		return true;
	}
	if (connect_asker(a, &why))
		return true;
	a->pending = false; /* the visit goes on by itself */
	broken(a, why.text);
	return false;
}

void
asker_reset(struct asker *a)
{
	if (a->pending)
		stream_close(&a->stream); /* its answer would be taken for another one's */
	a->pending = false;
}
