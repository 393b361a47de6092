/* SPDX-License-Identifier: ISC
 *
 * AUTH (RFC 4954). The exchange is net/sasl's, the verdict authd's; the
 * password is asked about and wiped, kept nowhere.
 */
#include "command.h"

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
	bool asked = session_set(s, &s->subject, m.user) && s->ports->ask_auth(s->owner, &m);

	auth_abandon(s);
	if (!asked) {
		reply_status(s, STATUS_AUTH_TEMP, SPAN_NONE);
		return;
	}
	s->ask_id = m.id;
	s->wait = WAIT_AUTH;
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
	if (!s->tls.n && s->policy->conf->disable_plaintext_auth)
		return STATUS_AUTH_ENCRYPTION;
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
	struct span text;
	unsigned status = auth_refusal(s, &text);
	struct fail why;

	args = span_trim(args);
	if (status)
		reply_status(s, status, text);
	else if (!mechanism)
		reply_status_code(s, STATUS_BAD_PARAMETER, 504, SPAN("Mechanism not known here"));
	else
		go_on(s, sasl_begin(&s->sasl, mechanism, args.n > 0, args, &why), &why);
}

void
session_on_auth(struct session *s, const struct ipc_auth_answer *m)
{
	if (s->wait != WAIT_AUTH || m->id != s->ask_id)
		return;
	s->wait = WAIT_CLIENT;
	if (m->ok && m->user.n && session_set(s, &s->user, m->user)) {
		s->ports->note(s->owner, SESSION_NOTE_AUTH_OK, s->user);
		reply_status(s, STATUS_AUTH_OK, SPAN_NONE);
	} else if (m->temporary || m->ok)
		reply_status(s, STATUS_AUTH_TEMP, SPAN_NONE);
	else {
		s->ports->note(s->owner, SESSION_NOTE_AUTH_FAILED, m->why);
		failed(s);
	}
}
