/* SPDX-License-Identifier: ISC */
#include "way.h"

#include "mail/domain.h"

bool
way_parse(struct span text, struct way *way, struct fail *why)
{
	struct span rest = text, kind = span_cut(&rest, ':'), host;
	uint16_t port = 0;

	*way = (struct way){ .text = "" };
	if (!span_cstr(text, way->text, sizeof(way->text)))
		return fail_set(why, FAIL_PERM, 0, "a long address of a filter");
	if (span_eq(kind, SPAN("unix")) || span_eq(kind, SPAN("local"))) {
		if (rest.n && rest.p[0] == '/' && netaddr_unix(rest, &way->to))
			return true;
	} else if (span_eq(kind, SPAN("inet")) && hostport_split(rest, &host, &port, NULL) && port) {
		if (span_caseeq(host, SPAN("localhost")))
			host = SPAN("127.0.0.1");
		way->port = port;
		if (netaddr_parse(host, port, &way->to) || (domain_valid(host, false) && span_cstr(host, way->host, sizeof(way->host))))
			return true;
	}
	return fail_set(why, FAIL_PERM, 0, "%s: a filter is inet:HOST:PORT or unix:/PATH", way->text);
}
