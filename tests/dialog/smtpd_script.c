/* SPDX-License-Identifier: ISC */
#include "smtpd_script.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "daemons/smtpd/session.h"
#include "daemons/smtpd/transaction.h"
#include "mail/status.h"
#include "net/netaddr.h"
#include "filter_script.h"
#include "scram_script.h"

enum { RULES = 32, DUE = 256, CONF_TEXT = 65536 };

enum sibling { ROUTED, AUTHD, QUEUED, VERIFYD, SIBLINGS, FLUSHED /* queued, of another matter */ };

struct rule {
	struct span pattern; /* into the arena */
	unsigned status;     /* 0: silent */
	struct span text;
};

/* An answer on its way. */
struct due {
	enum sibling from;
	uint64_t id;
	unsigned status;
	struct span text;
	struct span challenge, signature; /* of SCRAM */
	struct span error;                /* of a token */
};

struct script {
	struct dialog *dialog;
	struct session session;
	struct policy policy;
	struct session_peer peer;
	const struct conf *conf;
	struct arena mem;
	struct buf settings, listener;
	bool started, closed, full;
	bool away[SIBLINGS];
	struct rule rcpt[RULES], auth[RULES];
	size_t nrcpt, nauth;
	struct ipc_rcpt_answer access; /* what access rules add to answers that are none of a refusal */
	struct rule queued; /* for the end; status STATUS_OK: accepted */
	unsigned early;     /* queued refuses at the first data */
	struct due due[DUE];
	size_t first, last;
	uint64_t next_id, queue_id;
	struct scram_script scram;
	uint64_t pending; /* messages that ETRN finds; UINT64_MAX: queued is silent */
	struct filter_script filter;
	struct buf output, content;
	int64_t left_ms;
	unsigned progress, wait;
};

static void
push(struct script *x, struct due due)
{
	if (x->last < DUE)
		x->due[x->last++] = due;
}

/* Ports. */

static struct buf *
port_output(void *owner)
{
	return &((struct script *)owner)->output;
}

static const struct rule *
match(const struct rule *rules, size_t n, struct span text)
{
	for (size_t i = 0; i < n; i++)
		if (dialog_match(rules[i].pattern, text))
			return &rules[i];
	return NULL;
}

static bool
port_ask_rcpt(void *owner, struct ipc_rcpt_ask *m)
{
	struct script *x = owner;
	static const char *const words[] = { [RCPT_FIRST] = " first", [RCPT_FURTHER] = "", [RCPT_VRFY] = " vrfy", [RCPT_CONNECTION] = "" };
	struct span about = m->about == RCPT_CONNECTION ? SPAN("connection") : m->address;
	const struct rule *r = match(x->rcpt, x->nrcpt, about);

	dialog_action(x->dialog, "ask %.*s%s from=<%.*s> relay=%s user=%.*s client=%.*s", SPAN_ARG(about), words[m->about], SPAN_ARG(m->sender),
	    m->may_relay ? "yes" : "no", SPAN_ARG(m->sasl_user), SPAN_ARG(m->client_addr));
	if (x->away[ROUTED])
		return false;
	m->id = ++x->next_id;
	if (!r || r->status)
		push(x, (struct due){ .from = ROUTED, .id = m->id, .status = r ? r->status : STATUS_RECIPIENT_OK, .text = r ? r->text : SPAN_NONE });
	return true;
}

/* What the rule says, or a refusal; false: authd is away. */
static bool
auth_answers(struct script *x, const struct rule *r, uint64_t *id)
{
	if (x->away[AUTHD])
		return false;
	*id = ++x->next_id;
	if (!r || r->status)
		push(x, (struct due){ .from = AUTHD, .id = *id, .status = r ? r->status : STATUS_AUTH_FAILED, .text = r ? r->text : SPAN_NONE });
	return true;
}

