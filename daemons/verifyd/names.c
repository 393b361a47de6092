/* SPDX-License-Identifier: ISC */
#include "names.h"

#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>

#include "way.h"

enum {
	DNS_ADDR = 1, DNS_OK = 0, DNS_NO_DATA = 2, /* of ipc/dns.def */
	KEEP_LEAST_S = 5, KEEP_MOST_S = 3600, AGAIN_S = 30,
};

struct name {
	struct list node;
	struct names *names;
	struct lookup lookup;
	struct netaddr known[NAMES_ADDRESSES], fresh[NAMES_ADDRESSES];
	size_t nknown, nfresh;
	int64_t due_ms; /* to be asked again; INT64_MAX: it is being asked */
	bool wanted;
	char why[160];  /* nknown == 0 */
	char host[B_HOST + 1];
};

static void
ask(struct name *e)
{
	e->nfresh = 0;
	e->due_ms = INT64_MAX;
	if (!lookup_start(&e->names->dns, &e->lookup, DNS_ADDR, span_str(e->host)))
		e->due_ms = loop_now_ms(e->names->loop) + AGAIN_S * 1000;
}

static void
on_record(struct lookup *l, const struct ipc_dns_record *m)
{
	struct name *e = OWNER_OF(l, struct name, lookup);
	struct sockaddr_in6 v6 = { .sin6_family = AF_INET6 };
	struct sockaddr_in v4 = { .sin_family = AF_INET };

	if (e->nfresh == NAMES_ADDRESSES || m->type != DNS_ADDR)
		return;
	if (m->data.n == sizeof(v4.sin_addr)) {
		memcpy(&v4.sin_addr, m->data.p, sizeof(v4.sin_addr));
		e->nfresh += netaddr_of(&v4, sizeof(v4), &e->fresh[e->nfresh]);
	} else if (m->data.n == sizeof(v6.sin6_addr)) {
		memcpy(&v6.sin6_addr, m->data.p, sizeof(v6.sin6_addr));
		e->nfresh += netaddr_of(&v6, sizeof(v6), &e->fresh[e->nfresh]);
	}
}

static void
on_done(struct lookup *l, const struct ipc_dns_done *m)
{
	struct name *e = OWNER_OF(l, struct name, lookup);
	bool answered = m->result <= DNS_NO_DATA;
	uint32_t keep = m->ttl < KEEP_LEAST_S ? KEEP_LEAST_S : m->ttl > KEEP_MOST_S ? KEEP_MOST_S : m->ttl;

	if (answered) {
		memcpy(e->known, e->fresh, sizeof(e->known));
		e->nknown = e->nfresh;
	}
	if (!e->nknown)
		(void)span_cstr(span_sub(answered ? SPAN("it has no address") : m->why, 0, sizeof(e->why) - 1), e->why, sizeof(e->why));
	e->due_ms = loop_now_ms(e->names->loop) + (m->result == DNS_OK && e->nknown ? keep : AGAIN_S) * 1000;
}

static void
on_again(struct lookup *l)
{
	OWNER_OF(l, struct name, lookup)->nfresh = 0;
}

static struct name *
find(struct names *n, struct span host)
{
	LIST_EACH(&n->all, it) {
		struct name *e = OWNER_OF(it, struct name, node);

		if (span_caseeq(span_str(e->host), host))
			return e;
	}
	return NULL;
}

static void
want(struct names *n, struct span filter)
{
	struct name *e;
	struct fail why;
	struct way way;

	if (!way_parse(filter, &way, &why) || !way.host[0])
		return;
	e = find(n, span_str(way.host));
	if (!e) {
		e = calloc(1, sizeof(*e));
		if (!e)
			return;
		e->names = n;
		e->lookup = (struct lookup){ .on_record = on_record, .on_done = on_done, .on_again = on_again };
		memcpy(e->host, way.host, sizeof(e->host));
		memcpy(e->why, "it is not known yet", sizeof("it is not known yet"));
		list_push(&n->all, &e->node);
		ask(e);
	}
	e->wanted = true;
}

static void
want_all(struct names *n, const struct conf_list *filters)
{
	for (size_t i = 0; i < filters->n; i++)
		want(n, filters->items[i]);
}

static void
forget(struct name *e)
{
	lookup_cancel(&e->lookup);
	list_remove(&e->node);
	free(e);
}

void
names_configure(struct names *n, const struct conf *conf)
{
	LIST_EACH(&n->all, it)
		OWNER_OF(it, struct name, node)->wanted = false;
	want_all(n, &conf->smtpd_milters);
	want_all(n, &conf->non_smtpd_milters);
	want_all(n, &conf->smtpd_recipient_policy_service);
	want_all(n, &conf->smtpd_data_policy_service);
	want_all(n, &conf->smtpd_end_of_data_policy_service);
	for (size_t i = 0; i < conf->nlisteners; i++)
		want_all(n, &conf->listeners[i].milters);
	LIST_EACH(&n->all, it)
		if (!OWNER_OF(it, struct name, node)->wanted)
			forget(OWNER_OF(it, struct name, node));
}

bool
names_find(struct names *n, struct span host, uint16_t port, struct netaddr *to, struct fail *why)
{
	struct name *e = find(n, host);

	if (e && e->due_ms <= loop_now_ms(n->loop))
		ask(e);
	if (!e || !e->nknown)
		return fail_set(why, FAIL_TEMP, 0, "%.*s: %s", SPAN_ARG(host), e ? e->why : "it is not configured any more");
	*to = e->known[0];
	netaddr_set_port(to, port);
	return true;
}

void
names_blame(struct names *n, struct span host)
{
	struct name *e = find(n, host);
	struct netaddr first;

	if (!e || e->nknown < 2)
		return;
	first = e->known[0];
	memmove(e->known, e->known + 1, (e->nknown - 1) * sizeof(e->known[0]));
	e->known[e->nknown - 1] = first;
}

void
names_init(struct names *n, struct loop *loop)
{
	*n = (struct names){ .loop = loop };
	inquirer_init(&n->dns, &lookup_ops);
	list_init(&n->all);
}

void
names_free(struct names *n)
{
	LIST_EACH(&n->all, it)
		forget(OWNER_OF(it, struct name, node));
	inquirer_free(&n->dns);
}
