/* SPDX-License-Identifier: ISC */
#include "daemons/remoted/hop.h"

#include "mail/domain.h"
#include "mail/status.h"

static bool
take_prefix(struct span *text, struct span prefix)
{
	if (!span_casestarts(*text, prefix))
		return false;
	*text = span_from(*text, prefix.n);
	return true;
}

static bool
parse_inet(struct span text, struct hop *hop, bool no_mx)
{
	bool bracketed = false;
	struct span host;

	if (!hostport_split(text, &host, &hop->port, &bracketed) || hop->port == 0)
		return false;
	(void)take_prefix(&host, SPAN("IPv6:"));
	hop->name = host;
	if (netaddr_parse(host, hop->port, &hop->address)) {
		hop->kind = HOP_ADDRESS;
		return true;
	}
	if (span_ends(host, SPAN(".")))
		hop->name = span_sub(host, 0, host.n - 1);
	hop->kind = bracketed || no_mx ? HOP_HOST : HOP_DOMAIN;
	return domain_valid(hop->name, true);
}

static bool
parse(struct span text, uint16_t port, struct hop *hop)
{
	bool inet;

	*hop = (struct hop){ .kind = HOP_DOMAIN, .port = port };
	if (!take_prefix(&text, SPAN("smtp:")) && take_prefix(&text, SPAN("lmtp:"))) {
		hop->lmtp = true;
		hop->port = HOP_LMTP_PORT;
	}
	if (take_prefix(&text, SPAN("unix:"))) {
		hop->kind = HOP_UNIX;
		hop->name = text;
		return hop->lmtp && text.n > 0 && text.p[0] == '/' && netaddr_unix(text, &hop->address);
	}
	inet = take_prefix(&text, SPAN("inet:"));
	return parse_inet(text, hop, inet || hop->lmtp);
}

bool
hop_parse(struct span text, uint16_t port, struct hop *hop, struct fail *why)
{
	if (parse(text, port, hop))
		return true;
	return fail_set(why, FAIL_PERM, STATUS_UNROUTABLE, "bad next hop: %.*s", SPAN_ARG(span_sub(text, 0, 120)));
}