static bool
port_ask_auth(void *owner, struct ipc_auth_ask *m)
{
	struct script *x = owner;
	struct span key = arena_printf(&x->mem, "%.*s:%.*s", SPAN_ARG(m->user), SPAN_ARG(m->password));
	const struct rule *r = match(x->auth, x->nauth, key);

	dialog_action(x->dialog, "login %.*s %.*s authzid=%.*s tls=%s", SPAN_ARG(m->mechanism), SPAN_ARG(m->user),
	    SPAN_ARG(m->authzid), m->tls ? "yes" : "no");
	return auth_answers(x, r, &m->id);
}

static bool
port_ask_certificate(void *owner, struct ipc_auth_certificate *m)
{
	struct script *x = owner;
	struct span key = arena_printf(&x->mem, "%.*s:%.*s", SPAN_ARG(m->authzid), SPAN_ARG(m->subject));
	const struct rule *r = match(x->auth, x->nauth, key);

	dialog_action(x->dialog, "certificate %.*s trusted=%s authzid=%.*s", SPAN_ARG(m->subject), m->trusted ? "yes" : "no", SPAN_ARG(m->authzid));
	return auth_answers(x, r, &m->id);
}

static bool
port_ask_token(void *owner, struct ipc_auth_token *m)
{
	struct script *x = owner;
	struct span key = arena_printf(&x->mem, "%.*s:%.*s", SPAN_ARG(m->user), SPAN_ARG(m->token));
	const struct rule *r = match(x->auth, x->nauth, key);
	unsigned status = r ? r->status : STATUS_AUTH_FAILED;

	dialog_action(x->dialog, "token %.*s %.*s", SPAN_ARG(m->mechanism), SPAN_ARG(m->user));
	if (x->away[AUTHD])
		return false;
	m->id = ++x->next_id;
	if (status)
		push(x, (struct due){ .from = AUTHD, .id = m->id, .status = status, .text = r ? r->text : SPAN_NONE,
			.error = status == STATUS_AUTH_FAILED ? SPAN("{\"status\":\"invalid_token\"}") : SPAN_NONE });
	return true;
}

static bool
port_ask_scram(void *owner, struct ipc_auth_scram *m)
{
	struct script *x = owner;

	dialog_action(x->dialog, "scram %.*s %.*s authzid=%.*s tls=%s", SPAN_ARG(m->mechanism), SPAN_ARG(m->user), SPAN_ARG(m->authzid),
	    m->tls ? "yes" : "no");
	if (x->away[AUTHD])
		return false;
	m->id = ++x->next_id;
	scram_script_begin(&x->scram, m->user, m->bare, m->nonce);
	push(x, (struct due){ .from = AUTHD, .id = m->id, .status = STATUS_AUTH_OK, .challenge = span_str(x->scram.challenge) });
	return true;
}

static bool
port_ask_proof(void *owner, const struct ipc_auth_proof *m)
{
	struct script *x = owner;
	bool good = scram_script_prove(&x->scram, m->without_proof, m->proof);

	dialog_action(x->dialog, "proof %s", good ? "right" : "wrong");
	if (x->away[AUTHD])
		return false;
	push(x, (struct due){ .from = AUTHD, .id = m->id, .status = good ? STATUS_AUTH_OK : STATUS_AUTH_FAILED, .text = SPAN("user@example.test"),
		.signature = good ? span_of(x->scram.signature, sizeof(x->scram.signature)) : SPAN_NONE });
	return true;
}

static bool
port_binding(void *owner, struct span type, struct buf *out)
{
	(void)owner;
	return scram_script_binding(NULL, type, out);
}

static bool
port_ask_flush(void *owner, struct ipc_intake_flush *m)
{
	struct script *x = owner;

	dialog_action(x->dialog, "flush %.*s%s", SPAN_ARG(m->domain), m->below ? " and below" : "");
	if (x->away[QUEUED])
		return false;
	m->id = ++x->next_id;
	if (x->pending != UINT64_MAX)
		push(x, (struct due){ .from = FLUSHED, .id = m->id, .status = STATUS_OK });
	return true;
}

