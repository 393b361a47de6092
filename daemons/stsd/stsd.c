/* SPDX-License-Identifier: ISC */
#include "daemons/stsd/stsd.h"

#include <arpa/inet.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "daemons/stsd/fetch.h"
#include "daemons/stsd/sts.h"
#include "net/netaddr.h"
#include "service/lookup.h"
#include "service/web.h"

enum {
	THREADS = 4,
	ASKER_QUESTIONS = 2048, /* of one peer at once; more are answered "not known" */
	SWEEP_MS = 6 * 60 * 60 * 1000,
	MORE_MS = 60 * 1000, /* to the next part of a round */
	DNS_ADDR = 1, DNS_TXT = 3, /* as the dns channel counts them */
	DNS_OK = 0, DNS_NO_NAME = 1, DNS_NO_DATA = 2,
};

struct stsd {
	struct service *service;
	struct sts sts;
	struct inquirer dns;
	struct worker_pool *pool; /* once there is something to fetch */
	struct list askers;
	struct timer sweep;
	char data[B_PATH];
	char ca_file[B_PATH];
};

/* What is under way for a domain. */
struct errand {
	struct sts_domain *domain;
	struct lookup lookup;
	struct fetch fetch;
};

/* A remoted. */
struct asker {
	struct list node;
	struct stsd *stsd;
	struct channel *channel;
	struct list questions;
	size_t count;
};

struct question {
	struct list node;
	struct asker *asker;
	struct sts_waiter waiter;
	uint64_t id;
};

/* --- errands -------------------------------------------------------------------- */

static struct stsd *
stsd_of(const struct sts_domain *d)
{
	return d->sts->owner;
}

static void
on_txt(struct lookup *l, const struct ipc_dns_record *m)
{
	sts_record(OWNER_OF(l, struct errand, lookup)->domain, m->data);
}

static void
on_txt_again(struct lookup *l)
{
	sts_records_void(OWNER_OF(l, struct errand, lookup)->domain);
}

/* The errand ends, unless the domain goes on with a fetch. */
static void
end(struct errand *e)
{
	e->domain->rim = NULL;
	free(e);
}

static void
on_txt_done(struct lookup *l, const struct ipc_dns_done *m)
{
	struct sts_domain *d = OWNER_OF(l, struct errand, lookup)->domain;

	end(OWNER_OF(l, struct errand, lookup));
	sts_looked_up(d, m->result == DNS_OK || m->result == DNS_NO_NAME || m->result == DNS_NO_DATA, m->why);
}

static struct errand *
errand_new(struct sts_domain *d, const char *prefix, uint8_t type, const struct lookup *how)
{
	struct errand *e = calloc(1, sizeof(*e));
	char name[B_HOST + 1];

	if (!e)
		return NULL;
	e->domain = d;
	e->lookup = *how;
	(void)snprintf(name, sizeof(name), "%s%.240s", prefix, d->name);
	if (!lookup_start(&stsd_of(d)->dns, &e->lookup, type, span_str(name))) {
		free(e);
		return NULL;
	}
	d->rim = e;
	return e;
}

static bool
look_up(struct sts_domain *d)
{
	static const struct lookup how = { .on_record = on_txt, .on_done = on_txt_done, .on_again = on_txt_again };

	return errand_new(d, "_mta-sts.", DNS_TXT, &how) != NULL;
}

static void
on_fetched(struct fetch *f)
{
	struct errand *e = OWNER_OF(f, struct errand, fetch);
	struct sts_domain *d = e->domain;

	sts_fetched(d, f->result, f->result ? span_str(f->why) : buf_span(&f->body));
	fetch_free(f);
	end(e);
}

static void
on_address(struct lookup *l, const struct ipc_dns_record *m)
{
	struct fetch *f = &OWNER_OF(l, struct errand, lookup)->fetch;
	size_t n = strlen(f->addresses);
	char text[INET6_ADDRSTRLEN];
	bool v6 = m->data.n == 16;

	if ((m->data.n != 4 && !v6) || !inet_ntop(v6 ? AF_INET6 : AF_INET, m->data.p, text, sizeof(text)) || n + sizeof(text) + 4 > sizeof(f->addresses))
		return;
	(void)snprintf(f->addresses + n, sizeof(f->addresses) - n, v6 ? "%s[%s]" : "%s%s", n ? "," : "", text);
}

