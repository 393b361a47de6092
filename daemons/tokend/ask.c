/* SPDX-License-Identifier: ISC */
#include "daemons/tokend/ask.h"

#include <curl/curl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/owner.h"
#include "daemons/tokend/reply.h"
#include "net/netaddr.h"

bool
ask_setup(void)
{
	return curl_global_init(CURL_GLOBAL_DEFAULT) == CURLE_OK;
}

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
	t->literal = netaddr_parse(span_str(t->host), 0, &a) || strcmp(t->host, "localhost") == 0;
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

static size_t
on_body(char *data, size_t size, size_t n, void *arg)
{
	struct buf *body = arg;

	buf_put(body, span_of(data, size * n));
	return buf_ok(body) ? size * n : 0;
}

static bool
text_option(CURL *c, CURLoption option, const char *value)
{
	return curl_easy_setopt(c, option, value) == CURLE_OK;
}

static bool
number_option(CURL *c, CURLoption option, long value)
{
	return curl_easy_setopt(c, option, value) == CURLE_OK;
}

static bool
set_up(CURL *c, struct ask *a, const char *post, size_t n, struct curl_slist *resolve, struct curl_slist *headers, char error[CURL_ERROR_SIZE])
{
	const struct ask_target *t = a->target;

	return text_option(c, CURLOPT_URL, t->url) && text_option(c, CURLOPT_PROTOCOLS_STR, "http,https") && text_option(c, CURLOPT_PROXY, "") &&
	    number_option(c, CURLOPT_FOLLOWLOCATION, 0) && number_option(c, CURLOPT_NOSIGNAL, 1) && number_option(c, CURLOPT_TIMEOUT_MS, (long)t->timeout_ms) &&
	    number_option(c, CURLOPT_MAXFILESIZE, REPLY_BODY_MAX) && number_option(c, CURLOPT_HTTP_VERSION, CURL_HTTP_VERSION_1_1) &&
	    number_option(c, CURLOPT_SSLVERSION, CURL_SSLVERSION_TLSv1_2) && number_option(c, CURLOPT_SSL_VERIFYPEER, 1) &&
	    number_option(c, CURLOPT_SSL_VERIFYHOST, 2) && (!t->ca_file[0] || text_option(c, CURLOPT_CAINFO, t->ca_file)) &&
	    text_option(c, CURLOPT_USERAGENT, "Pillarpost tokend") && number_option(c, CURLOPT_POSTFIELDSIZE, (long)n) && text_option(c, CURLOPT_POSTFIELDS, post) &&
	    (!t->credentials[0] || (number_option(c, CURLOPT_HTTPAUTH, CURLAUTH_BASIC) && text_option(c, CURLOPT_USERPWD, t->credentials))) &&
	    (!resolve || curl_easy_setopt(c, CURLOPT_RESOLVE, resolve) == CURLE_OK) && curl_easy_setopt(c, CURLOPT_HTTPHEADER, headers) == CURLE_OK &&
	    curl_easy_setopt(c, CURLOPT_WRITEFUNCTION, on_body) == CURLE_OK && curl_easy_setopt(c, CURLOPT_WRITEDATA, &a->body) == CURLE_OK &&
	    curl_easy_setopt(c, CURLOPT_ERRORBUFFER, error) == CURLE_OK;
}

static void
went_wrong(struct ask *a, const char *why)
{
	a->ok = false;
	(void)snprintf(a->why, sizeof(a->why), "%s", why);
	for (char *c = a->why; *c; c++)
		if (!ascii_print(*c))
			*c = '?';
}

/* RFC 7662 2.1. */
static void
put_form(struct buf *out, struct span token)
{
	buf_puts(out, "token=");
	for (size_t i = 0; i < token.n; i++) {
		if (ascii_alnum(token.p[i]) || span_chr(SPAN("-._~"), token.p[i]) != SIZE_MAX)
			buf_putc(out, token.p[i]);
		else
			buf_printf(out, "%%%02X", (unsigned char)token.p[i]);
	}
	buf_puts(out, "&token_type_hint=access_token");
	buf_putc(out, '\0');
}

static void
perform(CURL *c, struct ask *a, const struct buf *post)
{
	char at[ASK_ADDRESSES + 300], status_text[64], error[CURL_ERROR_SIZE] = "";
	struct curl_slist *headers = curl_slist_append(NULL, "Accept: application/json"), *resolve = NULL;
	long status = 0;
	CURLcode code;

	if (a->addresses[0]) {
		(void)snprintf(at, sizeof(at), "%s:%u:%s", a->target->host, a->target->port, a->addresses);
		resolve = curl_slist_append(NULL, at);
	}
	if (!headers || (a->addresses[0] && !resolve) || !set_up(c, a, buf_span(post).p, buf_len(post) - 1, resolve, headers, error)) {
		went_wrong(a, "libcurl cannot be set up");
	} else if ((code = curl_easy_perform(c)) != CURLE_OK) {
		went_wrong(a, error[0] ? error : curl_easy_strerror(code));
	} else {
		(void)curl_easy_getinfo(c, CURLINFO_RESPONSE_CODE, &status);
		(void)snprintf(status_text, sizeof(status_text), "HTTP status %ld", status);
		a->ok = status == 200;
		if (!a->ok)
			went_wrong(a, status_text);
	}
	curl_slist_free_all(resolve);
	curl_slist_free_all(headers);
}

static void
run(struct work *w)
{
	struct ask *a = OWNER_OF(w, struct ask, work);
	CURL *c = curl_easy_init();
	struct buf post;

	buf_init(&post, 3 * B_TOKEN + 64);
	put_form(&post, buf_span(&a->token));
	if (c && buf_ok(&post))
		perform(c, a, &post);
	else
		went_wrong(a, "no memory");
	buf_wipe(&post);
	curl_easy_cleanup(c);
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
