/* SPDX-License-Identifier: ISC
 *
 * way: the address of a filter: inet:HOST:PORT (HOST an address, localhost, or a name that
 * names.h knows), unix:PATH, local:PATH.
 */
#ifndef VERIFYD_WAY_H
#define VERIFYD_WAY_H

#include "base/buf.h"
#include "net/netaddr.h"

struct way {
	char text[200]; /* as configured: the filter's name in the log */
	struct netaddr to;
	char host[256]; /* a name; empty: to is set */
	uint16_t port;
};

bool way_parse(struct span text, struct way *way, struct fail *why);
static inline struct span way_name(const struct way *w) { return span_str(w->text); }

#endif
