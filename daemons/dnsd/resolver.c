/* SPDX-License-Identifier: ISC */
#include "daemons/dnsd/resolver.h"

#include <arpa/inet.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unbound.h>

#include "base/buf.h"
#include "base/map.h"
#include "daemons/dnsd/hosts.h"
#include "daemons/dnsd/signatures.h"
#include "log/log.h"

enum {
	PARTS = 2,
	KEY = 300,
	ANSWER_ARENA = 1024 * 1024,
	FLIGHTS_MAX = 2 * PARTS * RESOLVER_QUESTIONS, /* some KiB each, of libunbound's */
};

/* The types of the wire; RFC 1035, RFC 3596, RFC 6698. */
enum { RR_A = 1, RR_CNAME = 5, RR_PTR = 12, RR_MX = 15, RR_TXT = 16, RR_AAAA = 28, RR_TLSA = 52, CLASS_IN = 1 };

struct question;

/* A query that libunbound works on: as long as it likes, which may be minutes where name servers are silent,
 * also when nobody waits for it any more. So it is these that are counted. */
struct flight {
	struct list node;        /* resolver.flights */
	struct context *context; /* whose it is */
	struct part *part;       /* NULL: nobody waits for it */
};

/* One query of the wire; ADDR makes two. */
struct part {
	struct question *question;
	struct flight *flight; /* NULL: it has ended, or could not begin */
	int rrtype;
	bool asked, done;
	enum dns_result result;
	bool secure;
	uint32_t ttl;
};

struct question {
	struct resolver *resolver;
	struct map_node node; /* resolver.questions, by key */
	struct list by_age;   /* resolver.aging */
	struct list waiters;
	int64_t due_ms;
	enum dns_type type;
	struct part parts[PARTS];
	unsigned pending;
	struct arena arena; /* of the answer */
	struct answer answer;
	struct rdata records[RESOLVER_RECORDS];
	char key[KEY]; /* type digit, name in lower case, NUL */
	char wire_name[RDATA_NAME];
};

struct resolver {
	struct loop *loop;
	struct context validating, plain;
	struct context *context; /* the one that is asked */
	struct signatures signatures;
	struct timer timer;
	struct map questions;
	struct list aging; /* oldest first; all have the same time */
	struct list flights;
	size_t flights_max; /* of one context */
	struct hosts hosts;
	struct context_servers servers;
	int64_t timeout_ms;
	bool v4, v6;
};

/* --- answers --------------------------------------------------------------- */

static void
answer_and_free(struct question *q)
{
	struct resolver *r = q->resolver;
	struct list *node;

	map_remove(&r->questions, &q->node);
	list_remove(&q->by_age);
	q->answer.records = q->records;
	while ((node = list_shift(&q->waiters))) {
		struct resolver_waiter *w = OWNER_OF(node, struct resolver_waiter, node);

		w->on_answer(w, &q->answer);
	}
	arena_free(&q->arena);
	free(q);
}

static void
take_record(struct question *q, struct span wire)
{
	struct answer *a = &q->answer;

	if (a->nrecords < RESOLVER_RECORDS && rdata_parse(q->type, wire, &q->arena, &q->records[a->nrecords]))
		a->nrecords++;
}

static void
take_canonical(struct question *q, const struct ub_result *result)
{
	struct span name = span_str(result->canonname);

	if (span_ends(name, SPAN(".")))
		name.n--;
	for (size_t i = 0; i < name.n; i++)
		if (!ascii_alnum(name.p[i]) && name.p[i] != '-' && name.p[i] != '_' && name.p[i] != '.')
			return;
	if (name.n && name.n <= 253 && !q->answer.canonical.n)
		q->answer.canonical = arena_dup(&q->arena, name);
}

static void
explain(struct question *q, const char *why)
{
	char line[200];
	size_t n = 0;

	if (q->answer.why.n || !why)
		return;
	for (; why[n] && n < sizeof(line); n++)
		line[n] = ascii_print(why[n]) ? why[n] : '?';
	q->answer.why = arena_dup(&q->arena, span_of(line, n));
}

