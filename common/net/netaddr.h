/* SPDX-License-Identifier: ISC
 *
 * netaddr: socket addresses by value and their text.
 *
 * An IPv4-mapped IPv6 address counts as the IPv4 address it holds, in text,
 * in comparison and in matching, so that one rule covers both listeners.
 */
#ifndef NET_NETADDR_H
#define NET_NETADDR_H

#include <netinet/in.h>
#include <sys/socket.h>
#include <sys/un.h>

#include "base/buf.h"
#include "base/fail.h"

struct netaddr {
	socklen_t len; /* of the address in u; 0 when there is none */
	union {
		struct sockaddr sa;
		struct sockaddr_in in4;
		struct sockaddr_in6 in6;
		struct sockaddr_un un;
	} u;
};

enum { NETADDR_TEXT = 128 }; /* room for any text form and its NUL */

static inline int netaddr_family(const struct netaddr *a) { return a->len ? a->u.sa.sa_family : AF_UNSPEC; }

/* From a system call's address; false when the family is unknown or len does not fit it. */
bool netaddr_of(const void *sockaddr, size_t len, struct netaddr *out);
/* From an address in text ("192.0.2.1", "2001:db8::1", no brackets, no zone), never a name. */
bool netaddr_parse(struct span text, uint16_t port, struct netaddr *out);
/* A UNIX socket's path; false when it does not fit. */
bool netaddr_unix(struct span path, struct netaddr *out);

/* Canonical address without port: "192.0.2.1", "2001:db8::1"; "local" for UNIX sockets. */
void netaddr_put(struct buf *out, const struct netaddr *a);
/* With port: "192.0.2.1:25", "[2001:db8::1]:25", "unix:/path". */
void netaddr_put_port(struct buf *out, const struct netaddr *a);
/* The same two into an array, for log lines; returns the span over text. */
struct span netaddr_text(const struct netaddr *a, char text[NETADDR_TEXT]);
struct span netaddr_text_port(const struct netaddr *a, char text[NETADDR_TEXT]);
/* RFC 5321 4.1.3 address literal: "[192.0.2.1]", "[IPv6:2001:db8::1]"; "localhost" for UNIX sockets. */
void netaddr_put_literal(struct buf *out, const struct netaddr *a);

uint16_t netaddr_port(const struct netaddr *a); /* 0 for UNIX sockets */
void netaddr_set_port(struct netaddr *a, uint16_t port);
bool netaddr_eq(const struct netaddr *a, const struct netaddr *b); /* address and port */
bool netaddr_loopback(const struct netaddr *a); /* 127/8, ::1, UNIX sockets */
/* The address as 16 bytes, IPv4 as ::ffff:a.b.c.d; false for UNIX sockets. */
bool netaddr_bytes(const struct netaddr *a, uint8_t out[16]);
/* Zeroes what is behind the first bits of such bytes; true if that changed something. */
bool netaddr_mask(uint8_t bytes[16], unsigned bits);
/* An address's bytes with all behind the first bits4 (of IPv4) or bits6 (of IPv6) bits
 * zero: the key for per-network counters. UNIX sockets give all zero. */
void netaddr_network(const struct netaddr *a, unsigned bits4, unsigned bits6, uint8_t out[16]);

/* "host", "host:25", "[host]", "[host]:25", "[2001:db8::1]:25", "2001:db8::1".
 * *port stays as it was when none is given. bracketed (may be NULL) tells
 * whether the host stood in brackets (a route's "no MX lookup"). */
bool hostport_split(struct span text, struct span *host, uint16_t *port, bool *bracketed);

#endif
