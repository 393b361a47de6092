/* SPDX-License-Identifier: ISC */
#include "daemons/remoted/session.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#include "base/base64.h"
#include "daemons/remoted/job.h"
#include "daemons/remoted/pool.h"
#include "daemons/remoted/remoted.h"
#include "daemons/remoted/tlsreport.h"
#include "net/shun.h"

static const struct stream_limits limits = { .in_cap = 16384, .out_cap = 8 * CONTENT_BLOCK };

static void pump(struct session *s);

static struct session *
session_of(struct stream *stream)
{
	return OWNER_OF(stream, struct session, stream);
}

static void
forget_login(struct session *s)
{
	if (s->login)
		explicit_bzero(s->login, s->login_n);
	free(s->login);
}

void
session_free(struct session *s)
{
	struct remoted *r = s->remoted;

	stream_close(&s->stream);
	list_remove(&s->node);
	pool_remove(s);
	client_free(&s->client);
	policy_unref(&s->policy);
	forget_login(s);
	r->nsessions--;
	free(s);
	remoted_check_stop(r);
}

static void
tell_job(struct session *s, enum session_over over)
{
	struct job *job = s->job;

	s->job = NULL;
	s->plan = NULL;
	s->writing = false;
	job_session_over(job, s, over);
}

/* --- content ------------------------------------------------------------- */

static void
write_content(struct session *s)
{
	if (!s->writing) {
		content_writer_init(&s->writer, job_content(s->job), s->client.chunked);
		s->writing = true;
	}
	switch (content_write(&s->writer, &s->stream)) {
	case CONTENT_BLOCKED:
		return;
	case CONTENT_UNREADABLE:
		client_content_failed(&s->client, SPAN("it cannot be read"));
		break;
	case CONTENT_WRITTEN:
		client_content_sent(&s->client);
		break;
	}
	s->writing = false;
}

/* --- TLS --------------------------------------------------------------------- */

/* Only of a session that begins: its job is there. */
static void
report_tls(const struct session *s, const char *result, struct span why)
{
	if (s->plan && s->job)
		tlsreport(job_hop(s->job), s->plan, span_str(s->peer), result, why);
}

static void
start_tls(struct session *s)
{
	const struct tlsplan *plan = s->plan;
	struct tls_want want = { .level = (enum tls_level)s->settings.tls };
	struct netaddr literal;
	struct fail why = { .text = "" };

	if (!s->policy->tls || !plan) {
		client_tls_done(&s->client, false, false, fail_text(&s->policy->tls_why));
		return;
	}
	want.names = plan->names;
	want.nnames = plan->nnames;
	want.tlsa = plan->tlsa;
	want.ntlsa = plan->ntlsa;
	want.only13 = plan->only13;
	want.peer = span_str(s->peer);
	want.certificate = plan->certificate;
	if (want.certificate.n && !signer_lend(s->remoted->signer, s->policy->tls, want.certificate, &why)) {
		log_put(LOG_failure, "%s", why.text);
		if (s->settings.tls >= CLIENT_TLS_ENCRYPT) { /* the mail can wait for it */
			client_tls_done(&s->client, false, false, fail_text(&why));
			return;
		}
		want.certificate = SPAN_NONE; /* hidden by TLS without one, rather than seen by all */
	}
	if (!netaddr_parse(plan->sni, 0, &literal))
		want.sni = plan->sni;
	if (!stream_tls_connect(&s->stream, s->policy->tls, &want, &why))
		client_tls_done(&s->client, false, false, fail_text(&why));
}

static void
on_tls(struct stream *stream, const struct tls_facts *facts)
{
	struct session *s = session_of(stream);
	bool judged = s->plan && s->plan->kind != TLSPLAN_NO_POLICY && s->plan->level != TLS_LEVEL_ENCRYPT;

	(void)snprintf(s->tls_text, sizeof(s->tls_text), "%s %s %s%s", facts->version, facts->cipher,
	    !facts->verified ? "unverified" : s->settings.tls == CLIENT_TLS_DANE ? "verified by TLSA" : "verified", facts->resumed ? ", resumed" : "");
	report_tls(s, tlsplan_result(judged ? facts->problem : TLS_PROBLEM_NONE, true), judged ? span_str(facts->verify_text) : SPAN_NONE);
	client_tls_done(&s->client, true, facts->verified, span_str(facts->verify_text));
	pump(s);
}

