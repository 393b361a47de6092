/* SPDX-License-Identifier: ISC
 *
 * AUTH (RFC 4954). The exchange is net/sasl's, the verdict authd's; the
 * password is asked about and wiped, kept nowhere.
 */
#include "command.h"

static bool
binding(void *arg, struct span type, struct buf *out)
{
	struct session *s = arg;

	return s->ports->binding(s->owner, type, out);
}

struct sasl_offer
auth_offer(struct session *s)
{
	const struct policy *p = s->policy;
	struct sasl_offer offer = { .mechanisms = p->mechanisms, .closed = s->tls.n || !p->conf->disable_plaintext_auth,
		.tls = s->tls.n > 0, .certificate = s->certificate != NULL };

	if (s->tls.n) {
		offer.binding = binding;
		offer.arg = s;
	}
	return offer;
}

void
auth_abandon(struct session *s)
{
	sasl_end(&s->sasl);
	if (s->state == SESSION_AUTH)
		s->state = s->helo.n ? SESSION_READY : SESSION_START;
}

static void
failed(struct session *s)
{
	reply_status(s, STATUS_AUTH_FAILED, SPAN_NONE);
	if (++s->auth_failures >= s->policy->conf->auth_attempt_limit && s->state != SESSION_CLOSED) {
		s->ports->note(s->owner, SESSION_NOTE_DROPPED, SPAN("too many failed logins"));
		reply(s, REPLY_TOO_MANY_LOGINS, SPAN_NONE);
		reply_close(s);
	}
}

/* authd was asked, or could not be. */
static void
wait_for(struct session *s, uint64_t id, bool asked)
{
	if (!asked) {
		auth_abandon(s);
		reply_status(s, STATUS_AUTH_TEMP, SPAN_NONE);
		return;
	}
	s->ask_id = id;
	s->wait = WAIT_AUTH;
}

/* What the answer will be about. */
static bool
remember(struct session *s)
{
	return session_set(s, &s->subject, s->sasl.user) && session_set(s, &s->method, sasl_name(s->sasl.mechanism));
}

static void
ask(struct session *s)
{
	struct ipc_auth_ask m = {
		.service = SPAN("smtp"),
		.mechanism = sasl_name(s->sasl.mechanism),
		.client_addr = s->address,
		.tls = s->tls.n > 0,
		.authzid = s->sasl.authzid,
		.user = s->sasl.user,
		.password = s->sasl.password,
	};
	bool asked = remember(s) && s->ports->ask_auth(s->owner, &m);

	auth_abandon(s);
	wait_for(s, m.id, asked);
}

/* RFC 4422 A: the certificate is the credentials. */
static void
ask_certificate(struct session *s)
{
	const struct tls_certificate *c = s->certificate;
	struct ipc_auth_certificate m = {
		.service = SPAN("smtp"),
		.client_addr = s->address,
		.authzid = s->sasl.authzid,
		.fingerprint = span_of(c->fingerprint, sizeof(c->fingerprint)),
		.key = span_of(c->key, sizeof(c->key)),
		.trusted = c->trusted,
		.subject = span_str(c->subject),
		.emails = span_str(c->emails),
	};
	bool asked = session_set(s, &s->subject, m.authzid) && session_set(s, &s->method, sasl_name(s->sasl.mechanism)) &&
	    s->ports->ask_certificate(s->owner, &m);

	auth_abandon(s);
	wait_for(s, m.id, asked);
}

/* The exchange waits for the answer: a client whose token is no good is told why. */
static void
ask_token(struct session *s)
{
	struct ipc_auth_token m = {
		.service = SPAN("smtp"),
		.mechanism = sasl_name(s->sasl.mechanism),
		.client_addr = s->address,
		.user = s->sasl.user,
		.token = s->sasl.password,
	};
	bool asked = session_set(s, &s->subject, m.user) && session_set(s, &s->method, m.mechanism) && s->ports->ask_token(s->owner, &m);

	wait_for(s, m.id, asked);
}

static void
ask_scram(struct session *s)
{
	struct ipc_auth_scram m = {
		.service = SPAN("smtp"),
		.mechanism = sasl_name(s->sasl.mechanism),
		.client_addr = s->address,
		.tls = s->tls.n > 0,
		.authzid = s->sasl.authzid,
		.user = s->sasl.user,
		.bare = s->sasl.bare,
		.nonce = s->sasl.nonce,
	};
	bool asked = remember(s) && s->ports->ask_scram(s->owner, &m);

	wait_for(s, m.id, asked);
}

static void
ask_proof(struct session *s)
{
	const struct scram_final *final = &s->sasl.final;
	struct ipc_auth_proof m = { .id = s->ask_id, .without_proof = final->without, .proof = span_of(final->proof, sizeof(final->proof)) };

	wait_for(s, m.id, s->ports->ask_proof(s->owner, &m));
}