static uint64_t
port_new_queue_id(void *owner)
{
	return ++((struct script *)owner)->queue_id;
}

static int64_t
port_time(void *owner)
{
	(void)owner;
	return 1000000000;
}

static bool
port_intake_open(void *owner, const struct ipc_intake_open *m)
{
	struct script *x = owner;

	if (x->away[QUEUED])
		return false;
	dialog_action(x->dialog, "open from=<%.*s> client=%.*s[%.*s] helo=%.*s with=%.*s user=%.*s ret=%u envid=%.*s body8=%s utf8=%s size=%llu%s%s%s",
	    SPAN_ARG(m->sender), SPAN_ARG(m->client_name), SPAN_ARG(m->client_addr), SPAN_ARG(m->helo), SPAN_ARG(m->protocol),
	    SPAN_ARG(m->sasl_user), m->ret, SPAN_ARG(m->envid), m->body8 ? "yes" : "no", m->smtputf8 ? "yes" : "no", (unsigned long long)m->size, m->hold ? " hold" : "", m->binary ? " binary" : "", m->requiretls ? " requiretls" : "");
	if (m->release_ms)
		dialog_action(x->dialog, "release in %llds", (long long)(m->release_ms / 1000 - port_time(x)));
	if (m->priority)
		dialog_action(x->dialog, "priority %d", m->priority - 10);
	if (m->by_mode)
		dialog_action(x->dialog, "by %llds mode %u", (long long)(m->by_ms / 1000 - port_time(x)), m->by_mode);
	buf_reset(&x->content);
	return true;
}

static bool
port_intake_rcpt(void *owner, const struct ipc_intake_rcpt *m)
{
	dialog_action(((struct script *)owner)->dialog, "to <%.*s> notify=%u orcpt=%.*s", SPAN_ARG(m->address), m->notify, SPAN_ARG(m->orcpt));
	return true;
}

static bool
port_intake_data(void *owner, const struct ipc_intake_data *m)
{
	struct script *x = owner;

	buf_put(&x->content, m->bytes);
	if (x->early)
		push(x, (struct due){ .from = QUEUED, .id = m->id, .status = x->early });
	return m->bytes.n <= IPC_DATA_MAX;
}

static bool
port_intake_end(void *owner, const struct ipc_intake_end *m)
{
	struct script *x = owner;

	dialog_action(x->dialog, "end size=%s message-id=%.*s%s", m->size == buf_len(&x->content) ? "right" : "wrong", SPAN_ARG(m->message_id),
	    m->tls_optional ? " tls-optional" : "");
	if (x->queued.status && !x->early)
		push(x, (struct due){ .from = QUEUED, .id = m->id, .status = x->queued.status, .text = x->queued.text });
	return true;
}

static void
port_intake_abort(void *owner, uint64_t id)
{
	struct script *x = owner;

	(void)id;
	dialog_action(x->dialog, "abort");
	for (size_t i = x->first; i < x->last; i++)
		if (x->due[i].from == QUEUED)
			x->due[i].id = UINT64_MAX; /* too late */
}

static bool
port_intake_full(void *owner)
{
	return ((struct script *)owner)->full;
}

static void
port_start_tls(void *owner)
{
	dialog_action(((struct script *)owner)->dialog, "starttls");
}

/* 10.0.0.0/8 is ours, and 10.0.0.1 the proxy. */
static bool
port_client_at(void *owner, struct span address, struct session_peer *who, struct buf *literal)
{
	struct netaddr a;

	(void)owner;
	if (!netaddr_parse(address, 0, &a))
		return false;
	netaddr_put_literal(literal, &a);
	*who = (struct session_peer){ .trusted = span_starts(address, SPAN("10.")), .xclient = span_eq(address, SPAN("10.0.0.1")) };
	return true;
}

