/* SPDX-License-Identifier: ISC */
#include "net/oauth.h"

#define KVSEP '\x01'

static bool
bad(struct fail *why, const char *text)
{
	return fail_set(why, FAIL_PEER, 0, "OAuth: %s", text);
}

/* RFC 6750 2.1: b64token. */
static bool
is_token(struct span s)
{
	size_t n = s.n;

	while (n > 0 && s.p[n - 1] == '=')
		n--;
	for (size_t i = 0; i < n; i++)
		if (!ascii_alnum(s.p[i]) && span_chr(SPAN("-._~+/"), s.p[i]) == SIZE_MAX)
			return false;
	return n > 0 && s.n <= OAUTH_TOKEN_MAX;
}

/* "Bearer TOKEN"; or nothing: what is wanted (RFC 7628 4.3)? */
static bool
take_token(struct span value, struct oauth_first *out, struct fail *why)
{
	struct span scheme;

	if (!value.n)
		return true;
	scheme = span_cut(&value, ' ');
	if (!span_caseeq(scheme, SPAN("Bearer")))
		return bad(why, "not a bearer token");
	while (value.n && value.p[0] == ' ')
		value = span_from(value, 1);
	if (!is_token(value))
		return bad(why, "the token is malformed or too long");
	out->token = value;
	return true;
}

/* RFC 5801 4: a saslname has "=2C" for a comma and "=3D" for an equals sign. */
static bool
take_name(struct span name, struct buf *names, struct oauth_first *out, struct fail *why)
{
	size_t before = buf_len(names);

	for (size_t i = 0; i < name.n; i++) {
		struct span rest = span_from(name, i);

		if (name.p[i] != '=') {
			buf_putc(names, name.p[i]);
			continue;
		}
		if (!span_starts(rest, SPAN("=2C")) && !span_starts(rest, SPAN("=3D")))
			return bad(why, "the name is malformed");
		buf_putc(names, rest.p[1] == '2' ? ',' : '=');
		i += 2;
	}
	out->user = span_from(buf_span(names), before);
	return buf_ok(names) || bad(why, "the name is too long");
}

/* key=value pairs, each with a separator behind it, and one more at the end. host, port and what is not known are passed over. */
static bool
take_pairs(struct span rest, struct oauth_first *out, struct fail *why)
{
	unsigned tokens = 0;

	while (rest.n > 1) {
		struct span pair = span_cut(&rest, KVSEP), key;

		if (!rest.p)
			return bad(why, "a pair has no end");
		key = span_cut(&pair, '=');
		if (!pair.p || !key.n)
			return bad(why, "not a pair");
		if (!span_eq(key, SPAN("auth")))
			continue;
		if (tokens++ > 0)
			return bad(why, "there are two tokens");
		if (!take_token(pair, out, why))
			return false;
	}
	if (rest.n != 1 || rest.p[0] != KVSEP)
		return bad(why, "the message has no end");
	return tokens > 0 || bad(why, "there is no token");
}

bool
oauth_parse_bearer(struct span message, struct buf *names, struct oauth_first *out, struct fail *why)
{
	struct span flag = span_cut(&message, ','), authzid;

	*out = (struct oauth_first){ .user = SPAN_NONE };
	if (!message.p || (!span_eq(flag, SPAN("n")) && !span_eq(flag, SPAN("y"))))
		return bad(why, "the message does not begin with n,, or y,,");
	authzid = span_cut(&message, ',');
	if (!message.p || (authzid.n && !span_starts(authzid, SPAN("a="))))
		return bad(why, "the header is malformed");
	if (!message.n || message.p[0] != KVSEP)
		return bad(why, "there is no separator behind the header");
	return (!authzid.n || take_name(span_from(authzid, 2), names, out, why)) && take_pairs(span_from(message, 1), out, why);
}

bool
oauth_parse_xoauth2(struct span message, struct buf *names, struct oauth_first *out, struct fail *why)
{
	struct span user = span_cut(&message, KVSEP);
	size_t before = buf_len(names);

	*out = (struct oauth_first){ .user = SPAN_NONE };
	if (!message.p || !span_starts(user, SPAN("user=")))
		return bad(why, "the message does not begin with user=");
	buf_put(names, span_from(user, 5));
	out->user = span_from(buf_span(names), before);
	return (buf_ok(names) || bad(why, "the name is too long")) && take_pairs(message, out, why);
}
