/* SPDX-License-Identifier: ISC
 *
 * tlsreport: what became of TLS at the hosts of other domains, a log line
 * each: what reports to those domains are made from (RFC 8460).
 */
#ifndef REMOTED_TLSREPORT_H
#define REMOTED_TLSREPORT_H

#include "daemons/remoted/hop.h"
#include "daemons/remoted/tlspolicy.h"

/* mx: host[address]:port, or the host alone. Says nothing of next hops that are not found by MX. */
void tlsreport(const struct hop *hop, const struct tlsplan *plan, struct span mx, const char *result, struct span why);

#endif
