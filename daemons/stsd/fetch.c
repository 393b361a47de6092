/* SPDX-License-Identifier: ISC */
#include "daemons/stsd/fetch.h"

#include <curl/curl.h>
#include <stdio.h>
#include <string.h>

#include "base/owner.h"
#include "daemons/stsd/policy.h"

bool
fetch_setup(void)
{
	return curl_global_init(CURL_GLOBAL_DEFAULT) == CURLE_OK;
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
set_up(CURL *c, struct fetch *f, const char *url, struct curl_slist *resolve, char error[CURL_ERROR_SIZE])
{
	return text_option(c, CURLOPT_URL, url) && text_option(c, CURLOPT_PROTOCOLS_STR, "https") && text_option(c, CURLOPT_PROXY, "") &&
	    number_option(c, CURLOPT_FOLLOWLOCATION, 0) && number_option(c, CURLOPT_NOSIGNAL, 1) && number_option(c, CURLOPT_TIMEOUT, FETCH_SECONDS) &&
	    number_option(c, CURLOPT_CONNECTTIMEOUT, FETCH_SECONDS / 3) && number_option(c, CURLOPT_MAXFILESIZE, POLICY_BODY_MAX) &&
	    number_option(c, CURLOPT_HTTP_VERSION, CURL_HTTP_VERSION_1_1) && number_option(c, CURLOPT_SSLVERSION, CURL_SSLVERSION_TLSv1_2) &&
	    number_option(c, CURLOPT_SSL_VERIFYPEER, 1) && number_option(c, CURLOPT_SSL_VERIFYHOST, 2) && text_option(c, CURLOPT_CAINFO, f->ca_file) &&
	    text_option(c, CURLOPT_USERAGENT, "Pillarpost stsd") && curl_easy_setopt(c, CURLOPT_RESOLVE, resolve) == CURLE_OK &&
	    curl_easy_setopt(c, CURLOPT_WRITEFUNCTION, on_body) == CURLE_OK && curl_easy_setopt(c, CURLOPT_WRITEDATA, &f->body) == CURLE_OK &&
	    curl_easy_setopt(c, CURLOPT_ERRORBUFFER, error) == CURLE_OK;
}

static void
went_wrong(struct fetch *f, const char *result, const char *why)
{
	f->result = result;
	(void)snprintf(f->why, sizeof(f->why), "%s", why);
	for (char *c = f->why; *c; c++)
		if (!ascii_print(*c))
			*c = '?';
}

/* RFC 8461 3.3: 200 alone, and text/plain. */
static void
judge(CURL *c, struct fetch *f)
{
	struct span type;
	char *text = NULL;
	char why[64];
	long status = 0;

	(void)curl_easy_getinfo(c, CURLINFO_RESPONSE_CODE, &status);
	(void)curl_easy_getinfo(c, CURLINFO_CONTENT_TYPE, &text);
	type = span_str(text);
	if (status != 200) {
		(void)snprintf(why, sizeof(why), "HTTP status %ld", status);
		went_wrong(f, "sts-policy-fetch-error", why);
	} else if (!span_caseeq(span_trim(span_cut(&type, ';')), SPAN("text/plain"))) {
		went_wrong(f, "sts-policy-fetch-error", "not of the type text/plain");
	}
}

static void
perform(CURL *c, struct fetch *f)
{
	struct curl_slist *resolve;
	char url[400], at[FETCH_ADDRESSES + 300], error[CURL_ERROR_SIZE] = "";
	CURLcode code;

	(void)snprintf(url, sizeof(url), "https://%s:%u/.well-known/mta-sts.txt", f->host, f->port);
	(void)snprintf(at, sizeof(at), "%s:%u:%s", f->host, f->port, f->addresses);
	resolve = curl_slist_append(NULL, at);
	if (!resolve || !set_up(c, f, url, resolve, error)) {
		went_wrong(f, "sts-policy-fetch-error", "libcurl cannot be set up");
	} else if ((code = curl_easy_perform(c)) == CURLE_OK) {
		judge(c, f);
	} else {
		went_wrong(f, code == CURLE_PEER_FAILED_VERIFICATION ? "sts-webpki-invalid" : "sts-policy-fetch-error",
		    error[0] ? error : curl_easy_strerror(code));
	}
	curl_slist_free_all(resolve);
}

static void
run(struct work *w)
{
	struct fetch *f = OWNER_OF(w, struct fetch, work);
	CURL *c = curl_easy_init();

	if (c)
		perform(c, f);
	else
		went_wrong(f, "sts-policy-fetch-error", "no memory");
	curl_easy_cleanup(c);
}

static void
done(struct work *w)
{
	struct fetch *f = OWNER_OF(w, struct fetch, work);

	f->on_done(f);
}

void
fetch_start(struct fetch *f, struct worker_pool *pool)
{
	f->work.run = run;
	f->work.done = done;
	f->result = NULL;
	buf_init(&f->body, POLICY_BODY_MAX + 1);
	worker_submit(pool, &f->work);
}

void
fetch_free(struct fetch *f)
{
	buf_free(&f->body);
}
