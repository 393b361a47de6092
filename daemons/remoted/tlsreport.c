/* SPDX-License-Identifier: ISC */
#include "daemons/remoted/tlsreport.h"

#include "log/log.h"

void
tlsreport(const struct hop *hop, const struct tlsplan *plan, struct span mx, const char *result, struct span why)
{
	if (hop->kind != HOP_DOMAIN || hop->lmtp)
		return;
	log_put(LOG_tlsresult, "domain=%.*s policy=%s%s mx=%.*s result=%s%s%.*s%s", SPAN_ARG(hop->name), tlsplan_kind_text(plan->kind),
	    plan->testing ? " testing=yes" : "", SPAN_ARG(mx), result, why.n ? " (" : "", SPAN_ARG(why), why.n ? ")" : "");
}