static void
take_result(struct part *p, int err, const struct ub_result *result)
{
	struct question *q = p->question;

	p->result = DNS_LATER;
	if (err != 0 || !result) {
		explain(q, err ? ub_strerror(err) : "no result");
		return;
	}
	p->secure = result->secure;
	p->ttl = result->ttl > 0 ? (uint32_t)result->ttl : 0;
	if (result->bogus) {
		p->result = DNS_BOGUS;
		explain(q, result->why_bogus ? result->why_bogus : "validation failed");
	} else if (result->havedata) {
		p->result = DNS_OK;
		take_canonical(q, result);
		for (size_t i = 0; result->data[i] && i < RESOLVER_RECORDS; i++)
			take_record(q, span_of(result->data[i], result->len[i] > 0 ? (size_t)result->len[i] : 0));
	} else if (result->nxdomain) {
		p->result = DNS_NO_NAME;
	} else if (result->rcode == 0) {
		p->result = DNS_NO_DATA;
	} else {
		explain(q, result->rcode == 2 ? "the name servers failed (SERVFAIL)" : result->rcode == 5 ? "refused by the name servers" : "the name servers answered with an error");
	}
}

/* Of A and AAAA: data counts first, then what may yet bring some, then that
 * there is none. */
static void
join_parts(struct question *q)
{
	static const uint8_t rank[] = { [DNS_OK] = 0, [DNS_BOGUS] = 1, [DNS_LATER] = 2, [DNS_NO_NAME] = 3, [DNS_NO_DATA] = 4 };
	struct answer *a = &q->answer;
	bool first = true;

	for (size_t i = 0; i < PARTS; i++) {
		const struct part *p = &q->parts[i];

		if (!p->asked)
			continue;
		if (first || rank[p->result] < rank[a->result]) {
			a->result = p->result;
			a->secure = p->secure;
			a->ttl = p->ttl;
		} else if (p->result == a->result) {
			a->secure = a->secure && p->secure;
			a->ttl = p->ttl < a->ttl ? p->ttl : a->ttl;
		}
		first = false;
	}
	if (a->result == DNS_OK && a->nrecords == 0 && q->type != DNS_MX)
		a->result = DNS_NO_DATA;
}

static void
flight_end(struct flight *f)
{
	f->context->nflights--;
	list_remove(&f->node);
	free(f);
}

static void
on_result(void *arg, int err, struct ub_result *result)
{
	struct flight *f = arg;
	struct part *p = f->part;

	flight_end(f);
	if (p) {
		p->flight = NULL;
		p->done = true;
		take_result(p, err, result);
	}
	ub_resolve_free(result);
	if (p && --p->question->pending == 0) {
		join_parts(p->question);
		answer_and_free(p->question);
	}
}

/* Nobody waits for it any more. */
static void
leave(struct part *p)
{
	if (p->flight)
		p->flight->part = NULL;
	p->flight = NULL;
}

/* NULL, or why it cannot begin. */
static const char *
fly(struct resolver *r, struct part *p)
{
	struct flight *f;
	int err;

	if (r->context->nflights >= r->flights_max)
		return "too many questions are without an answer";
	if (!(f = calloc(1, sizeof(*f))))
		return "no memory";
	*f = (struct flight){ .context = r->context, .part = p };
	err = ub_resolve_async(r->context->ub, p->question->wire_name, p->rrtype, CLASS_IN, f, on_result, NULL);
	if (err) {
		free(f);
		return ub_strerror(err);
	}
	list_push(&r->flights, &f->node);
	r->context->nflights++;
	p->flight = f;
	return NULL;
}

/* One family of two may have come in time: it is as secure as it is, and not to be kept. */
static void
expire(struct question *q)
{
	for (size_t i = 0; i < PARTS; i++) {
		leave(&q->parts[i]);
		if (!q->parts[i].done)
			q->parts[i].result = DNS_LATER;
	}
	join_parts(q);
	explain(q, q->answer.result == DNS_LATER ? "no answer in time" : NULL);
	q->answer.ttl = 0;
	answer_and_free(q);
}

static void
on_timer(struct timer *t)
{
	struct resolver *r = OWNER_OF(t, struct resolver, timer);
	int64_t now = loop_now_ms(r->loop);

	while (!list_empty(&r->aging)) {
		struct question *q = OWNER_OF(r->aging.next, struct question, by_age);

		if (q->due_ms > now) {
			(void)timer_set(t, q->due_ms - now);
			return;
		}
		expire(q);
	}
}

/* --- questions ---------------------------------------------------------------- */

static void
give(struct resolver_waiter *w, enum dns_result result, const char *why)
{
	struct answer a = { .result = result, .why = span_str(why) };

	w->on_answer(w, &a);
}

