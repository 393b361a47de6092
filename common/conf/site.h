/* SPDX-License-Identifier: ISC
 *
 * site: a DNS list of clients as the configuration names it,
 * domain[=filter][*weight] (RFC 5782).  The filter has a pattern for each of
 * the answer's four numbers: a number, or [1;3;5..7].
 */
#ifndef CONF_SITE_H
#define CONF_SITE_H

#include "base/fail.h"
#include "base/span.h"

struct conf_site {
	struct span zone, filter; /* within the item; filter empty: any answer */
	int weight;               /* -100 to 100, 1 without one; below 0 it speaks for the client */
};

bool conf_site_parse(struct span item, struct conf_site *out, struct fail *why);
/* Whether an address the list answered with counts. */
bool conf_site_matches(const struct conf_site *site, const uint8_t answer[4]);

#endif
