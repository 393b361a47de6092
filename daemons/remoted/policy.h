/* SPDX-License-Identifier: ISC
 *
 * policy: what the configuration says to sessions, as a snapshot that lives as
 * long as its last user: a reload makes a new one and cuts no session.
 */
#ifndef REMOTED_POLICY_H
#define REMOTED_POLICY_H

#include "conf/conf.h"
#include "daemons/remoted/client.h"
#include "daemons/remoted/destination.h"
#include "net/tls.h"

enum { POLICY_OWN_MAX = 64 };

struct policy {
	unsigned refs;
	char helo[256], myself[256];
	struct client_timeouts timeouts;
	int64_t connect_ms, lookup_ms;
	int64_t keep_ms, reuse_ms; /* how long a connection may idle, how old it may get; 0: is not kept */
	uint64_t reuse_count;      /* messages on one connection; 0: no limit */
	size_t session_limit;      /* hosts that answered and put us off, in one attempt; 0: no limit */
	uint16_t port;
	bool send_8bit_anyway, chunking;
	unsigned mechanisms;       /* for logging in; auth_mechanisms() */
	struct netaddr own[POLICY_OWN_MAX];
	struct destination_rules rules;
	struct tls_client *tls; /* NULL: TLS cannot be had; tls_why says why */
	struct fail tls_why;
};

/* old: the one before, at a reload. NULL: no memory. One reference is the caller's. */
struct policy *policy_new(const struct conf *conf, const struct policy *old);
struct policy *policy_ref(struct policy *p);
void policy_unref(struct policy **p);

/* Whether connections are to come from any certain address. */
bool policy_binds(const struct conf *conf);
/* The address that connections of that family to a next hop come from, by the routes and the default; false: the system chooses. */
bool policy_source(const struct conf *conf, struct span nexthop, int family, struct netaddr *from);

/* The TLS level on the way to a next hop, by the routes and the default. */
enum conf_word policy_tls_level(const struct conf *conf, struct span nexthop, const struct hop *hop);
/* The file of the certificate to show there; empty: none. */
struct span policy_certificate(const struct conf *conf, struct span nexthop);

#endif
