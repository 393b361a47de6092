/* SPDX-License-Identifier: ISC
 *
 * AUTH: PLAIN and LOGIN (RFC 4954, RFC 4616). The password is decoded, asked
 * about and wiped; it is kept nowhere.
 */
#include "base/base64.h"
#include "command.h"

enum sasl_step { SASL_PLAIN, SASL_LOGIN_USER, SASL_LOGIN_PASSWORD };

enum { CREDENTIALS_MAX = 9216 }; /* what a line of 12288 holds, decoded */

static void
back_to_commands(struct session *s)
{
	s->state = s->helo.n ? SESSION_READY : SESSION_START;
}

static void
challenge(struct session *s, enum sasl_step step, const char *base64)
{
	s->sasl = (uint8_t)step;
	s->state = SESSION_AUTH;
	reply_challenge(s, span_str(base64));
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

static bool
plain_text(struct span s, size_t max)
{
	for (size_t i = 0; i < s.n; i++)
		if ((unsigned char)s.p[i] < ' ' || s.p[i] == 0x7f)
			return false;
	return s.n <= max;
}

static void
ask(struct session *s, const char *mechanism, struct span authzid, struct span user, struct span password)
{
	struct ipc_auth_ask m = {
		.service = SPAN("smtp"),
		.mechanism = span_str(mechanism),
		.client_addr = s->address,
		.tls = s->tls.n > 0,
		.authzid = authzid,
		.user = user,
		.password = password,
	};

	back_to_commands(s);
	if (user.p != s->subject.p && plain_text(user, B_ADDRESS))
		(void)session_set(s, &s->subject, user); /* for the log */
	if (!user.n || !plain_text(user, B_ADDRESS) || !plain_text(authzid, B_ADDRESS) || password.n > 1024)
		failed(s);
	else if (!s->ports->ask_auth(s->owner, &m))
		reply_status(s, STATUS_AUTH_TEMP, SPAN_NONE);
	else {
		s->ask_id = m.id;
		s->wait = WAIT_AUTH;
	}
}

/* RFC 4616 2: authzid NUL authcid NUL password */
static void
take_plain(struct session *s, struct span message)
{
	struct span authzid = span_cut(&message, '\0'), user = span_cut(&message, '\0');

	if (!message.p) {
		back_to_commands(s);
		reply_status(s, STATUS_BAD_ARGUMENT, SPAN("That is no PLAIN response"));
		return;
	}
	ask(s, "PLAIN", authzid, user, message);
}

static void
take_response(struct session *s, struct span message)
{
	switch ((enum sasl_step)s->sasl) {
	case SASL_PLAIN:
		take_plain(s, message);
		return;
	case SASL_LOGIN_USER:
		if (!plain_text(message, B_ADDRESS) || !session_set(s, &s->subject, message)) {
			back_to_commands(s);
			failed(s);
		} else
			challenge(s, SASL_LOGIN_PASSWORD, "UGFzc3dvcmQ6");
		return;
	case SASL_LOGIN_PASSWORD:
		ask(s, "LOGIN", SPAN_NONE, s->subject, message);
		return;
	}
}

void
auth_line(struct session *s, struct span line)
{
	struct buf message;

	if (span_eq(line, SPAN("*"))) { /* RFC 4954 4 */
		back_to_commands(s);
		reply_status(s, STATUS_BAD_ARGUMENT, SPAN("Authentication given up"));
		return;
	}
	buf_init(&message, CREDENTIALS_MAX);
	if (!base64_decode(&message, line)) {
		back_to_commands(s);
		reply_status(s, STATUS_BAD_ARGUMENT, SPAN("That is not base64"));
	} else
		take_response(s, buf_span(&message));
	buf_wipe(&message);
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

/* With an initial response the first challenge is not sent; "=" is an empty one (RFC 4954 4). */
static void
start(struct session *s, enum sasl_step step, const char *first, struct span initial)
{
	if (!initial.n) {
		challenge(s, step, first);
		return;
	}
	s->sasl = (uint8_t)step;
	auth_line(s, span_eq(initial, SPAN("=")) ? SPAN_NONE : initial);
}

void
cmd_auth(struct session *s, struct span args)
{
	struct span mechanism = span_word(&args), text;
	unsigned status = auth_refusal(s, &text);

	args = span_trim(args);
	if (status)
		reply_status(s, status, text);
	else if (span_caseeq(mechanism, SPAN("PLAIN")))
		start(s, SASL_PLAIN, "", args);
	else if (span_caseeq(mechanism, SPAN("LOGIN")))
		start(s, SASL_LOGIN_USER, "VXNlcm5hbWU6", args);
	else
		reply_status_code(s, STATUS_BAD_PARAMETER, 504, SPAN("Mechanism not known; there are PLAIN and LOGIN"));
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