static void
logged_in(struct session *s, struct span user)
{
	auth_abandon(s);
	if (!session_set(s, &s->user, user)) {
		reply_status(s, STATUS_AUTH_TEMP, SPAN_NONE);
		return;
	}
	s->ports->note(s->owner, SESSION_NOTE_AUTH_OK, s->user);
	reply_status(s, STATUS_AUTH_OK, SPAN_NONE);
}

static void
go_on(struct session *s, enum sasl_result result, const struct fail *why)
{
	switch (result) {
	case SASL_CHALLENGE:
		s->state = SESSION_AUTH;
		reply_challenge(s, sasl_challenge(&s->sasl));
		return;
	case SASL_CHECK:
		ask(s);
		return;
	case SASL_IDENTIFY:
		ask_certificate(s);
		return;
	case SASL_TOKEN:
		ask_token(s);
		return;
	case SASL_REFUSED:
		auth_abandon(s);
		failed(s);
		return;
	case SASL_BEGIN:
		ask_scram(s);
		return;
	case SASL_PROVE:
		ask_proof(s);
		return;
	case SASL_DONE:
		logged_in(s, s->subject);
		return;
	case SASL_CANCELLED:
	case SASL_BAD:
		auth_abandon(s);
		reply_status(s, STATUS_BAD_ARGUMENT, fail_text(why));
		return;
	}
}

void
auth_line(struct session *s, struct span line)
{
	struct fail why;

	go_on(s, sasl_step(&s->sasl, line, &why), &why);
}

/* Why AUTH may not come now; 0 when it may. */
static unsigned
auth_refusal(const struct session *s, struct span *text)
{
	*text = SPAN_NONE;
	if (!(s->policy->extensions & EXT(AUTH))) {
		*text = SPAN("Logging in is not offered here");
		return STATUS_NOT_IMPLEMENTED;
	}
	if (s->user.n) {
		*text = SPAN("Logged in already");
		return STATUS_BAD_SEQUENCE;
	}
	return 0;
}

void
cmd_auth(struct session *s, struct span args)
{
	const struct sasl_mechanism *mechanism = sasl_find(span_word(&args));
	struct sasl_offer offer = auth_offer(s), closed = offer;
	struct span text;
	unsigned status = auth_refusal(s, &text);
	struct fail why;

	closed.closed = true;
	args = span_trim(args);
	if (status)
		reply_status(s, status, text);
	else if (mechanism && sasl_offered(mechanism, &offer))
		go_on(s, sasl_begin(&s->sasl, mechanism, &offer, args.n > 0, args, &why), &why);
	else if (mechanism && sasl_offered(mechanism, &closed))
		reply_status(s, STATUS_AUTH_ENCRYPTION, SPAN_NONE);
	else
		reply_status_code(s, STATUS_BAD_PARAMETER, 504, SPAN("Mechanism not known here"));
}

void
session_on_challenge(struct session *s, const struct ipc_auth_challenge *m)
{
	struct fail why;
	enum sasl_result result;

	if (s->wait != WAIT_AUTH || m->id != s->ask_id || !s->sasl.mechanism)
		return;
	s->wait = WAIT_CLIENT;
	result = sasl_challenged(&s->sasl, m->message, &why);
	if (result == SASL_CHALLENGE) {
		go_on(s, result, &why);
		return;
	}
	auth_abandon(s);
	reply_status(s, STATUS_AUTH_TEMP, SPAN_NONE);
}

void
session_on_auth(struct session *s, const struct ipc_auth_answer *m)
{
	struct fail why;
	bool proved = s->sasl.mechanism != NULL && m->signature.n > 0;

	if (s->wait != WAIT_AUTH || m->id != s->ask_id)
		return;
	s->wait = WAIT_CLIENT;
	if (m->ok && m->user.n && proved && session_set(s, &s->subject, m->user)) {
		go_on(s, sasl_proved(&s->sasl, m->signature, &why), &why); /* the client has the last word */
		return;
	}
	if (m->ok && m->user.n && (!s->sasl.mechanism || span_eq(s->method, SPAN("OAUTHBEARER")) || span_eq(s->method, SPAN("XOAUTH2")))) {
		logged_in(s, m->user);
		return;
	}
	if (!m->ok && !m->temporary && s->sasl.mechanism && m->error.n && sasl_refused(&s->sasl, m->error, &why) == SASL_CHALLENGE) {
		s->ports->note(s->owner, SESSION_NOTE_AUTH_FAILED, m->why);
		go_on(s, SASL_CHALLENGE, &why);
		return;
	}
	auth_abandon(s);
	if (m->temporary || m->ok)
		reply_status(s, STATUS_AUTH_TEMP, SPAN_NONE);
	else {
		s->ports->note(s->owner, SESSION_NOTE_AUTH_FAILED, m->why);
		failed(s);
	}
}
