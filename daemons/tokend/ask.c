/* SPDX-License-Identifier: ISC */
#include "daemons/tokend/ask.h"

#include <curl/curl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/owner.h"
#include "daemons/tokend/reply.h"
#include "net/netaddr.h"
#include "service/web.h"

static bool
part(CURLU *u, CURLUPart which, unsigned flags, char *to, size_t cap)
{
	char *text = NULL;
	bool ok = curl_url_get(u, which, &text, flags) == CURLUE_OK && strlen(text) < cap;

	if (ok)
		(void)snprintf(to, cap, "%s", text);
	curl_free(text);
	return ok;
}

/* A URL has brackets around one of IPv6. */
static bool
parse_address(struct span host, struct netaddr *a)
{
	if (span_starts(host, SPAN("[")) && span_ends(host, SPAN("]")))
		host = span_sub(host, 1, host.n - 2);
	return netaddr_parse(host, 0, a);
}

/* The token goes there: in clear only where nobody can listen. */
static bool
parse(CURLU *u, struct ask_target *t, struct fail *why)
{
	char scheme[16], port[8], user[64];
	struct netaddr a;
	bool local;

	if (curl_url_set(u, CURLUPART_URL, t->url, 0) != CURLUE_OK || !part(u, CURLUPART_SCHEME, 0, scheme, sizeof(scheme)) ||
	    !part(u, CURLUPART_HOST, 0, t->host, sizeof(t->host)) || !part(u, CURLUPART_PORT, CURLU_DEFAULT_PORT, port, sizeof(port)))
		return fail_set(why, FAIL_PERM, 0, "not a URL");
	if (part(u, CURLUPART_USER, 0, user, sizeof(user)))
		return fail_set(why, FAIL_PERM, 0, "the name and the secret do not belong into the URL");
	t->port = (unsigned)strtoul(port, NULL, 10);
	t->literal = parse_address(span_str(t->host), &a) || strcmp(t->host, "localhost") == 0;
	local = t->literal && (strcmp(t->host, "localhost") == 0 || netaddr_loopback(&a));
	if (strcmp(scheme, "https") != 0 && !(local && strcmp(scheme, "http") == 0))
		return fail_set(why, FAIL_PERM, 0, "neither https nor http on this host");
	return true;
}

bool
ask_target(struct ask_target *t, struct span url, struct fail *why)
{
	CURLU *u = curl_url();
	bool ok = u && span_cstr(url, t->url, sizeof(t->url)) ? parse(u, t, why) : fail_set(why, FAIL_PERM, 0, "too long");

	curl_url_cleanup(u);
	return ok;
}

static void
went_wrong(struct ask *a, const char *why)
{
	a->ok = false;
	web_why(a->why, sizeof(a->why), why);
}

/* application/x-www-form-urlencoded. */
static void
put_encoded(struct buf *out, struct span text)
{
	for (size_t i = 0; i < text.n; i++) {
		if (ascii_alnum(text.p[i]) || span_chr(SPAN("-._~"), text.p[i]) != SIZE_MAX)
			buf_putc(out, text.p[i]);
		else
			buf_printf(out, "%%%02X", (unsigned char)text.p[i]);
	}
}

/* RFC 6749 2.3.1: both are encoded first, so that a colon, or what an issuer decodes, does not change them. */
bool
ask_credentials(struct ask_target *t, struct span id, struct span secret)
{
	struct buf both;
	bool ok;

	buf_init(&both, ASK_CREDENTIALS);
	(void)buf_room(&both, ASK_CREDENTIALS); /* what grows leaves copies behind */
	put_encoded(&both, id);
	buf_putc(&both, ':');
	put_encoded(&both, secret);
	ok = buf_ok(&both) && span_cstr(buf_span(&both), t->credentials, sizeof(t->credentials));
	buf_wipe(&both);
	return ok;
}

/* RFC 7662 2.1. */
static void
put_form(struct buf *out, struct span token)
{
	buf_puts(out, "token=");
	put_encoded(out, token);
	buf_puts(out, "&token_type_hint=access_token");
}

static void
perform(struct ask *a, struct span post)
{
	const struct ask_target *t = a->target;
	struct web_reply reply = { .body = &a->body };
	enum web_result result = web_perform(&(struct web_request){ .agent = "Pillarpost tokend", .url = t->url, .plain = true, .host = t->host,
	    .port = t->port, .addresses = a->addresses, .ca_file = t->ca_file, .timeout_ms = t->timeout_ms, .body_max = REPLY_BODY_MAX,
	    .credentials = t->credentials, .accept = "Accept: application/json", .post = post }, &reply);
	char status[64];

	a->ok = result == WEB_ANSWERED && reply.status == 200;
	(void)snprintf(status, sizeof(status), "HTTP status %ld", reply.status);
	if (!a->ok)
		went_wrong(a, result == WEB_ANSWERED ? status : reply.why);
}

static void
run(struct work *w)
{
	struct ask *a = OWNER_OF(w, struct ask, work);
	struct buf post;

	buf_init(&post, 3 * B_TOKEN + 64);
	put_form(&post, buf_span(&a->token));
	if (buf_ok(&post))
		perform(a, buf_span(&post));
	else
		went_wrong(a, "no memory");
	buf_wipe(&post);
}

static void
done(struct work *w)
{
	struct ask *a = OWNER_OF(w, struct ask, work);

	a->on_done(a);
}

void
ask_start(struct ask *a, struct worker_pool *pool)
{
	a->work.run = run;
	a->work.done = done;
	buf_init(&a->body, REPLY_BODY_MAX + 1);
	worker_submit(pool, &a->work);
}

void
ask_free(struct ask *a)
{
	buf_wipe(&a->token);
	buf_free(&a->body);
}
