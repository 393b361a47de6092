/* SPDX-License-Identifier: ISC */
#include "daemons/stsd/fetch.h"

#include <stdio.h>

#include "base/owner.h"
#include "daemons/stsd/policy.h"
#include "service/web.h"

static void
went_wrong(struct fetch *f, const char *result, const char *why)
{
	f->result = result;
	web_why(f->why, sizeof(f->why), why);
}

/* RFC 8461 3.3: 200 alone, and text/plain. */
static void
judge(struct fetch *f, const struct web_reply *reply)
{
	struct span type = span_str(reply->type);
	char why[64];

	if (reply->status != 200) {
		(void)snprintf(why, sizeof(why), "HTTP status %ld", reply->status);
		went_wrong(f, "sts-policy-fetch-error", why);
	} else if (!span_caseeq(span_trim(span_cut(&type, ';')), SPAN("text/plain"))) {
		went_wrong(f, "sts-policy-fetch-error", "not of the type text/plain");
	}
}

static void
run(struct work *w)
{
	struct fetch *f = OWNER_OF(w, struct fetch, work);
	struct web_reply reply = { .body = &f->body };
	char url[400];

	(void)snprintf(url, sizeof(url), "https://%s:%u/.well-known/mta-sts.txt", f->host, f->port);
	switch (web_perform(&(struct web_request){ .agent = "Pillarpost stsd", .url = url, .host = f->host, .port = f->port,
	    .addresses = f->addresses, .ca_file = f->ca_file, .timeout_ms = FETCH_SECONDS * 1000, .connect_ms = FETCH_SECONDS * 1000 / 3,
	    .body_max = POLICY_BODY_MAX }, &reply)) {
	case WEB_ANSWERED:
		judge(f, &reply);
		break;
	case WEB_UNTRUSTED:
		went_wrong(f, "sts-webpki-invalid", reply.why);
		break;
	default:
		went_wrong(f, "sts-policy-fetch-error", reply.why);
		break;
	}
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
