/* SPDX-License-Identifier: ISC */
#include "daemons/tokend/reply.h"

#include <jansson.h>
#include <stdio.h>
#include <string.h>

static void
refuse(struct reply *out, enum token_result result, const char *why, struct span what)
{
	out->result = result;
	out->user[0] = '\0';
	(void)snprintf(out->why, sizeof(out->why), why, SPAN_ARG(span_sub(what, 0, 60)));
	for (char *c = out->why; *c; c++)
		if (!ascii_print(*c))
			*c = '?';
}

static struct span
text_of(const json_t *value)
{
	return json_is_string(value) ? span_of(json_string_value(value), json_string_length(value)) : SPAN_NONE;
}

/* RFC 6749 3.3: names with blanks between, in any order. */
static bool
has_word(struct span list, struct span word)
{
	struct span one;

	while ((one = span_word(&list)).n)
		if (span_eq(one, word))
			return true;
	return false;
}

/* Some issuers give an array. */
static bool
has_scope(const json_t *scope, struct span word)
{
	if (has_word(text_of(scope), word))
		return true;
	for (size_t i = 0; i < json_array_size(scope); i++)
		if (span_eq(text_of(json_array_get(scope, i)), word))
			return true;
	return false;
}

static bool
has_scopes(const json_t *scope, struct span wanted, struct span *missing)
{
	while ((*missing = span_word(&wanted)).n)
		if (!has_scope(scope, *missing))
			return false;
	return true;
}

/* A string, or an array of them (RFC 7519 4.1.3). */
static bool
has_audience(const json_t *aud, struct span wanted)
{
	if (span_eq(text_of(aud), wanted))
		return true;
	for (size_t i = 0; i < json_array_size(aud); i++)
		if (span_eq(text_of(json_array_get(aud, i)), wanted))
			return true;
	return false;
}

static const json_t *
member(const json_t *object, struct span path)
{
	char name[128];
	struct span rest = path, part;

	if (span_cstr(path, name, sizeof(name)) && json_object_get(object, name)) /* a name with dots in it: "https://example.org/login" */
		return json_object_get(object, name);
	while (object && rest.n) {
		part = span_cut(&rest, '.');
		object = span_cstr(part, name, sizeof(name)) ? json_object_get(object, name) : NULL;
	}
	return object;
}

static bool
take_user(struct span user, struct reply *out)
{
	for (size_t i = 0; i < user.n; i++)
		if ((unsigned char)user.p[i] <= ' ' || user.p[i] == 0x7f)
			return false;
	return user.n > 0 && span_cstr(user, out->user, sizeof(out->user));
}

/* Times may have fractions (RFC 7519 2), and 0 would be "not said". */
static uint64_t
seconds_of(double left)
{
	return left < 1 ? 1 : left < 1e9 ? (uint64_t)left : 1000000000;
}

/* RFC 7662 2.2; exp and nbf are the issuer's to heed, which is looked after. */
static void
judge(const json_t *root, const struct reply_want *want, int64_t now_s, struct reply *out)
{
	const json_t *exp = json_object_get(root, "exp"), *nbf = json_object_get(root, "nbf"), *type = json_object_get(root, "token_type");
	struct span missing;

	if (!json_is_boolean(json_object_get(root, "active")))
		refuse(out, TOKEN_UNKNOWN, "the issuer does not say whether the token is active", SPAN_NONE);
	else if (!json_is_true(json_object_get(root, "active")))
		refuse(out, TOKEN_BAD, "the token is not active", SPAN_NONE);
	else if (json_is_number(exp) && json_number_value(exp) <= (double)now_s)
		refuse(out, TOKEN_BAD, "the token has expired", SPAN_NONE);
	else if (json_is_number(nbf) && json_number_value(nbf) > (double)now_s)
		refuse(out, TOKEN_BAD, "the token is not good yet", SPAN_NONE);
	else if (text_of(type).n && !span_caseeq(text_of(type), SPAN("Bearer")) && !span_caseeq(text_of(type), SPAN("access_token")))
		refuse(out, TOKEN_BAD, "not a bearer token: %.*s", text_of(type));
	else if (!has_scopes(json_object_get(root, "scope"), want->scope, &missing))
		refuse(out, TOKEN_SCOPE, "the token has not the scope %.*s", missing);
	else if (want->audience.n && !has_audience(json_object_get(root, "aud"), want->audience))
		refuse(out, TOKEN_SCOPE, "the token is for others than %.*s", want->audience);
	else if (!take_user(text_of(member(root, want->attribute)), out))
		refuse(out, TOKEN_BAD, "the issuer names no login as %.*s", want->attribute);
	else if (json_is_number(exp))
		out->seconds = seconds_of(json_number_value(exp) - (double)now_s);
}

void
reply_read(struct span body, const struct reply_want *want, int64_t now_s, struct reply *out)
{
	json_error_t error;
	json_t *root = body.n <= REPLY_BODY_MAX ? json_loadb(body.p ? body.p : "", body.n, JSON_REJECT_DUPLICATES, &error) : NULL;

	*out = (struct reply){ .result = TOKEN_GOOD };
	if (!json_is_object(root))
		refuse(out, TOKEN_UNKNOWN, "the issuer's answer is no JSON object", SPAN_NONE);
	else
		judge(root, want, now_s, out);
	json_decref(root);
}
