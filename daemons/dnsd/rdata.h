/* SPDX-License-Identifier: ISC
 *
 * rdata: DNS record data from the wire, proven and in the shape the dns
 * channel has.  What is malformed, or would not be a name, is refused.
 */
#ifndef DNSD_RDATA_H
#define DNSD_RDATA_H

#include "base/arena.h"

/* As the dns channel counts them (dns_ask.type). */
enum dns_type { DNS_MX, DNS_ADDR, DNS_PTR, DNS_TXT, DNS_TLSA, DNS_CNAME };
enum dns_result { DNS_OK, DNS_NO_NAME, DNS_NO_DATA, DNS_LATER, DNS_BOGUS };

enum { RDATA_NAME = 256, RDATA_DATA = 4096 };

struct rdata {
	uint8_t type; /* enum dns_type */
	uint16_t preference;
	struct span name; /* in the arena; empty for a null MX */
	struct span data; /* in the arena */
};

/* False: malformed, or the arena is exhausted. */
bool rdata_parse(enum dns_type type, struct span wire, struct arena *arena, struct rdata *out);
/* An uncompressed wire name at the front of *in, as text without the last dot,
 * lower case; empty for the root.  False: malformed, or no host name. */
bool rdata_name(struct span *in, char text[RDATA_NAME], struct span *name);
/* "192.0.2.1" -> "1.2.0.192.in-addr.arpa", likewise ip6.arpa; false: no address. */
bool rdata_reverse(struct span address, char text[RDATA_NAME]);

#endif
