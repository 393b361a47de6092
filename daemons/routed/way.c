/* SPDX-License-Identifier: ISC */
#include "way.h"

#include "mail/domain.h"
#include "net/netaddr.h"

enum { NEXTHOP_MAX = 480 };

static const struct {
	struct span name;
	enum conf_word transport;
} transports[] = {
	{ SPAN_INIT("smtp"), CONF_TRANSPORT_SMTP },
	{ SPAN_INIT("relay"), CONF_TRANSPORT_SMTP }, /* Postfix's names for the same */
	{ SPAN_INIT("esmtp"), CONF_TRANSPORT_SMTP },
	{ SPAN_INIT(""), CONF_TRANSPORT_SMTP },
	{ SPAN_INIT("lmtp"), CONF_TRANSPORT_LMTP },
	{ SPAN_INIT("local"), CONF_TRANSPORT_LOCAL },
	{ SPAN_INIT("virtual"), CONF_TRANSPORT_LOCAL },
	{ SPAN_INIT("error"), CONF_TRANSPORT_ERROR },
	{ SPAN_INIT("retry"), CONF_TRANSPORT_RETRY },
	{ SPAN_INIT("discard"), CONF_TRANSPORT_DISCARD },
};

/* As remoted reads it (hop.c), for which anything else is a reason to bounce. */
static bool
host_port_ok(struct span s)
{
	struct netaddr address;
	struct span host;
	uint16_t port = 1;

	if (!hostport_split(s, &host, &port, NULL))
		return false;
	if (span_casestarts(host, SPAN("IPv6:")))
		host = span_from(host, 5);
	return netaddr_parse(host, port, &address) || domain_valid(span_sub(host, 0, host.n - span_ends(host, SPAN("."))), true);
}

bool
way_nexthop(enum conf_word transport, struct span nexthop, struct way *way, struct fail *why)
{
	bool ok = true;

	nexthop = span_trim(nexthop);
	for (size_t i = 0; i < nexthop.n; i++)
		ok = ok && (ascii_print(nexthop.p[i]) || (unsigned char)nexthop.p[i] >= 0x80);
	if (transport == CONF_TRANSPORT_SMTP) {
		ok = ok && (nexthop.n == 0 || host_port_ok(nexthop));
	} else if (transport == CONF_TRANSPORT_LMTP) {
		if (span_starts(nexthop, SPAN("unix:")))
			ok = ok && nexthop.n > 6 && nexthop.p[5] == '/';
		else if (span_starts(nexthop, SPAN("inet:")))
			ok = host_port_ok(span_from(nexthop, 5));
		else
			ok = host_port_ok(nexthop);
	}
	if (!ok || (nexthop.n > NEXTHOP_MAX && transport != CONF_TRANSPORT_ERROR && transport != CONF_TRANSPORT_RETRY))
		return fail_set(why, FAIL_TEMP, 0, "\"%.*s\" is not a next hop", SPAN_ARG(nexthop));
	*way = (struct way){ transport, nexthop };
	return true;
}

bool
way_parse(struct span value, struct way *way, struct fail *why)
{
	size_t colon;

	value = span_trim(value);
	if (value.n > 0 && value.p[0] == '[') /* a next hop without transport */
		return way_nexthop(CONF_TRANSPORT_SMTP, value, way, why);
	colon = span_chr(value, ':');
	for (size_t i = 0; i < sizeof(transports) / sizeof(transports[0]); i++) {
		if (span_caseeq(span_sub(value, 0, colon), transports[i].name) && (colon != SIZE_MAX || value.n > 0))
			return way_nexthop(transports[i].transport, colon == SIZE_MAX ? SPAN("") : span_from(value,
			    colon + 1), way, why);
	}
	return fail_set(why, FAIL_TEMP, 0, "\"%.*s\" is not transport:nexthop", SPAN_ARG(value));
}

struct span
way_text(const struct way *way, struct span domain, struct arena *arena)
{
	struct span hop = way->nexthop.n ? way->nexthop : domain;

	if (way->transport != CONF_TRANSPORT_LMTP)
		return arena_dup(arena, hop);
	if (span_starts(hop, SPAN("unix:")) || span_starts(hop, SPAN("inet:")))
		return arena_printf(arena, "lmtp:%.*s", SPAN_ARG(hop));
	return arena_printf(arena, "lmtp:inet:%.*s", SPAN_ARG(hop));
}