static bool
from_hosts(struct resolver *r, enum dns_type type, struct span name, struct resolver_waiter *w)
{
	struct rdata records[HOSTS_ADDRESSES] = { { .type = DNS_ADDR } };
	struct answer a = { .result = DNS_OK, .records = records };
	unsigned char raw[16];
	char cstr[64];

	if (type == DNS_ADDR) {
		const struct hosts_address *h = hosts_addresses(&r->hosts, name);

		for (; h && a.nrecords < HOSTS_ADDRESSES; h = h->next)
			if (h->bytes.n == 4 ? r->v4 : r->v6)
				records[a.nrecords++] = (struct rdata){ .type = DNS_ADDR, .data = h->bytes };
	} else if (type == DNS_PTR && span_cstr(name, cstr, sizeof(cstr))) {
		size_t n = inet_pton(AF_INET, cstr, raw) == 1 ? 4 : inet_pton(AF_INET6, cstr, raw) == 1 ? 16 : 0;
		struct span host = hosts_name(&r->hosts, span_of(raw, n));

		if (host.n)
			records[a.nrecords++] = (struct rdata){ .type = DNS_PTR, .name = host };
	}
	if (!a.nrecords)
		return false;
	w->on_answer(w, &a);
	return true;
}

/* False: no name that can be asked for. */
static bool
make_names(struct question *q, enum dns_type type, struct span name)
{
	size_t label = 0;

	if (span_ends(name, SPAN(".")))
		name.n--;
	if (type == DNS_PTR)
		return rdata_reverse(name, q->wire_name) && snprintf(q->key, KEY, "%u%s", type, q->wire_name) > 0;
	if (name.n == 0 || name.n > 253)
		return false;
	q->key[0] = (char)('0' + type);
	for (size_t i = 0; i < name.n; i++) {
		char c = ascii_lower(name.p[i]);

		if (c == '.' ? label == 0 : !ascii_alnum(c) && c != '-' && c != '_')
			return false;
		label = c == '.' ? 0 : label + 1;
		if (label > 63)
			return false;
		q->key[i + 1] = q->wire_name[i] = c;
	}
	q->key[name.n + 1] = q->wire_name[name.n] = '\0';
	return label > 0;
}

static void
ask_part(struct question *q, size_t i, int rrtype)
{
	struct part *p = &q->parts[i];
	const char *why;

	*p = (struct part){ .question = q, .rrtype = rrtype, .asked = true };
	q->pending++;
	why = fly(q->resolver, p);
	if (why) {
		p->done = true;
		q->pending--;
		p->result = DNS_LATER;
		explain(q, why);
	}
}

static void
ask_parts(struct question *q)
{
	static const int types[] = { [DNS_MX] = RR_MX, [DNS_PTR] = RR_PTR, [DNS_TXT] = RR_TXT, [DNS_TLSA] = RR_TLSA, [DNS_CNAME] = RR_CNAME };

	if (q->type != DNS_ADDR) {
		ask_part(q, 0, types[q->type]);
		return;
	}
	if (q->resolver->v4)
		ask_part(q, 0, RR_A);
	if (q->resolver->v6)
		ask_part(q, 1, RR_AAAA);
}

static struct question *
question_new(struct resolver *r, enum dns_type type, struct question *named)
{
	struct question *q = malloc(sizeof(*q));

	if (!q)
		return NULL;
	*q = *named;
	if (!map_put(&r->questions, &q->node, span_str(q->key))) {
		free(q);
		return NULL;
	}
	q->resolver = r;
	q->type = type;
	q->due_ms = loop_now_ms(r->loop) + r->timeout_ms;
	list_init(&q->waiters);
	list_push(&r->aging, &q->by_age);
	arena_init(&q->arena, ANSWER_ARENA);
	if (!timer_running(&r->timer))
		(void)timer_set(&r->timer, r->timeout_ms);
	return q;
}

void
resolver_ask(struct resolver *r, enum dns_type type, struct span name, struct resolver_waiter *w)
{
	struct question named = { .pending = 0 };
	struct map_node *node;
	struct question *q;

	list_remove(&w->node);
	if (from_hosts(r, type, name, w))
		return;
	if (!make_names(&named, type, name)) {
		give(w, DNS_NO_NAME, "not a domain name");
		return;
	}
	node = map_get(&r->questions, span_str(named.key));
	if (node) {
		list_push(&OWNER_OF(node, struct question, node)->waiters, &w->node);
		return;
	}
	q = r->questions.count < RESOLVER_QUESTIONS ? question_new(r, type, &named) : NULL;
	if (!q) {
		give(w, DNS_LATER, "too many questions at once");
		return;
	}
	list_push(&q->waiters, &w->node);
	ask_parts(q);
	if (q->pending == 0) {
		join_parts(q);
		answer_and_free(q);
	}
}

