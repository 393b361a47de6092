/* SPDX-License-Identifier: ISC
 *
 * cidr: networks (RFC 4632 3.1) and lists of them that an address is looked up in.
 */
#ifndef NET_CIDR_H
#define NET_CIDR_H

#include "base/arena.h"
#include "net/netaddr.h"

/* "10.0.0.0/8", "192.0.2.1", "2001:db8::/32", "[2001:db8::]/32". Host bits must be zero. */
struct cidr {
	uint8_t net[16]; /* IPv4 mapped */
	uint8_t bits;    /* 0..128 of the mapped form */
};
bool cidr_parse(struct span text, struct cidr *out, struct fail *why);
bool cidr_match(const struct cidr *c, const struct netaddr *a); /* never for UNIX sockets */

/* Networks parted by blanks or commas, "!" in front excludes; the first that
 * matches decides. Entries live in the arena. */
struct cidr_list {
	struct cidr_entry {
		struct cidr cidr;
		bool exclude;
	} *entries;
	size_t count;
};
bool cidr_list_parse(struct span text, struct arena *mem, struct cidr_list *out, struct fail *why);
bool cidr_list_match(const struct cidr_list *l, const struct netaddr *a);

#endif
