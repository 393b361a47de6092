/* SPDX-License-Identifier: ISC */
#include "daemons/remoted/policy.h"

#include <ifaddrs.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#include "log/log.h"
#include "mail/domain.h"

static uint32_t
random_number(void)
{
	uint32_t n;

	return getrandom(&n, sizeof(n), GRND_NONBLOCK) == (ssize_t)sizeof(n) ? n : 0;
}

/* In the sandbox they cannot be had any more: a reload keeps those of the start. */
static void
own_addresses(struct policy *p, const struct policy *old)
{
	struct ifaddrs *all = NULL;

	p->rules.own = p->own;
	if (old) {
		memcpy(p->own, old->own, sizeof(p->own));
		p->rules.nown = old->rules.nown;
		return;
	}
	if (getifaddrs(&all) < 0) {
		log_put(LOG_degraded, "the host's own addresses cannot be read: loops are found by name only");
		return;
	}
	for (struct ifaddrs *i = all; i && p->rules.nown < POLICY_OWN_MAX; i = i->ifa_next) {
		int family = i->ifa_addr ? i->ifa_addr->sa_family : AF_UNSPEC;
		size_t len = family == AF_INET ? sizeof(struct sockaddr_in) : sizeof(struct sockaddr_in6);

		if ((family == AF_INET || family == AF_INET6) && netaddr_of(i->ifa_addr, len, &p->own[p->rules.nown]))
			p->rules.nown++;
	}
	freeifaddrs(all);
}

static void
open_tls(struct policy *p, const struct conf *conf)
{
	p->tls = tls_client_new(conf->smtp_tls_CAfile.n ? conf->smtp_tls_CAfile.p : NULL, NULL, &p->tls_why);
	if (p->tls)
		return;
	log_put(LOG_degraded, "smtp_tls_CAfile: %s: no peer's certificate will be good", p->tls_why.text);
	p->tls = tls_client_new(NULL, NULL, &p->tls_why);
	if (!p->tls)
		log_put(LOG_degraded, "no TLS to other hosts: %s", p->tls_why.text);
}

static void
tune_tls(struct policy *p, const struct conf *conf)
{
	if (p->tls && conf->smtp_tls_protocols == CONF_TLS13)
		tls_client_only13(p->tls);
}

static void
take_timeouts(struct policy *p, const struct conf *conf)
{
#define X(name) p->timeouts.name = conf->smtp_##name##_timeout;
	CLIENT_TIMEOUTS(X)
#undef X
	p->connect_ms = conf->smtp_connect_timeout;
	p->lookup_ms = conf->dns_timeout * 3;
	p->keep_ms = conf->smtp_connection_cache_on_demand ? conf->smtp_connection_cache_time_limit : 0;
	p->reuse_ms = conf->smtp_connection_reuse_time_limit;
	p->reuse_count = conf->smtp_connection_reuse_count_limit;
}

static bool
source_of(struct span text, int family, struct netaddr *from)
{
	return text.n && netaddr_parse(text, 0, from) && netaddr_family(from) == family;
}

bool
policy_binds(const struct conf *conf)
{
	bool binds = conf->smtp_bind_address.n || conf->smtp_bind_address6.n;

	for (size_t i = 0; i < conf->nroutes; i++)
		binds = binds || conf->routes[i].bind_address.n || conf->routes[i].bind_address6.n;
	return binds;
}

bool
policy_source(const struct conf *conf, struct span nexthop, int family, struct netaddr *from)
{
	const struct conf_route *r = conf_route_for_hop(conf, nexthop);

	if (family == AF_INET)
		return source_of(r ? r->bind_address : conf->smtp_bind_address, family, from);
	return family == AF_INET6 && source_of(r ? r->bind_address6 : conf->smtp_bind_address6, family, from);
}

struct policy *
policy_new(const struct conf *conf, const struct policy *old)
{
	struct policy *p = calloc(1, sizeof(*p));

	if (!p)
		return NULL;
	p->refs = 1;
	(void)span_cstr(conf->smtp_helo_name, p->helo, sizeof(p->helo));
	(void)span_cstr(conf->myhostname, p->myself, sizeof(p->myself));
	take_timeouts(p, conf);
	p->session_limit = (size_t)conf->smtp_mx_session_limit;
	p->port = (uint16_t)conf->smtp_tcp_port;
	p->chunking = conf->smtp_chunking;
	for (size_t i = 0; i < conf->smtp_sasl_mechanism_filter.n; i++)
		p->mechanisms |= auth_mechanisms(conf->smtp_sasl_mechanism_filter.items[i]);
	p->send_8bit_anyway = conf->disable_mime_output_conversion;
	p->rules = (struct destination_rules){
		.myself = span_str(p->myself),
		.own_port = 25, /* where another host's mail would reach us */
		.limit = (size_t)conf->smtp_mx_address_limit,
		.v4 = conf->inet_protocols != CONF_INET_IPV6,
		.v6 = conf->inet_protocols != CONF_INET_IPV4,
		.prefer = conf->smtp_address_preference == CONF_PREFER_IPV4 ? DESTINATION_V4 :
		    conf->smtp_address_preference == CONF_PREFER_IPV6       ? DESTINATION_V6 : DESTINATION_ANY,
		.random = conf->smtp_randomize_addresses ? random_number : NULL,
	};
	own_addresses(p, old);
	open_tls(p, conf);
	tune_tls(p, conf);
	return p;
}

struct policy *
policy_ref(struct policy *p)
{
	p->refs++;
	return p;
}

void
policy_unref(struct policy **at)
{
	struct policy *p = *at;

	*at = NULL;
	if (!p || --p->refs > 0)
		return;
	if (p->tls)
		tls_client_unref(&p->tls);
	free(p);
}

enum conf_word
policy_tls_level(const struct conf *conf, struct span nexthop, const struct hop *hop)
{
	return hop->kind == HOP_UNIX ? CONF_TLS_NONE : conf_tls_for_hop(conf, nexthop);
}

struct span
policy_certificate(const struct conf *conf, struct span nexthop)
{
	const struct conf_route *route = conf_route_for_hop(conf, nexthop);

	return route ? route->cert_file : conf->smtp_tls_cert_file;
}
