/* SPDX-License-Identifier: ISC
 *
 * proxy: the header that a load balancer puts in front of a connection to say
 * whose it is (haproxy's PROXY protocol, versions 1 and 2). Bytes in, an address out.
 */
#ifndef NET_PROXY_H
#define NET_PROXY_H

#include "base/span.h"
#include "net/netaddr.h"

enum { PROXY_MAX = 16 + 2048 /* of a header; one that is longer is refused */ };

enum proxy_step { PROXY_MORE, PROXY_DONE, PROXY_BAD };

struct proxy {
	char bytes[PROXY_MAX];
	size_t n;
	struct netaddr peer; /* DONE: the client; len 0 when the header names none (UNKNOWN, LOCAL) */
};

/* Takes *use bytes from the front of in: never one behind the header. */
enum proxy_step proxy_next(struct proxy *p, struct span in, size_t *use);

#endif