/* --- the pump ------------------------------------------------------------------ */

/* Feeds what has come. */
static void
feed(struct session *s)
{
	struct span in = stream_input(&s->stream);
	size_t n = in.n;

	client_feed(&s->client, &in);
	if (n > in.n)
		stream_eat(&s->stream, n - in.n);
}

static void
set_timeout(struct session *s)
{
	int64_t ms = client_timeout_ms(&s->client);

	/* While bytes are on their way each of them counts; a reply has its whole time only. */
	if (s->client.state == CLIENT_STATE_content || s->client.state == CLIENT_STATE_final)
		stream_timeout(&s->stream, ms);
	else if (s->client.state != CLIENT_STATE_idle)
		stream_deadline(&s->stream, ms);
}

static bool
offers_tls(const struct session *s)
{
	return (s->client.extensions & CLIENT_EXT(STARTTLS)) != 0;
}

static void
report_no_tls(const struct session *s)
{
	report_tls(s, tlsplan_result(TLS_PROBLEM_HANDSHAKE, offers_tls(s)), s->client.end == CLIENT_GOING ? SPAN_NONE : s->client.why.text);
}

static void
note_times(struct session *s)
{
	if (s->client.state < CLIENT_STATE_idle || s->greeted_ms)
		return;
	s->greeted_ms = s->mail_ms = loop_now_ms(s->remoted->loop);
	if (s->client.end == CLIENT_GOING && !s->client.tls && !offers_tls(s) && s->plan && s->plan->kind != TLSPLAN_NO_POLICY)
		report_no_tls(s);
}

/* The message is over: the next job, or the pool. */
static void
rest(struct session *s)
{
	bool unread = stream_input(&s->stream).n > 0;

	if (s->job)
		tell_job(s, SESSION_DONE);
	if (unread || s->client.state != CLIENT_STATE_idle || !pool_put(s)) {
		client_quit(&s->client);
		set_timeout(s);
	}
}

/* TLS is closed properly: OpenSSL lets no session be resumed whose connection just went. */
static void
leave(struct session *s)
{
	if (stream_is_tls(&s->stream) && (s->client.end == CLIENT_GOODBYE || s->client.end == CLIENT_REFUSED))
		stream_finish(&s->stream);
	else
		session_free(s);
}

/* Moves the core as far as it goes; s may be gone afterwards. */
static void
pump(struct session *s)
{
	enum client_want want;

	for (;;) {
		enum client_state before = s->client.state;
		size_t unread = stream_input(&s->stream).n;

		if (unread && before != CLIENT_STATE_handshake)
			feed(s);
		note_times(s);
		want = client_want(&s->client);
		if (want == CLIENT_WANT_CONTENT)
			write_content(s);
		else if (want == CLIENT_WANT_TLS && !stream_is_tls(&s->stream))
			start_tls(s);
		else if (want == CLIENT_WANT_MAIL && !list_linked(&s->idle))
			rest(s);
		if (s->client.state == before && stream_input(&s->stream).n == unread)
			break;
	}
	(void)stream_out(&s->stream); /* what the core has put there leaves at the end of the turn */
	if (s->client.end == CLIENT_NO_TLS && !s->client.tls)
		report_no_tls(s);
	if (s->client.end != CLIENT_GOING && s->job)
		tell_job(s, SESSION_ENDED); /* a QUIT may still be on its way */
	if (s->client.state == CLIENT_STATE_closed)
		leave(s);
	else
		set_timeout(s);
}

static void
on_input(struct stream *stream)
{
	struct session *s = session_of(stream);

	if (list_linked(&s->idle)) { /* 421, or what nobody asked for: not to be used again */
		pool_remove(s);
		feed(s);
		client_quit(&s->client);
	}
	pump(s);
}