static void
on_address_again(struct lookup *l)
{
	OWNER_OF(l, struct errand, lookup)->fetch.addresses[0] = '\0';
}

static void
on_address_done(struct lookup *l, const struct ipc_dns_done *m)
{
	struct errand *e = OWNER_OF(l, struct errand, lookup);
	struct sts_domain *d = e->domain;
	struct stsd *s = stsd_of(d);
	struct fetch *f = &e->fetch;

	if (!s->pool)
		s->pool = worker_pool_new(s->service->loop, THREADS);
	if (!f->addresses[0] || !s->pool) {
		char why[200];

		(void)snprintf(why, sizeof(why), "%.100s has no address%s%.*s", f->host, m->why.n ? ": " : "", SPAN_ARG(span_sub(m->why, 0, 80)));
		end(e);
		sts_fetched(d, "sts-policy-fetch-error", span_str(s->pool ? why : "no threads"));
		return;
	}
	f->port = (unsigned)s->service->conf->smtp_tls_mta_sts_port;
	(void)snprintf(f->ca_file, sizeof(f->ca_file), "%s", s->ca_file);
	f->on_done = on_fetched;
	fetch_start(f, s->pool);
}

static bool
fetch(struct sts_domain *d)
{
	static const struct lookup how = { .on_record = on_address, .on_done = on_address_done, .on_again = on_address_again };
	struct errand *e = errand_new(d, "mta-sts.", DNS_ADDR, &how);

	if (!e)
		return false;
	(void)snprintf(e->fetch.host, sizeof(e->fetch.host), "mta-sts.%.240s", d->name);
	return true;
}

static int64_t
now_s(struct sts *s)
{
	struct stsd *d = s->owner;

	return loop_wall_ms(d->service->loop) / 1000;
}

static void
tell(struct sts_domain *d, const char *result, const char *why)
{
	if (result)
		log_put(LOG_tlsresult, "domain=%s policy=sts result=%s (%s)", d->name, result, why);
	else
		log_put(LOG_mtasts, "domain=%s mode=%s id=%s expires=%" PRId64 " mx=%.*s", d->name, policy_mode_text(d->entry.mode), d->entry.id,
		    d->entry.expires_s, SPAN_ARG(span_sub(d->entry.patterns, 0, 500)));
}

static const struct sts_ops ops = { look_up, fetch, now_s, tell };

/* --- askers --------------------------------------------------------------------------- */

static void
on_known(struct sts_waiter *w, const struct sts_answer *a)
{
	static const uint8_t results[] = { [STS_HAS_POLICY] = TLSPOLICY_FOUND, [STS_HAS_NONE] = TLSPOLICY_NONE, [STS_UNKNOWN] = TLSPOLICY_FAILED };
	struct question *q = OWNER_OF(w, struct question, waiter);
	struct ipc_tlspolicy_answer m = { .id = q->id, .result = results[a->known], .why = span_str(a->why) };
	struct buf text;

	buf_init(&text, B_POLICY);
	if (a->policy) {
		buf_puts(&text, policy_mode_text(a->policy->mode));
		buf_putc(&text, ' ');
		buf_put(&text, a->policy->patterns);
	}
	m.text = buf_span(&text);
	(void)ipc_send_tlspolicy_answer(q->asker->channel, &m);
	buf_free(&text);
	q->asker->count--;
	list_remove(&q->node);
	free(q);
}

static bool
on_tlspolicy_ask(struct channel *c, const struct ipc_tlspolicy_ask *m)
{
	struct asker *asker = channel_owner(c);
	struct question *q = asker->count < ASKER_QUESTIONS ? calloc(1, sizeof(*q)) : NULL;

	if (!q)
		return ipc_send_tlspolicy_answer(c, &(struct ipc_tlspolicy_answer){ .id = m->id, .result = TLSPOLICY_FAILED, .why = SPAN("too many questions at once") });
	q->asker = asker;
	q->id = m->id;
	q->waiter.on_answer = on_known;
	list_push(&asker->questions, &q->node);
	asker->count++;
	sts_ask(&asker->stsd->sts, m->name, &q->waiter);
	return true;
}