void
resolver_cancel(struct resolver_waiter *w)
{
	list_remove(&w->node);
}

/* --- life ------------------------------------------------------------------------ */

/* What the other context was asked, this one is asked again. */
static void
go_over(struct resolver *r, struct context *to)
{
	r->context = to;
	LIST_EACH(&r->aging, node) {
		struct question *q = OWNER_OF(node, struct question, by_age);

		for (size_t i = 0; i < PARTS; i++) {
			struct part *p = &q->parts[i];

			if (!p->asked || p->done)
				continue;
			leave(p);
			(void)fly(r, p); /* if it cannot be asked its time runs out */
		}
	}
}

static void
on_signatures(struct signatures *s)
{
	struct resolver *r = OWNER_OF(s, struct resolver, signatures);
	struct fail why = { .text = "" };

	log_put(LOG_dns, s->passed ? "the name servers pass DNSSEC signatures now: answers are validated" :
	                             "the name servers do not pass DNSSEC signatures: answers are not validated");
	if (s->passed)
		go_over(r, &r->validating);
	else if (context_open(&r->plain, &r->servers, NULL, &why) && context_listen(&r->plain, r->loop, &why))
		go_over(r, &r->plain);
	else
		log_put(LOG_failure, "%s", why.text);
}

struct resolver *
resolver_new(struct loop *loop, const struct resolver_settings *settings, struct fail *why)
{
	struct resolver *r = calloc(1, sizeof(*r));
	struct buf text;

	if (!r) {
		(void)fail_set(why, FAIL_TEMP, 0, "no memory");
		return NULL;
	}
	r->loop = loop;
	r->timeout_ms = settings->timeout_ms;
	r->servers.cache_size = settings->cache_size;
	r->v4 = settings->v4;
	r->v6 = settings->v6;
	map_init(&r->questions);
	list_init(&r->aging);
	list_init(&r->flights);
	r->flights_max = settings->flights_max ? settings->flights_max : FLIGHTS_MAX;
	timer_init(&r->timer, loop, on_timer);
	signatures_init(&r->signatures, loop, &r->validating, settings->probe_ms, on_signatures);
	buf_init(&text, HOSTS_FILE_MAX);
	(void)context_read(settings->hosts, &text);
	hosts_init(&r->hosts, buf_span(&text));
	buf_free(&text);
	for (size_t i = 0; i < settings->nservers; i++)
		r->servers.own = context_add_server(&r->servers, settings->servers[i]) || r->servers.own;
	if (!r->servers.n)
		context_resolv_conf(&r->servers, settings->resolv_conf);
	r->context = settings->trust_anchor ? &r->validating : &r->plain;
	if (!context_open(r->context, &r->servers, settings->trust_anchor, why))
		resolver_free(&r);
	return r;
}

bool
resolver_start(struct resolver *r, struct fail *why)
{
	if (r->context->watch.wants)
		return true;
	if (resolver_validates(r) && r->servers.n)
		signatures_probe(&r->signatures);
	return context_listen(r->context, r->loop, why);
}

static void
forget(struct map_node *node, void *arg)
{
	struct question *q = OWNER_OF(node, struct question, node);

	(void)arg;
	while (list_shift(&q->waiters))
		;
	arena_free(&q->arena);
	free(q);
}

void
resolver_free(struct resolver **at)
{
	struct resolver *r = *at;

	if (!r)
		return;
	timer_stop(&r->timer);
	signatures_stop(&r->signatures);
	context_close(&r->validating);
	context_close(&r->plain);
	while (!list_empty(&r->flights))
		flight_end(OWNER_OF(r->flights.next, struct flight, node));
	map_each(&r->questions, forget, NULL);
	map_free(&r->questions);
	hosts_free(&r->hosts);
	free(r);
	*at = NULL;
}

size_t
resolver_flights(const struct resolver *r)
{
	return r->context->nflights;
}

size_t
resolver_pending(const struct resolver *r)
{
	return r->questions.count;
}

bool
resolver_validates(const struct resolver *r)
{
	return r->context == &r->validating;
}