static void
on_drain(struct stream *stream)
{
	pump(session_of(stream));
}

static void
on_connected(struct stream *stream)
{
	struct session *s = session_of(stream);

	s->connected = true;
	set_timeout(s);
}

static void
no_handshake(struct session *s, enum tls_problem problem, struct span why)
{
	report_tls(s, tlsplan_result(problem, true), why);
	client_tls_done(&s->client, false, false, why);
}

static void
on_timeout(struct stream *stream)
{
	struct session *s = session_of(stream);

	if (!s->connected) {
		(void)snprintf(s->failure, sizeof(s->failure), "connection timed out");
		if (s->job)
			tell_job(s, SESSION_UNREACHABLE);
		session_free(s);
		return;
	}
	if (list_linked(&s->idle)) {
		session_quit(s);
		return;
	}
	if (s->client.state == CLIENT_STATE_handshake)
		no_handshake(s, TLS_PROBLEM_HANDSHAKE, SPAN("timeout"));
	else
		client_timed_out(&s->client);
	pump(s);
}

static void
on_closed(struct stream *stream, enum stream_why why)
{
	struct session *s = session_of(stream);
	struct span text = fail_text(stream_failure(stream));

	if (!s->connected) {
		if (span_starts(text, SPAN("connecting: "))) /* the job says to whom */
			text = span_from(text, sizeof("connecting: ") - 1);
		(void)span_cstr(text, s->failure, sizeof(s->failure));
		if (s->job)
			tell_job(s, SESSION_UNREACHABLE);
		session_free(s);
		return;
	}
	if (s->client.state == CLIENT_STATE_handshake)
		no_handshake(s, (enum tls_problem)stream->tls_problem, text);
	else
		client_lost(&s->client, why == STREAM_EOF ? SPAN("closed by the peer") : text);
	if (s->job)
		tell_job(s, SESSION_ENDED);
	session_free(s);
}

static const struct stream_events events = {
	.on_input = on_input,
	.on_drain = on_drain,
	.on_connected = on_connected,
	.on_tls = on_tls,
	.on_timeout = on_timeout,
	.on_closed = on_closed,
};

/* --- life -------------------------------------------------------------------------- */

_Static_assert((int)CLIENT_TLS_NONE == (int)TLS_LEVEL_NONE && (int)CLIENT_TLS_VERIFY == (int)TLS_LEVEL_VERIFY &&
    (int)CLIENT_TLS_DANE == (int)TLS_LEVEL_DANE, "a plan's level is the core's");

static void
name_peer(struct session *s, const struct destination_target *target)
{
	char text[NETADDR_TEXT];

	(void)span_cstr(target->host, s->host, sizeof(s->host));
	s->address = target->address;
	if (netaddr_family(&s->address) == AF_UNIX)
		(void)snprintf(s->peer, sizeof(s->peer), "%.*s", SPAN_ARG(target->host));
	else
		(void)snprintf(s->peer, sizeof(s->peer), "%s[%.*s]:%u", s->host, SPAN_ARG(netaddr_text(&s->address, text)), netaddr_port(&s->address));
}

/* 18 random bytes are 24 characters. */
static bool
make_nonce(char nonce[SCRAM_NONCE + 1])
{
	char bytes[SCRAM_NONCE / 4 * 3];
	struct buf text;
	bool ok = getrandom(bytes, sizeof(bytes), 0) == (ssize_t)sizeof(bytes);

	buf_init(&text, 64);
	base64_encode(&text, span_of(bytes, sizeof(bytes)));
	ok = ok && span_cstr(buf_span(&text), nonce, SCRAM_NONCE + 1);
	buf_free(&text);
	return ok;
}

static bool
binding(void *arg, struct span type, struct buf *out)
{
	return stream_binding(&((struct session *)arg)->stream, type, out);
}