#define DISPATCH_DEF "ipc/tlspolicy.def"
#define DISPATCH_SIDE SERVER
#include "ipc/dispatch.h"

static void
on_closed(struct channel *c, const struct fail *why)
{
	struct asker *asker = channel_owner(c);
	struct list *node;

	log_put(LOG_channel, "tlspolicy: %s", why->text);
	while ((node = list_shift(&asker->questions))) {
		struct question *q = OWNER_OF(node, struct question, node);

		sts_cancel(&q->waiter);
		free(q);
	}
	list_remove(&asker->node);
	channel_free(&asker->channel);
	free(asker);
}

static const struct channel_ops tlspolicy_ops = { dispatch_tlspolicy, on_closed, NULL };

static void
on_asker_open(struct service *service, struct channel *c, struct span peer, unsigned instance)
{
	struct stsd *s = service->state;
	struct asker *asker = calloc(1, sizeof(*asker));

	(void)peer, (void)instance;
	if (!asker) {
		channel_give_up(&c);
		return;
	}
	asker->stsd = s;
	asker->channel = c;
	list_init(&asker->questions);
	list_push(&s->askers, &asker->node);
	channel_set_owner(c, asker);
}

static void
on_dns_open(struct service *service, struct channel *c, struct span peer, unsigned instance)
{
	struct stsd *s = service->state;

	(void)peer, (void)instance;
	inquirer_open(&s->dns, c);
}

/* --- life -------------------------------------------------------------------------------- */

static void
on_sweep(struct timer *t)
{
	struct stsd *s = OWNER_OF(t, struct stsd, sweep);
	bool more = false;
	struct fail why;

	if (!store_sweep(&s->sts.store, now_s(&s->sts), &why) || !sts_refresh(&s->sts, &more, &why))
		log_put(LOG_failure, "policies: %s", why.text);
	if (s->service->conf->smtp_tls_mta_sts)
		(void)timer_set(t, more ? MORE_MS : SWEEP_MS);
}

static bool
on_boot(struct service *service, struct fail *why)
{
	struct stsd *s = calloc(1, sizeof(*s));

	if (!s || !web_setup()) {
		free(s);
		return fail_set(why, FAIL_TEMP, 0, "no memory");
	}
	s->service = service;
	sts_init(&s->sts, &ops, s);
	inquirer_init(&s->dns, &lookup_ops);
	list_init(&s->askers);
	timer_init(&s->sweep, service->loop, on_sweep);
	(void)service_data_path(service, s->data);
	(void)span_cstr(service->conf->smtp_tls_mta_sts_CAfile, s->ca_file, sizeof(s->ca_file));
	service->state = s;
	return true;
}

static bool
on_start(struct service *service, struct fail *why)
{
	struct stsd *s = service->state;

	(void)why;
	if (!service->conf->smtp_tls_mta_sts)
		return true;
	if (!store_open(&s->sts.store, s->data, why))
		log_put(LOG_failure, "policies are kept in memory only: %s", why->text);
	on_sweep(&s->sweep);
	return true;
}

static void
on_state(struct service *service, struct buf *out)
{
	const struct stsd *s = service->state;

	buf_printf(out, "asked=%" PRIu64 " fetched=%" PRIu64 " domains=%zu errands=%zu", s->sts.asked, s->sts.fetched, s->sts.domains.count, s->sts.errands);
}

/* What is being fetched is given up. */
static void
on_stop(struct service *service)
{
	struct stsd *s = service->state;

	timer_stop(&s->sweep);
	store_close(&s->sts.store);
	service_exit(service);
}

static const struct service_channel channels[] = {
	{ &ipc_channel_tlspolicy, CHANNEL_SERVER, &tlspolicy_ops, on_asker_open },
	{ &ipc_channel_dns, CHANNEL_CLIENT, &lookup_channel_ops, on_dns_open },
};

const struct service_ops stsd_ops = {
	.name = "stsd",
	.see = CONF_STSD,
	.channels = channels,
	.nchannels = sizeof(channels) / sizeof(*channels),
	.on_boot = on_boot,
	.on_start = on_start,
	.on_state = on_state,
	.on_stop = on_stop,
};