static void
port_note(void *owner, enum session_note what, struct span text)
{
	static const char *const names[] = {
#define X(name, meaning) #name,
		SESSION_NOTES(X)
#undef X
	};

	struct script *x = owner;
	const struct session *s = &x->session;

	if (what == SESSION_NOTE_REJECT)
		dialog_action(x->dialog, "note REJECT %.*s; from=<%.*s> to=<%.*s> rule=%.*s", SPAN_ARG(text),
		    SPAN_ARG(s->mail ? s->mail->sender : s->from), SPAN_ARG(s->about), SPAN_ARG(s->rule));
	else
		dialog_action(x->dialog, "note %s %.*s", names[what], SPAN_ARG(text));
}

static bool
port_filter_mail(void *owner, struct ipc_filter_mail *m)
{
	return filter_script_mail(&((struct script *)owner)->filter, m);
}

static bool
port_filter(void *owner, unsigned type, const void *m)
{
	return filter_script_send(&((struct script *)owner)->filter, type, m);
}

static uint64_t
port_filter_question(void *owner)
{
	return ++((struct script *)owner)->next_id;
}

static const struct session_ports ports = {
	.output = port_output,
	.ask_rcpt = port_ask_rcpt,
	.ask_auth = port_ask_auth,
	.ask_scram = port_ask_scram,
	.ask_proof = port_ask_proof,
	.ask_certificate = port_ask_certificate,
	.ask_token = port_ask_token,
	.binding = port_binding,
	.ask_flush = port_ask_flush,
	.new_queue_id = port_new_queue_id,
	.intake_open = port_intake_open,
	.intake_rcpt = port_intake_rcpt,
	.intake_data = port_intake_data,
	.intake_end = port_intake_end,
	.intake_abort = port_intake_abort,
	.intake_full = port_intake_full,
	.intake_blocked = port_intake_full,
	.filter_mail = port_filter_mail,
	.filter = port_filter,
	.filter_question = port_filter_question,
	.filter_full = port_intake_full,
	.start_tls = port_start_tls,
	.time = port_time,
	.client_at = port_client_at,
	.note = port_note,
};

/* The runner's side. */

static void
emit(struct script *x)
{
	dialog_output(x->dialog, buf_span(&x->output));
	buf_reset(&x->output);
	if (x->progress != x->session.progress || x->wait != x->session.wait) {
		x->progress = x->session.progress;
		x->wait = x->session.wait;
		x->left_ms = session_wait_ms(&x->session);
	}
}

static void *
script_open(struct dialog *d)
{
	struct script *x = calloc(1, sizeof(*x));

	if (!x)
		return NULL;
	x->dialog = d;
	arena_init(&x->mem, CONF_ARENA_MAX);
	filter_script_init(&x->filter, d, &x->mem);
	buf_init(&x->settings, CONF_TEXT);
	buf_init(&x->listener, CONF_TEXT);
	buf_init(&x->output, 1 << 24);
	buf_init(&x->content, 1 << 26);
	x->peer = (struct session_peer){ .address = SPAN("192.0.2.1"), .literal = SPAN("[192.0.2.1]") };
	x->queued.status = STATUS_OK;
	x->queue_id = 0x123456789;
	return x;
}

/* What a dialog does not set. */
static void
put_defaults(struct script *x)
{
	static const struct {
		const char *name, *value;
	} defaults[] = {
		{ "myhostname", "mail.example.test" }, { "mydomain", "example.test" }, { "myorigin", "example.test" },
		{ "mynetworks", "10.0.0.0/8" },
	};
	char line[64];

	for (size_t i = 0; i < sizeof(defaults) / sizeof(*defaults); i++) {
		(void)snprintf(line, sizeof(line), "%s = ", defaults[i].name);
		if (span_find(buf_span(&x->settings), span_str(line)) == SIZE_MAX)
			buf_printf(&x->settings, "%s%s\n", line, defaults[i].value);
	}
}