/* The job may be gone before the session is. */
static bool
take_login(struct session *s, struct span login)
{
	struct span rest, user;

	if (!login.n)
		return true;
	s->login = malloc(login.n);
	s->login_n = login.n;
	if (!s->login || !make_nonce(s->nonce))
		return false;
	memcpy(s->login, login.p, login.n);
	rest = span_of(s->login, login.n);
	user = span_cut(&rest, ':');
	s->settings.login = (struct client_login){
		.user = user,
		.password = rest,
		.nonce = span_str(s->nonce),
		.mechanisms = s->policy->mechanisms,
		.binding = binding,
		.arg = s,
		.plaintext = netaddr_loopback(&s->address) || netaddr_family(&s->address) == AF_UNIX,
	};
	return true;
}

static void
settle_in(struct session *s, enum tls_level level, bool lmtp)
{
	s->settings = (struct client_settings){
		.helo = span_str(s->policy->helo),
		.myself = !lmtp && netaddr_port(&s->address) == s->policy->rules.own_port ? span_str(s->policy->myself) : SPAN_NONE,
		.tls = (enum client_tls)level,
		.lmtp = lmtp,
		.send_8bit_anyway = s->policy->send_8bit_anyway,
		.chunking = s->policy->chunking,
		.timeouts = s->policy->timeouts,
	};
	if (!s->policy->tls && s->settings.tls == CLIENT_TLS_MAY)
		s->settings.tls = CLIENT_TLS_NONE;
	client_init(&s->client, &s->settings, &s->stream.out);
}

struct session *
session_open(struct remoted *r, struct job *job, const struct destination_target *target, struct span key,
    const struct tlsplan *plan, enum tls_level level, bool lmtp, int64_t connect_ms, struct fail *why)
{
	struct session *s = calloc(1, sizeof(*s));
	struct netaddr from;
	bool bound;

	if (!s) {
		(void)fail_set(why, FAIL_TEMP, 0, "no memory for a session");
		return NULL;
	}
	s->remoted = r;
	s->policy = policy_ref(job_policy(job));
	name_peer(s, target);
	(void)span_cstr(key, s->key, sizeof(s->key));
	bound = job_source(job, netaddr_family(&s->address), &from);
	s->opened_ms = loop_now_ms(r->loop);
	if (shun_host(r->loop, &s->address)) {
		(void)fail_set(why, FAIL_TEMP, 0, "is in quarantine: its sessions have crashed remoted");
		policy_unref(&s->policy);
		free(s);
		return NULL;
	}
	if (!stream_connect(&s->stream, r->loop, &s->address, bound ? &from : NULL, connect_ms, &events, &limits, why)) {
		policy_unref(&s->policy);
		free(s);
		return NULL;
	}
	(void)stream_whose(&s->stream, &s->address, false);
	s->stream.whose.about = job_message(job);
	s->plan = plan;
	settle_in(s, level, lmtp);
	if (!take_login(s, job_login(job))) {
		(void)fail_set(why, FAIL_TEMP, 0, "no memory to log in");
		stream_close(&s->stream);
		client_free(&s->client);
		policy_unref(&s->policy);
		forget_login(s);
		free(s);
		return NULL;
	}
	s->job = job;
	client_start(&s->client, job_mail(job));
	list_push(&r->sessions, &s->node);
	r->nsessions++;
	return s;
}

void
session_reuse(struct session *s, struct job *job)
{
	pool_remove(s);
	s->job = job;
	s->stream.whose.about = job_message(job);
	s->reused = true;
	s->mail_ms = loop_now_ms(s->remoted->loop);
	client_start(&s->client, job_mail(job));
	pump(s); /* a message this peer cannot take is settled before a byte is sent */
}

void
session_abandon(struct session *s)
{
	s->job = NULL;
	s->plan = NULL;
	if (!s->connected || s->client.state == CLIENT_STATE_content || s->client.state == CLIENT_STATE_handshake) {
		session_free(s);
		return;
	}
	client_quit(&s->client);
	(void)stream_out(&s->stream);
	set_timeout(s);
}

void
session_quit(struct session *s)
{
	pool_remove(s);
	client_quit(&s->client);
	(void)stream_out(&s->stream);
	set_timeout(s);
}
