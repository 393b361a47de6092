/* SPDX-License-Identifier: ISC */
#include "net/sasl.h"

#include "base/base64.h"

struct sasl_mechanism {
	struct span name;
	const char *first; /* challenge when no initial response came, in clear */
	enum sasl_result (*step)(struct sasl *s, struct span response, struct fail *why);
};

static enum sasl_result
bad(struct fail *why, const char *text)
{
	(void)fail_set(why, FAIL_PEER, 0, "%s", text);
	return SASL_BAD;
}

static bool
is_name(struct span s)
{
	if (s.n == 0 || s.n > SASL_NAME_MAX)
		return false;
	for (size_t i = 0; i < s.n; i++)
		if ((unsigned char)s.p[i] < ' ' || s.p[i] == 0x7f)
			return false;
	return true;
}

/* The checks that hold for every mechanism with a password. */
static enum sasl_result
check(struct sasl *s, struct fail *why)
{
	if (!is_name(s->user))
		return bad(why, "login name is empty, too long or has control characters");
	if (s->authzid.n && !is_name(s->authzid))
		return bad(why, "authorization identity is too long or has control characters");
	if (s->password.n == 0 || s->password.n > SASL_PASSWORD_MAX)
		return bad(why, "password is empty or too long");
	if (span_chr(s->password, '\0') != SIZE_MAX)
		return bad(why, "password has a NUL");
	return SASL_CHECK;
}

/* RFC 4616 2: [authzid] NUL authcid NUL passwd */
static enum sasl_result
plain_step(struct sasl *s, struct span response, struct fail *why)
{
	struct span rest = response;

	s->authzid = span_cut(&rest, '\0');
	if (!rest.p)
		return bad(why, "PLAIN response has no NUL");
	s->user = span_cut(&rest, '\0');
	if (!rest.p)
		return bad(why, "PLAIN response has one NUL only");
	s->password = rest;
	return check(s, why);
}

static enum sasl_result
login_step(struct sasl *s, struct span response, struct fail *why)
{
	if (s->step++ == 0) {
		if (!is_name(response))
			return bad(why, "login name is empty, too long or has control characters");
		s->user = response;
		buf_reset(&s->challenge);
		base64_encode(&s->challenge, SPAN("Password:"));
		return SASL_CHALLENGE;
	}
	s->password = response;
	return check(s, why);
}

static const struct sasl_mechanism mechanisms[] = {
	{ SPAN_INIT("PLAIN"), "", plain_step },
	{ SPAN_INIT("LOGIN"), "Username:", login_step },
};

enum { MECHANISMS = sizeof(mechanisms) / sizeof(mechanisms[0]) };

void
sasl_init(struct sasl *s)
{
	*s = (struct sasl){ .mechanism = NULL };
}

void
sasl_end(struct sasl *s)
{
	buf_free(&s->challenge);
	buf_wipe(&s->secret);
	sasl_init(s);
}

const struct sasl_mechanism *
sasl_find(struct span name)
{
	for (size_t i = 0; i < MECHANISMS; i++)
		if (span_caseeq(name, mechanisms[i].name))
			return &mechanisms[i];
	return NULL;
}

struct span
sasl_name(const struct sasl_mechanism *m)
{
	return m->name;
}

void
sasl_list(struct buf *out, const char *prefix)
{
	for (size_t i = 0; i < MECHANISMS; i++) {
		if (i)
			buf_putc(out, ' ');
		buf_puts(out, prefix);
		buf_put(out, mechanisms[i].name);
	}
}

/* Decodes behind what is there already: earlier spans stay valid, as all the
 * room that an exchange can need was taken at its begin. */
static enum sasl_result
respond(struct sasl *s, struct span encoded, struct fail *why)
{
	size_t before = buf_len(&s->secret);

	if (encoded.n > SASL_LINE_MAX)
		return bad(why, "response is too long");
	if (!base64_decode(&s->secret, encoded))
		return bad(why, buf_ok(&s->secret) ? "response is not base64" : "response is too long");
	return s->mechanism->step(s, span_from(buf_span(&s->secret), before), why);
}

enum sasl_result
sasl_begin(struct sasl *s, const struct sasl_mechanism *m, bool given, struct span initial, struct fail *why)
{
	sasl_end(s);
	s->mechanism = m;
	buf_init(&s->challenge, 64);
	buf_init(&s->secret, (size_t)SASL_LINE_MAX);
	if (!buf_room(&s->secret, SASL_LINE_MAX))
		return bad(why, "out of memory");
	if (given)
		return respond(s, span_eq(initial, SPAN("=")) ? SPAN_NONE : initial, why); /* RFC 4954 4 */
	base64_encode(&s->challenge, span_str(m->first));
	return SASL_CHALLENGE;
}

enum sasl_result
sasl_step(struct sasl *s, struct span line, struct fail *why)
{
	if (!s->mechanism)
		return bad(why, "no exchange goes on");
	if (span_eq(line, SPAN("*"))) {
		(void)fail_set(why, FAIL_PEER, 0, "cancelled by the client");
		return SASL_CANCELLED;
	}
	return respond(s, line, why);
}
