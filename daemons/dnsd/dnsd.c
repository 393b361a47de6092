/* SPDX-License-Identifier: ISC */
#include "daemons/dnsd/dnsd.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "daemons/dnsd/resolver.h"

enum { ASKER_QUESTIONS = 2048 }; /* of one peer at once; more are answered "later" */

struct dnsd {
	struct service *service;
	struct resolver *resolver;
	struct list askers;
	uint64_t questions;
};

/* A peer that asks. */
struct asker {
	struct list node;
	struct dnsd *dnsd;
	struct channel *channel;
	struct list questions;
	size_t count;
	char name[B_NAME + 16];
};

struct asked {
	struct list node;
	struct asker *asker;
	struct resolver_waiter waiter;
	uint64_t id;
};

static void
send_answer(struct channel *c, uint64_t id, const struct answer *a)
{
	struct ipc_dns_done done = { .id = id, .result = (uint8_t)a->result, .secure = a->secure, .ttl = a->ttl,
		.canonical = a->canonical, .why = a->why };

	for (size_t i = 0; i < a->nrecords; i++) {
		const struct rdata *r = &a->records[i];

		(void)ipc_send_dns_record(c, &(struct ipc_dns_record){ .id = id, .type = r->type, .preference = r->preference,
		    .name = r->name, .data = r->data });
	}
	(void)ipc_send_dns_done(c, &done);
}

static void
on_answer(struct resolver_waiter *w, const struct answer *a)
{
	struct asked *q = OWNER_OF(w, struct asked, waiter);

	send_answer(q->asker->channel, q->id, a);
	q->asker->count--;
	list_remove(&q->node);
	free(q);
}

static bool
on_dns_ask(struct channel *c, const struct ipc_dns_ask *m)
{
	struct asker *asker = channel_owner(c);
	struct asked *q = asker->count < ASKER_QUESTIONS ? calloc(1, sizeof(*q)) : NULL;

	if (!q) {
		send_answer(c, m->id, &(struct answer){ .result = DNS_LATER, .why = SPAN("too many questions at once") });
		return true;
	}
	q->asker = asker;
	q->id = m->id;
	q->waiter.on_answer = on_answer;
	list_push(&asker->questions, &q->node);
	asker->count++;
	asker->dnsd->questions++;
	resolver_ask(asker->dnsd->resolver, (enum dns_type)m->type, m->name, &q->waiter);
	return true;
}

#define DISPATCH_DEF "ipc/dns.def"
#define DISPATCH_SIDE SERVER
#include "ipc/dispatch.h"

static void
asker_free(struct asker *asker)
{
	struct list *node;

	while ((node = list_shift(&asker->questions))) {
		struct asked *q = OWNER_OF(node, struct asked, node);

		resolver_cancel(&q->waiter);
		free(q);
	}
	list_remove(&asker->node);
	channel_free(&asker->channel);
	free(asker);
}

static void
on_closed(struct channel *c, const struct fail *why)
{
	struct asker *asker = channel_owner(c);

	log_put(LOG_channel, "%s: %s", asker->name, why->text);
	asker_free(asker);
}

static const struct channel_ops dns_ops = { dispatch_dns, on_closed, NULL };

static void
on_open(struct service *s, struct channel *c, struct span peer, unsigned instance)
{
	struct dnsd *d = s->state;
	struct asker *asker = calloc(1, sizeof(*asker));

	(void)instance;
	if (!asker || !d) {
		free(asker);
		channel_give_up(&c);
		return;
	}
	asker->dnsd = d;
	asker->channel = c;
	(void)span_cstr(peer, asker->name, sizeof(asker->name));
	list_init(&asker->questions);
	list_push(&d->askers, &asker->node);
	channel_set_owner(c, asker);
}

static const char *
readable(const char *path)
{
	return path && *path && access(path, R_OK) == 0 ? path : NULL;
}

static bool
on_boot(struct service *s, struct fail *why)
{
	const struct conf *conf = s->conf;
	struct resolver_settings settings = {
		.servers = conf->dns_servers.items,
		.nservers = conf->dns_servers.n,
		.resolv_conf = readable("/etc/resolv.conf"),
		.hosts = readable("/etc/hosts"),
		.trust_anchor = readable(conf->dns_trust_anchor.p),
		.cache_size = (size_t)conf->dns_cache_size,
		.timeout_ms = conf->dns_timeout,
		.v4 = conf->inet_protocols != CONF_INET_IPV6,
		.v6 = conf->inet_protocols != CONF_INET_IPV4,
	};
	struct dnsd *d = calloc(1, sizeof(*d));

	if (!d)
		return fail_set(why, FAIL_TEMP, 0, "no memory");
	if (conf->dns_trust_anchor.n && !settings.trust_anchor)
		log_put(LOG_degraded, "%s cannot be read: DNS answers are not validated", conf->dns_trust_anchor.p);
	d->service = s;
	list_init(&d->askers);
	d->resolver = resolver_new(s->loop, &settings, why);
	if (!d->resolver) {
		free(d);
		return false;
	}
	s->state = d;
	return true;
}

static bool
on_start(struct service *s, struct fail *why)
{
	struct dnsd *d = s->state;

	return resolver_start(d->resolver, why);
}

static void
on_state(struct service *s, struct buf *out)
{
	struct dnsd *d = s->state;

	buf_printf(out, "questions=%llu pending=%zu validates=%s", (unsigned long long)d->questions, resolver_pending(d->resolver),
	    resolver_validates(d->resolver) ? "yes" : "no");
}

static const struct service_channel channels[] = { { &ipc_channel_dns, CHANNEL_SERVER, &dns_ops, on_open } };

const struct service_ops dnsd_ops = {
	.name = "dnsd",
	.see = CONF_DNSD,
	.channels = channels,
	.nchannels = sizeof(channels) / sizeof(*channels),
	.on_boot = on_boot,
	.on_start = on_start,
	.on_state = on_state,
};
