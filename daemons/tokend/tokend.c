/* SPDX-License-Identifier: ISC */
#include "daemons/tokend/tokend.h"

#include <arpa/inet.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "daemons/tokend/ask.h"
#include "daemons/tokend/reply.h"
#include "service/lookup.h"
#include "service/web.h"

enum {
	THREADS = 8,
	QUESTIONS_MAX = 512, /* at once; more are answered "not known" */
	SECRET_MAX = 400,
	DNS_ADDR = 1, /* as the dns channel counts it */
};

struct tokend {
	struct service *service;
	struct inquirer dns;
	struct worker_pool *pool; /* once there is something to ask */
	struct list questions;
	size_t count;
	struct ask_target target;
	bool usable;              /* target is */
	char secret[SECRET_MAX + 1];
	uint64_t asked, good, bad, unknown;
};

struct question {
	struct list node;
	struct tokend *tokend;
	struct channel *channel; /* NULL: authd has gone */
	uint64_t id;
	bool looking;
	struct lookup lookup;
	struct ask ask;
};

static void
question_free(struct question *q)
{
	if (q->looking)
		lookup_cancel(&q->lookup);
	ask_free(&q->ask);
	list_remove(&q->node);
	q->tokend->count--;
	free(q);
}

static void
answer(struct question *q, const struct reply *r)
{
	struct ipc_token_answer m = { .id = q->id, .result = (uint8_t)r->result, .user = span_str(r->user), .seconds = r->seconds, .why = span_str(r->why) };
	struct tokend *t = q->tokend;

	*(r->result == TOKEN_GOOD ? &t->good : r->result == TOKEN_UNKNOWN ? &t->unknown : &t->bad) += 1;
	if (r->result == TOKEN_UNKNOWN)
		log_put(LOG_failure, "auth_oauth2_introspection_url: %s", r->why);
	if (q->channel)
		(void)ipc_send_token_answer(q->channel, &m);
	question_free(q);
}

static void
give_up(struct question *q, const char *why)
{
	struct reply r = { .result = TOKEN_UNKNOWN };

	(void)span_cstr(span_sub(span_str(why), 0, sizeof(r.why) - 1), r.why, sizeof(r.why));
	answer(q, &r);
}

static void
on_asked(struct ask *a)
{
	struct question *q = OWNER_OF(a, struct question, ask);
	const struct conf *conf = q->tokend->service->conf;
	struct reply_want want = { conf->auth_oauth2_username_attribute, conf->auth_oauth2_scope, conf->auth_oauth2_audience };
	struct reply r;

	if (!a->ok) {
		give_up(q, a->why);
		return;
	}
	reply_read(buf_span(&a->body), &want, loop_wall_ms(q->tokend->service->loop) / 1000, &r);
	answer(q, &r);
}

static void
begin(struct question *q)
{
	struct tokend *t = q->tokend;

	if (!t->pool)
		t->pool = worker_pool_new(t->service->loop, THREADS);
	if (!t->pool) {
		give_up(q, "no threads");
		return;
	}
	q->ask.on_done = on_asked;
	ask_start(&q->ask, t->pool);
}

/* The issuer's addresses. */

static void
on_address(struct lookup *l, const struct ipc_dns_record *m)
{
	struct ask *a = &OWNER_OF(l, struct question, lookup)->ask;
	size_t n = strlen(a->addresses);
	char text[INET6_ADDRSTRLEN];
	bool v6 = m->data.n == 16;

	if ((m->data.n != 4 && !v6) || !inet_ntop(v6 ? AF_INET6 : AF_INET, m->data.p, text, sizeof(text)) || n + sizeof(text) + 4 > sizeof(a->addresses))
		return;
	(void)snprintf(a->addresses + n, sizeof(a->addresses) - n, v6 ? "%s[%s]" : "%s%s", n ? "," : "", text);
}

static void
on_address_again(struct lookup *l)
{
	OWNER_OF(l, struct question, lookup)->ask.addresses[0] = '\0';
}

static void
on_address_done(struct lookup *l, const struct ipc_dns_done *m)
{
	struct question *q = OWNER_OF(l, struct question, lookup);
	char why[160];

	q->looking = false;
	if (q->ask.addresses[0]) {
		begin(q);
		return;
	}
	(void)snprintf(why, sizeof(why), "%.80s has no address%s%.*s", q->tokend->target.host, m->why.n ? ": " : "", SPAN_ARG(span_sub(m->why, 0, 60)));
	give_up(q, why);
}

/* authd's questions. */

static void
start(struct question *q)
{
	struct tokend *t = q->tokend;

	if (!t->usable) {
		give_up(q, "it is not a URL that can be asked");
		return;
	}
	if (t->target.literal) {
		begin(q);
		return;
	}
	q->lookup = (struct lookup){ .on_record = on_address, .on_done = on_address_done, .on_again = on_address_again };
	q->looking = lookup_start(&t->dns, &q->lookup, DNS_ADDR, span_str(t->target.host));
	if (!q->looking)
		give_up(q, "the host's name is too long");
}

