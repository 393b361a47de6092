/* SPDX-License-Identifier: ISC */
#include "net/sasl.h"

#include "base/base64.h"
#include "net/oauth.h"

struct sasl_mechanism {
	struct span name;
	const char *first; /* challenge when no initial response came, in clear */
	enum sasl_result (*step)(struct sasl *s, struct span response, struct fail *why);
};

static const struct sasl_mechanism mechanisms[SASL_MECHANISM_COUNT];

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

static bool
names_ok(const struct sasl *s, struct fail *why)
{
	if (!is_name(s->user))
		return fail_set(why, FAIL_PEER, 0, "login name is empty, too long or has control characters");
	if (s->authzid.n && !is_name(s->authzid))
		return fail_set(why, FAIL_PEER, 0, "authorization identity is too long or has control characters");
	return true;
}

/* The checks that hold for every mechanism with a password. */
static enum sasl_result
check(struct sasl *s, struct fail *why)
{
	if (!names_ok(s, why))
		return SASL_BAD;
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

/* RFC 4422 A.1: the authorization identity, or nothing. */
static enum sasl_result
external_step(struct sasl *s, struct span response, struct fail *why)
{
	s->authzid = response;
	if (response.n && !is_name(response))
		return bad(why, "authorization identity is too long or has control characters");
	return SASL_IDENTIFY;
}

enum oauth_turn { OAUTH_FIRST, OAUTH_ASKED, OAUTH_TOLD };

static enum sasl_result
oauth_step(struct sasl *s, struct span response, struct fail *why)
{
	struct oauth_first first;
	bool ok;

	if (s->step++ != OAUTH_FIRST)
		return bad(why, "OAuth: more than the mechanism has");
	if (s->mechanism == &mechanisms[SASL_BIT_OAUTHBEARER])
		ok = oauth_parse_bearer(response, &s->secret, &first, why);
	else
		ok = oauth_parse_xoauth2(response, &s->secret, &first, why);
	if (!ok)
		return SASL_BAD;
	s->user = first.user;
	s->password = first.token;
	if (s->user.n && !is_name(s->user))
		return bad(why, "login name is too long or has control characters");
	return SASL_TOKEN;
}

/* RFC 5802 6: whether the client's word on channel binding goes with the mechanism and with what we offer. */
static bool
binding_agrees(const struct sasl *s, const struct scram_first *first, struct fail *why)
{
	bool plus = s->mechanism == &mechanisms[SASL_BIT_SCRAM_SHA_256_PLUS];

	if (plus != (first->binding.n > 0))
		return fail_set(why, FAIL_PEER, 0, "SCRAM: channel binding does not go with the mechanism");
	if (first->could_bind && sasl_usable(&s->offer) & 1u << SASL_BIT_SCRAM_SHA_256_PLUS)
		return fail_set(why, FAIL_PEER, 0, "SCRAM: somebody has hidden from the client that channel binding is offered");
	return true;
}

/* cbind-input (RFC 5802 7): the header, then the data of the channel. */
static bool
keep_binding(struct sasl *s, const struct scram_first *first, struct fail *why)
{
	struct buf data;
	size_t before = buf_len(&s->secret);
	bool ok;

	buf_init(&data, SCRAM_BINDING_MAX);
	ok = first->binding.n == 0 || (s->offer.binding && s->offer.binding(s->offer.arg, first->binding, &data) && buf_len(&data) > 0);
	buf_put(&s->secret, first->header);
	buf_put(&s->secret, buf_span(&data));
	buf_free(&data);
	s->binding = span_from(buf_span(&s->secret), before);
	return ok || fail_set(why, FAIL_PEER, 0, "SCRAM: there is no channel binding %.*s", SPAN_ARG(span_sub(first->binding, 0, 40)));
}

static enum sasl_result
scram_begin(struct sasl *s, struct span response, struct fail *why)
{
	struct scram_first first;

	if (response.n > SASL_LINE_MAX / 4)
		return bad(why, "SCRAM: message is too long");
	if (!scram_parse_first(response, &s->secret, &first, why))
		return SASL_BAD;
	s->user = first.user;
	s->authzid = first.authzid;
	s->bare = first.bare;
	s->nonce = first.nonce;
	if (!names_ok(s, why) || !binding_agrees(s, &first, why) || !keep_binding(s, &first, why))
		return SASL_BAD;
	return buf_ok(&s->secret) ? SASL_BEGIN : bad(why, "SCRAM: message is too long");
}

static enum sasl_result
scram_prove(struct sasl *s, struct span response, struct fail *why)
{
	struct buf binding;
	bool same;

	if (!scram_parse_final(response, &s->final, why))
		return SASL_BAD;
	if (!span_eq(s->final.nonce, s->nonce))
		return bad(why, "SCRAM: the nonce is not that of this exchange");
	buf_init(&binding, SASL_LINE_MAX);
	same = base64_decode(&binding, s->final.binding) && span_eq(buf_span(&binding), s->binding);
	buf_free(&binding);
	return same ? SASL_PROVE : bad(why, "SCRAM: bound to another channel");
}

/* Whose turn it is: the client's at even steps, authd's at odd ones. */
enum scram_turn { SCRAM_FIRST, SCRAM_ASKED, SCRAM_FINAL, SCRAM_JUDGED, SCRAM_SHOWN, SCRAM_OVER };

static enum sasl_result
scram_step(struct sasl *s, struct span response, struct fail *why)
{
	switch (s->step++) {
	case SCRAM_FIRST:
		return scram_begin(s, response, why);
	case SCRAM_FINAL:
		return scram_prove(s, response, why);
	case SCRAM_SHOWN:
		if (response.n == 0)
			return SASL_DONE;
		break;
	default:
		s->step = SCRAM_OVER;
		break;
	}
	return bad(why, "SCRAM: more than the mechanism has");
}

static const struct sasl_mechanism mechanisms[SASL_MECHANISM_COUNT] = {
	[SASL_BIT_EXTERNAL] = { SPAN_INIT("EXTERNAL"), "", external_step },
	[SASL_BIT_OAUTHBEARER] = { SPAN_INIT("OAUTHBEARER"), "", oauth_step },
	[SASL_BIT_XOAUTH2] = { SPAN_INIT("XOAUTH2"), "", oauth_step },
	[SASL_BIT_SCRAM_SHA_256_PLUS] = { SPAN_INIT("SCRAM-SHA-256-PLUS"), "", scram_step },
	[SASL_BIT_SCRAM_SHA_256] = { SPAN_INIT("SCRAM-SHA-256"), "", scram_step },
	[SASL_BIT_PLAIN] = { SPAN_INIT("PLAIN"), "", plain_step },
	[SASL_BIT_LOGIN] = { SPAN_INIT("LOGIN"), "Username:", login_step },
};

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
	for (size_t i = 0; i < SASL_MECHANISM_COUNT; i++)
		if (span_caseeq(name, mechanisms[i].name))
			return &mechanisms[i];
	return NULL;
}