static void
script_start(void *core)
{
	struct script *x = core;
	struct conf_errors errors = { .n = 0 };

	if (!buf_len(&x->listener))
		buf_puts(&x->listener, "listener smtp { address = \"127.0.0.1:25\"");
	put_defaults(x);
	buf_put(&x->settings, buf_span(&x->listener));
	buf_puts(&x->settings, " }\n");
	x->conf = conf_parse(buf_span(&x->settings), &x->mem, &errors);
	if (!x->conf || !x->conf->nlisteners) {
		dialog_output(x->dialog, span_str(errors.n ? errors.items[0].text : "no listener"));
		dialog_output(x->dialog, SPAN("\r\n"));
		x->closed = true;
		return;
	}
	policy_init(&x->policy, x->conf, &x->conf->listeners[0]);
	session_init(&x->session, &x->policy, &x->peer, &ports, x);
	x->started = true;
	session_ask_greeting(&x->session);
	emit(x);
}

static size_t
script_input(void *core, struct span bytes)
{
	struct script *x = core;
	size_t n = x->started ? session_input(&x->session, bytes) : bytes.n;

	if (x->started)
		emit(x);
	return n;
}

static void
answer_auth(struct script *x, const struct due *due)
{
	struct ipc_auth_answer m = { .id = due->id, .user = due->text, .signature = due->signature, .error = due->error };

	if (due->challenge.n) {
		session_on_challenge(&x->session, &(struct ipc_auth_challenge){ .id = due->id, .message = due->challenge });
		return;
	}
	m.ok = due->status == STATUS_AUTH_OK;
	m.temporary = status_temporary(due->status);
	session_on_auth(&x->session, &m);
}

static void
answer_intake(struct script *x, const struct due *due)
{
	struct ipc_intake_refused m = { .id = due->id, .status = (uint16_t)due->status, .text = due->text };

	if (due->status != STATUS_OK) {
		session_on_refused(&x->session, &m);
		return;
	}
	dialog_content(x->dialog, buf_span(&x->content));
	session_on_accepted(&x->session, due->id);
}

static void
answer_rcpt(struct script *x, const struct due *due)
{
	struct ipc_rcpt_answer m = { 0 };

	if (status_get(due->status)->class == FAIL_NONE)
		m = x->access;
	m.id = due->id;
	m.status = (uint16_t)due->status;
	m.text = due->text;
	session_on_rcpt(&x->session, &m);
}

static bool
script_turn(void *core)
{
	struct script *x = core;
	struct due due;

	if (x->first == x->last) {
		bool more;

		x->first = x->last = 0;
		more = x->started && filter_script_turn(&x->filter, &x->session);
		if (more)
			emit(x);
		return more;
	}
	due = x->due[x->first++];
	if (due.from == ROUTED)
		answer_rcpt(x, &due);
	else if (due.from == AUTHD)
		answer_auth(x, &due);
	else if (due.from == FLUSHED)
		session_on_flushed(&x->session, &(struct ipc_intake_flushed){ .id = due.id, .status = (uint16_t)due.status, .count = x->pending });
	else if (due.id != UINT64_MAX)
		answer_intake(x, &due);
	emit(x);
	return true;
}

static void
script_eof(void *core)
{
	struct script *x = core;

	if (x->started)
		session_on_eof(&x->session);
}

static void
script_advance(void *core, int64_t ms)
{
	struct script *x = core;

	while (x->started && ms >= x->left_ms && !session_closed(&x->session)) {
		ms -= x->left_ms;
		session_on_timeout(&x->session);
		x->left_ms = session_wait_ms(&x->session);
		emit(x);
	}
	x->left_ms -= ms;
}

static bool
script_closed(const void *core)
{
	const struct script *x = core;

	return x->closed || (x->started && session_closed(&x->session));
}

/* Directives. */

static bool
add_rule(struct script *x, struct rule *rules, size_t *n, struct span pattern, struct span rest)
{
	struct span name = span_word(&rest);
	struct rule *r = &rules[*n];

	if (*n == RULES || !pattern.n)
		return false;
	r->pattern = arena_dup(&x->mem, pattern);
	r->status = status_find_name(name);
	r->text = arena_dup(&x->mem, span_trim(rest));
	(*n)++;
	return r->status || span_eq(name, SPAN("silent"));
}