static bool
on_token_ask(struct channel *c, const struct ipc_token_ask *m)
{
	struct service *s = channel_owner(c);
	struct tokend *t = s->state;
	struct question *q = t->count < QUESTIONS_MAX ? calloc(1, sizeof(*q)) : NULL;

	if (!q)
		return ipc_send_token_answer(c, &(struct ipc_token_answer){ .id = m->id, .result = TOKEN_UNKNOWN, .why = SPAN("too many questions at once") });
	t->asked++;
	q->tokend = t;
	q->channel = c;
	q->id = m->id;
	q->ask.target = &t->target;
	buf_init(&q->ask.token, B_TOKEN);
	buf_put(&q->ask.token, m->token);
	list_push(&t->questions, &q->node);
	t->count++;
	if (buf_ok(&q->ask.token))
		start(q);
	else
		give_up(q, "no memory");
	return true;
}

#define DISPATCH_DEF "ipc/token.def"
#define DISPATCH_SIDE SERVER
#include "ipc/dispatch.h"

static void
on_closed(struct channel *c, const struct fail *why)
{
	struct service *s = channel_owner(c);
	struct tokend *t = s->state;

	log_put(LOG_channel, "token: %s", why->text);
	LIST_EACH(&t->questions, node) {
		struct question *q = OWNER_OF(node, struct question, node);

		if (q->channel == c)
			q->channel = NULL;
	}
	channel_free(&c);
}

static void
on_open(struct service *s, struct channel *c, struct span peer, unsigned instance)
{
	(void)s, (void)c, (void)peer, (void)instance; /* the owner is the service */
}

static void
on_dns_open(struct service *s, struct channel *c, struct span peer, unsigned instance)
{
	struct tokend *t = s->state;

	(void)peer, (void)instance;
	inquirer_open(&t->dns, c);
}

/* Life. */

static bool
on_boot(struct service *s, struct fail *why)
{
	struct tokend *t = calloc(1, sizeof(*t));
	const struct conf *conf = s->conf;

	if (!t || !web_setup()) {
		free(t);
		return fail_set(why, FAIL_TEMP, 0, "no memory");
	}
	t->service = s;
	inquirer_init(&t->dns, &lookup_ops);
	list_init(&t->questions);
	t->target.timeout_ms = conf->auth_oauth2_timeout;
	(void)span_cstr(conf->auth_oauth2_CAfile, t->target.ca_file, sizeof(t->target.ca_file));
	t->usable = conf->auth_oauth2_introspection_url.n && ask_target(&t->target, conf->auth_oauth2_introspection_url, why);
	if (conf->auth_oauth2_introspection_url.n && !t->usable)
		log_put(LOG_failure, "auth_oauth2_introspection_url: %s", why->text);
	s->state = t;
	return true;
}

/* The client's secret, as maild has opened it: the first line. */
static void
on_file(struct service *s, struct span purpose, struct span path, int fd)
{
	struct tokend *t = s->state;
	ssize_t n = span_eq(purpose, SPAN("secret")) ? pread(fd, t->secret, SECRET_MAX, 0) : 0;

	(void)path;
	if (n >= 0)
		t->secret[n] = '\0';
	t->secret[strcspn(t->secret, "\r\n")] = '\0';
	(void)close(fd);
}

static bool
on_start(struct service *s, struct fail *why)
{
	struct tokend *t = s->state;

	if (s->conf->auth_oauth2_client_id.n && !t->target.credentials[0] && /* else threads are at it */
	    !ask_credentials(&t->target, s->conf->auth_oauth2_client_id, span_str(t->secret)))
		return fail_set(why, FAIL_TEMP, 0, "no memory");
	return true;
}

static void
on_state(struct service *s, struct buf *out)
{
	const struct tokend *t = s->state;

	buf_printf(out, "asked=%" PRIu64 " good=%" PRIu64 " bad=%" PRIu64 " unknown=%" PRIu64 " pending=%zu", t->asked, t->good, t->bad, t->unknown, t->count);
}

/* What is being asked is given up. */
static void
on_stop(struct service *s)
{
	struct tokend *t = s->state;

	explicit_bzero(t->secret, sizeof(t->secret));
	service_exit(s);
}

static const struct channel_ops token_ops = { dispatch_token, on_closed, NULL };

static const struct service_channel channels[] = {
	{ &ipc_channel_token, CHANNEL_SERVER, &token_ops, on_open },
	{ &ipc_channel_dns, CHANNEL_CLIENT, &lookup_channel_ops, on_dns_open },
};

const struct service_ops tokend_ops = {
	.name = "tokend",
	.see = CONF_TOKEND,
	.channels = channels,
	.nchannels = sizeof(channels) / sizeof(*channels),
	.on_boot = on_boot,
	.on_file = on_file,
	.on_start = on_start,
	.on_state = on_state,
	.on_stop = on_stop,
};
