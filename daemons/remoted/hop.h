/* SPDX-License-Identifier: ISC
 *
 * hop: a next hop in text (route_target.nexthop) taken apart.
 *
 *   domain  domain:port       by MX, then A and AAAA (RFC 5321 5.1)
 *   [host]  [host]:port       that host, no MX; an address literal is one too
 *   lmtp:inet:host:port       LMTP (RFC 2033), no MX; port 24 unless given
 *   lmtp:unix:/path           LMTP to a socket
 *   smtp:...                  as without the prefix
 */
#ifndef REMOTED_HOP_H
#define REMOTED_HOP_H

#include "base/fail.h"
#include "net/netaddr.h"

enum { HOP_LMTP_PORT = 24 };

enum hop_kind {
	HOP_DOMAIN,  /* look for MX */
	HOP_HOST,    /* look for addresses */
	HOP_ADDRESS, /* nothing to look for: address is set */
	HOP_UNIX,    /* likewise; name is the path */
};

struct hop {
	enum hop_kind kind;
	bool lmtp;
	uint16_t port;
	struct span name; /* without brackets, port and final dot; points into the text given to hop_parse */
	struct netaddr address;
};

/* port is where SMTP goes when the text names none.  False (FAIL_PERM): no
 * next hop in one of the shapes above. */
bool hop_parse(struct span text, uint16_t port, struct hop *hop, struct fail *why);

#endif
