/* SPDX-License-Identifier: ISC */
#include "net/scram_server.h"

#include <string.h>

#include "base/base64.h"

static bool
bad(struct fail *why, const char *text)
{
	return fail_set(why, FAIL_PEER, 0, "SCRAM: %s", text);
}

/* "k=value" at the front of *rest, up to the comma. */
static bool
attribute(struct span *rest, char key, struct span *value)
{
	struct span item = span_cut(rest, ',');

	if (item.n < 2 || item.p[0] != key || item.p[1] != '=')
		return false;
	*value = span_from(item, 2);
	return true;
}

/* RFC 5802 5.1: a saslname, in which "," and "=" are =2C and =3D. */
static bool
decode_name(struct span text, struct buf *to, struct span *out)
{
	size_t before = buf_len(to);

	for (size_t i = 0; i < text.n; i++) {
		if (text.p[i] != '=') {
			buf_putc(to, text.p[i]);
			continue;
		}
		if (span_starts(span_from(text, i), SPAN("=2C")))
			buf_putc(to, ',');
		else if (span_starts(span_from(text, i), SPAN("=3D")))
			buf_putc(to, '=');
		else
			return false;
		i += 2;
	}
	*out = span_from(buf_span(to), before);
	return text.n > 0 && buf_ok(to);
}

/* RFC 5802 7: printable but for the comma. */
static bool
is_nonce(struct span s)
{
	for (size_t i = 0; i < s.n; i++)
		if (!ascii_print(s.p[i]) || s.p[i] == ' ' || s.p[i] == ',')
			return false;
	return s.n > 0;
}

static bool
is_text(struct span s)
{
	for (size_t i = 0; i < s.n; i++)
		if ((unsigned char)s.p[i] < ' ' || s.p[i] == 0x7f)
			return false;
	return true;
}

/* RFC 5056 7: a name of a channel binding. */
static bool
is_binding_name(struct span s)
{
	for (size_t i = 0; i < s.n; i++)
		if (!ascii_alnum(s.p[i]) && s.p[i] != '.' && s.p[i] != '-')
			return false;
	return s.n > 0;
}

/* gs2-header: how the client binds, and as whom it wants to act. */
static bool
parse_header(struct span *rest, struct buf *names, struct scram_first *out, struct fail *why)
{
	struct span flag = span_cut(rest, ','), identity;

	if (!rest->p)
		return bad(why, "no gs2-header");
	if (span_starts(flag, SPAN("p=")))
		out->binding = span_from(flag, 2);
	else if (span_eq(flag, SPAN("y")))
		out->could_bind = true;
	else if (!span_eq(flag, SPAN("n")))
		return bad(why, "no channel binding flag");
	if (out->binding.p && !is_binding_name(out->binding))
		return bad(why, "no name of a channel binding");
	identity = span_cut(rest, ',');
	if (!rest->p)
		return bad(why, "no gs2-header");
	if (identity.n && !(span_starts(identity, SPAN("a=")) && decode_name(span_from(identity, 2), names, &out->authzid)))
		return bad(why, "malformed authorization identity");
	return true;
}

bool
scram_parse_first(struct span message, struct buf *names, struct scram_first *out, struct fail *why)
{
	struct span rest = message, name;

	*out = (struct scram_first){ .could_bind = false };
	if (!is_text(message))
		return bad(why, "control characters");
	if (!parse_header(&rest, names, out, why))
		return false;
	out->header = span_sub(message, 0, message.n - rest.n);
	out->bare = rest;
	if (rest.n > SCRAM_BARE_MAX)
		return bad(why, "message is too long");
	/* RFC 5802 5.1: "m=" in front would be an extension that must not be passed over. */
	if (!attribute(&rest, 'n', &name) || !decode_name(name, names, &out->user))
		return bad(why, "malformed user name");
	if (!attribute(&rest, 'r', &out->nonce) || out->nonce.n > SCRAM_NONCE_MAX || !is_nonce(out->nonce))
		return bad(why, "malformed nonce");
	return true;
}

bool
scram_parse_final(struct span message, struct scram_final *out, struct fail *why)
{
	size_t at = span_rchr(message, ',');
	struct span proof = span_from(message, at == SIZE_MAX ? message.n : at + 1), rest;
	struct buf decoded;
	bool ok;

	*out = (struct scram_final){ .without = span_sub(message, 0, at) };
	if (!is_text(message) || out->without.n > SCRAM_BARE_MAX)
		return bad(why, "message is too long or has control characters");
	rest = out->without;
	if (at == SIZE_MAX || !attribute(&rest, 'c', &out->binding))
		return bad(why, "no channel binding");
	if (!attribute(&rest, 'r', &out->nonce) || !is_nonce(out->nonce))
		return bad(why, "malformed nonce");
	buf_init(&decoded, 2 * SCRAM_PROOF);
	ok = span_starts(proof, SPAN("p=")) && base64_decode(&decoded, span_from(proof, 2)) && buf_len(&decoded) == SCRAM_PROOF;
	if (ok)
		memcpy(out->proof, buf_span(&decoded).p, SCRAM_PROOF);
	buf_wipe(&decoded);
	return ok || bad(why, "malformed proof");
}

struct span
scram_server_nonce(struct span server_first)
{
	struct span nonce = SPAN_NONE;

	return attribute(&server_first, 'r', &nonce) && is_nonce(nonce) ? nonce : SPAN_NONE;
}
