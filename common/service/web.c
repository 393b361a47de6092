/* SPDX-License-Identifier: ISC */
#include "service/web.h"

#include <curl/curl.h>
#include <stdio.h>


enum { AT_MAX = 2048 };

bool
web_setup(void)
{
	return curl_global_init(CURL_GLOBAL_DEFAULT) == CURLE_OK;
}

void
web_why(char *to, size_t cap, const char *why)
{
	(void)snprintf(to, cap, "%s", why);
	for (; *to; to++)
		if (!ascii_print(*to))
			*to = '?';
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
number_option(CURL *c, CURLoption option, int64_t value)
{
	return curl_easy_setopt(c, option, (long)value) == CURLE_OK;
}

static bool
list_option(CURL *c, CURLoption option, const char *line, struct curl_slist **list)
{
	*list = curl_slist_append(NULL, line);
	return *list && curl_easy_setopt(c, option, *list) == CURLE_OK;
}

/* What every request has. */
static bool
set_bounds(CURL *c, const struct web_request *r)
{
	return text_option(c, CURLOPT_URL, r->url) && text_option(c, CURLOPT_PROTOCOLS_STR, r->plain ? "http,https" : "https") &&
	    text_option(c, CURLOPT_PROXY, "") && text_option(c, CURLOPT_USERAGENT, r->agent) && number_option(c, CURLOPT_FOLLOWLOCATION, 0) &&
	    number_option(c, CURLOPT_NOSIGNAL, 1) && number_option(c, CURLOPT_TIMEOUT_MS, r->timeout_ms) &&
	    number_option(c, CURLOPT_CONNECTTIMEOUT_MS, r->connect_ms ? r->connect_ms : r->timeout_ms) &&
	    number_option(c, CURLOPT_MAXFILESIZE, (int64_t)r->body_max) && number_option(c, CURLOPT_HTTP_VERSION, CURL_HTTP_VERSION_1_1) &&
	    number_option(c, CURLOPT_SSLVERSION, CURL_SSLVERSION_TLSv1_2) && number_option(c, CURLOPT_SSL_VERIFYPEER, 1) &&
	    number_option(c, CURLOPT_SSL_VERIFYHOST, 2) && (!r->ca_file[0] || text_option(c, CURLOPT_CAINFO, r->ca_file));
}

static bool
set_post(CURL *c, const struct web_request *r, struct curl_slist **headers)
{
	return number_option(c, CURLOPT_POSTFIELDSIZE, (int64_t)r->post.n) && text_option(c, CURLOPT_POSTFIELDS, r->post.p) &&
	    list_option(c, CURLOPT_HTTPHEADER, r->accept, headers) &&
	    (!r->credentials[0] || (number_option(c, CURLOPT_HTTPAUTH, CURLAUTH_BASIC) && text_option(c, CURLOPT_USERPWD, r->credentials)));
}

static bool
set_up(CURL *c, const struct web_request *r, struct web_reply *reply, char *error, struct curl_slist **resolve, struct curl_slist **headers)
{
	char at[AT_MAX];
	int n = snprintf(at, sizeof(at), "%s:%u:%s", r->host, r->port, r->addresses);

	return n > 0 && n < AT_MAX && set_bounds(c, r) && (!r->addresses[0] || list_option(c, CURLOPT_RESOLVE, at, resolve)) &&
	    (!r->post.p || set_post(c, r, headers)) && curl_easy_setopt(c, CURLOPT_WRITEFUNCTION, on_body) == CURLE_OK &&
	    curl_easy_setopt(c, CURLOPT_WRITEDATA, reply->body) == CURLE_OK && curl_easy_setopt(c, CURLOPT_ERRORBUFFER, error) == CURLE_OK;
}

static enum web_result
perform(CURL *c, struct web_reply *reply, const char *error)
{
	CURLcode code = curl_easy_perform(c);
	char *type = NULL;

	if (code != CURLE_OK) {
		web_why(reply->why, sizeof(reply->why), error[0] ? error : curl_easy_strerror(code));
		return code == CURLE_PEER_FAILED_VERIFICATION ? WEB_UNTRUSTED : WEB_FAILED;
	}
	(void)curl_easy_getinfo(c, CURLINFO_RESPONSE_CODE, &reply->status);
	(void)curl_easy_getinfo(c, CURLINFO_CONTENT_TYPE, &type);
	(void)snprintf(reply->type, sizeof(reply->type), "%s", type ? type : "");
	return WEB_ANSWERED;
}

enum web_result
web_perform(const struct web_request *r, struct web_reply *reply)
{
	struct curl_slist *resolve = NULL, *headers = NULL;
	enum web_result result = WEB_FAILED;
	char error[CURL_ERROR_SIZE] = "";
	CURL *c = curl_easy_init();

	reply->why[0] = '\0';
	if (c && set_up(c, r, reply, error, &resolve, &headers))
		result = perform(c, reply, error);
	else
		web_why(reply->why, sizeof(reply->why), "libcurl cannot be set up");
	curl_slist_free_all(resolve);
	curl_slist_free_all(headers);
	curl_easy_cleanup(c);
	return result;
}