static bool
do_rcpt(struct script *x, struct span rest)
{
	struct span pattern = span_word(&rest);

	return add_rule(x, x->rcpt, &x->nrcpt, pattern, rest);
}

static bool
do_access(struct script *x, struct span rest)
{
	struct span word = span_word(&rest);

	rest = span_trim(rest);
	x->access.note = true;
	x->access.why = SPAN("smtpd_client_access_maps inline:{...} 192.0.2.1");
	if (span_eq(word, SPAN("redirect")))
		x->access.redirect = arena_dup(&x->mem, rest);
	else if (span_eq(word, SPAN("prepend")))
		x->access.prepend = arena_printf(&x->mem, "%.*s\r\n", SPAN_ARG(rest));
	else if (span_eq(word, SPAN("hold")))
		x->access.hold = true;
	else if (span_eq(word, SPAN("discard")))
		x->access.discard = true;
	else
		return false;
	return true;
}

static bool
do_auth(struct script *x, struct span rest)
{
	struct span pattern = span_word(&rest);

	return add_rule(x, x->auth, &x->nauth, pattern, rest);
}

static bool
do_queued(struct script *x, struct span rest)
{
	struct span word = span_word(&rest);

	if (span_eq(word, SPAN("early")))
		return (x->early = status_find_name(span_word(&rest))) != 0;
	x->queued.status = status_find_name(word);
	x->queued.text = arena_dup(&x->mem, span_trim(rest));
	return x->queued.status || span_eq(word, SPAN("silent"));
}

static bool
do_set(struct script *x, struct span rest)
{
	struct span name = span_word(&rest);

	buf_printf(&x->settings, "%.*s = %.*s\n", SPAN_ARG(name), SPAN_ARG(span_trim(rest)));
	return !x->started;
}

static bool
do_listener(struct script *x, struct span rest)
{
	struct span service = span_word(&rest);

	buf_printf(&x->listener, "listener %.*s { %.*s", SPAN_ARG(service), SPAN_ARG(span_trim(rest)));
	return !x->started;
}

static bool
do_peer(struct script *x, struct span rest)
{
	struct span address = span_word(&rest), more = span_trim(rest);

	x->peer.address = arena_dup(&x->mem, address);
	x->peer.literal = arena_printf(&x->mem, "[%.*s]", SPAN_ARG(address));
	x->peer.trusted = span_find(more, SPAN("trusted")) != SIZE_MAX;
	x->peer.etrn = span_find(more, SPAN("etrn")) != SIZE_MAX;
	x->peer.xforward = span_find(more, SPAN("xforward")) != SIZE_MAX;
	x->peer.xclient = span_find(more, SPAN("xclient")) != SIZE_MAX;
	x->peer.patient = span_find(more, SPAN("patient")) != SIZE_MAX;
	return !x->started;
}

static bool
do_pending(struct script *x, struct span rest)
{
	x->pending = UINT64_MAX;
	return span_eq(rest, SPAN("silent")) || span_u64(rest, 1000000, &x->pending);
}

static bool
do_certificate(struct script *x, struct span rest)
{
	(void)rest;
	buf_puts(&x->settings, "smtpd_tls_cert_file = /etc/ssl/mail.pem\n");
	x->peer.tls = true;
	return !x->started;
}

static bool
sibling(struct span name, enum sibling *who)
{
	static const struct span names[] = { SPAN_INIT("routed"), SPAN_INIT("authd"), SPAN_INIT("queued"), SPAN_INIT("verifyd") };

	for (size_t i = 0; i < SIBLINGS; i++)
		if (span_eq(name, names[i])) {
			*who = (enum sibling)i;
			return true;
		}
	return false;
}