unsigned
sasl_set(const struct span *names, size_t n)
{
	unsigned set = 0;

	for (size_t i = 0; i < n; i++) {
		const struct sasl_mechanism *m = sasl_find(names[i]);

		if (m)
			set |= 1u << (m - mechanisms);
	}
	return set;
}

struct span
sasl_name(const struct sasl_mechanism *m)
{
	return m->name;
}

unsigned
sasl_usable(const struct sasl_offer *offer)
{
	unsigned set = offer->mechanisms;

	if (!offer->closed)
		set &= ~(unsigned)SASL_PASSWORD;
	if (!offer->binding)
		set &= ~(1u << SASL_BIT_SCRAM_SHA_256_PLUS);
	if (!offer->tls)
		set &= ~(unsigned)SASL_OAUTH;
	if (!offer->certificate)
		set &= ~(1u << SASL_BIT_EXTERNAL);
	return set;
}

bool
sasl_offered(const struct sasl_mechanism *m, const struct sasl_offer *offer)
{
	return sasl_usable(offer) & 1u << (m - mechanisms);
}

void
sasl_list(struct buf *out, const char *prefix, const struct sasl_offer *offer)
{
	bool first = true;

	for (size_t i = 0; i < SASL_MECHANISM_COUNT; i++) {
		if (!sasl_offered(&mechanisms[i], offer))
			continue;
		if (!first)
			buf_putc(out, ' ');
		first = false;
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
sasl_begin(struct sasl *s, const struct sasl_mechanism *m, const struct sasl_offer *offer, bool given, struct span initial, struct fail *why)
{
	sasl_end(s);
	s->mechanism = m;
	s->offer = *offer;
	buf_init(&s->challenge, SASL_CHALLENGE_MAX);
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
	/* RFC 7628 3.2.3: what the client says once it has heard of its failure does not matter. */
	if (s->step == OAUTH_TOLD && SASL_OAUTH & 1u << (s->mechanism - mechanisms))
		return SASL_REFUSED;
	if (span_eq(line, SPAN("*"))) {
		(void)fail_set(why, FAIL_PEER, 0, "cancelled by the client");
		return SASL_CANCELLED;
	}
	return respond(s, line, why);
}

enum sasl_result
sasl_challenged(struct sasl *s, struct span message, struct fail *why)
{
	size_t before = buf_len(&s->secret);
	struct span nonce = scram_server_nonce(message);

	/* It is the sibling's message that goes out, so its shape matters more than whom we trust. */
	if (!s->mechanism || s->step != SCRAM_ASKED || !span_starts(nonce, s->nonce) || nonce.n == s->nonce.n)
		return bad(why, "SCRAM: no challenge of this exchange");
	buf_put(&s->secret, nonce);
	s->nonce = span_from(buf_span(&s->secret), before);
	s->step = SCRAM_FINAL;
	buf_reset(&s->challenge);
	base64_encode(&s->challenge, message);
	return buf_ok(&s->secret) && buf_ok(&s->challenge) ? SASL_CHALLENGE : bad(why, "SCRAM: challenge is too long");
}

enum sasl_result
sasl_proved(struct sasl *s, struct span signature, struct fail *why)
{
	struct buf text;

	if (!s->mechanism || s->step != SCRAM_JUDGED)
		return bad(why, "SCRAM: no proof was given");
	s->step = SCRAM_SHOWN;
	buf_init(&text, SASL_CHALLENGE_MAX);
	buf_puts(&text, "v=");
	base64_encode(&text, signature);
	buf_reset(&s->challenge);
	base64_encode(&s->challenge, buf_span(&text));
	buf_free(&text);
	return SASL_CHALLENGE;
}

enum sasl_result
sasl_refused(struct sasl *s, struct span error, struct fail *why)
{
	if (!s->mechanism || s->step != OAUTH_ASKED || !(SASL_OAUTH & 1u << (s->mechanism - mechanisms)))
		return bad(why, "OAuth: no token was given");
	s->step = OAUTH_TOLD;
	buf_reset(&s->challenge);
	base64_encode(&s->challenge, error);
	return buf_ok(&s->challenge) ? SASL_CHALLENGE : bad(why, "OAuth: error is too long");
}