static bool
do_away(struct script *x, struct span rest)
{
	enum sibling who;

	if (!sibling(rest, &who))
		return false;
	x->away[who] = true;
	x->filter.away = x->away[VERIFYD];
	return true;
}

static bool
do_back(struct script *x, struct span rest)
{
	enum sibling who;

	if (!sibling(rest, &who))
		return false;
	x->away[who] = false;
	x->filter.away = x->away[VERIFYD];
	return true;
}

static bool
do_lost(struct script *x, struct span rest)
{
	static const enum session_peer_daemon bits[] = { PEER_ROUTED, PEER_AUTHD, PEER_QUEUED, PEER_VERIFYD };
	enum sibling who;

	if (!x->started || !sibling(rest, &who))
		return false;
	if (who == VERIFYD)
		filter_script_lost(&x->filter);
	session_on_peer_lost(&x->session, bits[who]);
	return true;
}

static bool
do_handshake(struct script *x, struct span rest)
{
	struct tls_certificate certificate = { .shown = rest.n > 0, .trusted = true };

	if (!x->started || x->session.wait != WAIT_TLS || !span_cstr(rest, certificate.subject, sizeof(certificate.subject)))
		return false;
	session_on_tls(&x->session, SPAN("TLSv1.3 cipher TLS_AES_256_GCM_SHA384"), &certificate);
	return true;
}

static bool
do_name(struct script *x, struct span rest)
{
	session_on_name(&x->session, rest);
	return x->started;
}

static bool
do_shutdown(struct script *x, struct span rest)
{
	(void)rest;
	if (x->started)
		session_shutdown(&x->session);
	return x->started;
}

static bool
do_full(struct script *x, struct span rest)
{
	(void)rest;
	x->full = true;
	return true;
}

static bool
do_room(struct script *x, struct span rest)
{
	(void)rest;
	x->full = false;
	session_on_room(&x->session);
	return x->started;
}

static bool
do_filter(struct script *x, struct span rest)
{
	return filter_script_directive(&x->filter, rest);
}

static const struct {
	struct span word;
	bool (*run)(struct script *x, struct span rest);
} directives[] = {
	{ SPAN_INIT("set"), do_set },           { SPAN_INIT("listener"), do_listener }, { SPAN_INIT("peer"), do_peer },
	{ SPAN_INIT("certificate"), do_certificate }, { SPAN_INIT("rcpt"), do_rcpt },   { SPAN_INIT("auth"), do_auth },
	{ SPAN_INIT("access"), do_access },     { SPAN_INIT("pending"), do_pending },
	{ SPAN_INIT("filter"), do_filter },
	{ SPAN_INIT("queued"), do_queued },     { SPAN_INIT("away"), do_away },         { SPAN_INIT("back"), do_back },
	{ SPAN_INIT("lost"), do_lost },         { SPAN_INIT("handshake"), do_handshake }, { SPAN_INIT("name"), do_name },
	{ SPAN_INIT("shutdown"), do_shutdown }, { SPAN_INIT("full"), do_full },         { SPAN_INIT("room"), do_room },
};

static bool
script_directive(void *core, struct span word, struct span rest)
{
	struct script *x = core;

	for (size_t i = 0; i < sizeof(directives) / sizeof(*directives); i++)
		if (span_eq(word, directives[i].word)) {
			bool good = directives[i].run(x, rest);

			if (x->started)
				emit(x);
			return good;
		}
	return false;
}

static void
script_free(void *core)
{
	struct script *x = core;

	if (x->started)
		session_free(&x->session);
	arena_free(&x->mem);
	buf_free(&x->settings);
	buf_free(&x->listener);
	buf_free(&x->output);
	buf_free(&x->content);
	filter_script_free(&x->filter);
	free(x);
}

const struct dialog_core smtpd_dialog = {
	.name = "smtpd",
	.open = script_open,
	.start = script_start,
	.input = script_input,
	.turn = script_turn,
	.eof = script_eof,
	.advance = script_advance,
	.closed = script_closed,
	.directive = script_directive,
	.free = script_free,
};
