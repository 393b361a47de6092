/* SPDX-License-Identifier: ISC
 *
 * ask: one question to the issuer (RFC 7662 2.1): a POST on a thread, as web.h says,
 * by HTTPS, or by HTTP on this host.
 */
#ifndef TOKEND_ASK_H
#define TOKEND_ASK_H

#include "base/buf.h"
#include "base/fail.h"
#include "sys/worker.h"

enum { ASK_ADDRESSES = 512, ASK_CREDENTIALS = 2048 };

/* Where to ask, from the configuration; lives as long as any question. */
struct ask_target {
	char url[1024], host[256], ca_file[1024];
	unsigned port;
	bool literal;  /* host is an address, or localhost */
	char credentials[ASK_CREDENTIALS]; /* "id:secret"; empty: none are sent; wiped */
	int64_t timeout_ms;
};
/* As whom, with RFC 6749 2.3.1. False: no memory, or too long. */
bool ask_credentials(struct ask_target *t, struct span id, struct span secret);
/* False: not a URL that is asked. */
bool ask_target(struct ask_target *t, struct span url, struct fail *why);

struct ask {
	struct work work;
	/* In: */
	const struct ask_target *target;
	char addresses[ASK_ADDRESSES]; /* of the host, commas between, IPv6 in brackets; empty for a literal */
	struct buf token;              /* wiped */
	/* Out: */
	struct buf body;
	bool ok;                       /* it is in body */
	char why[200];                 /* else */
	void (*on_done)(struct ask *a); /* from the loop */
};

void ask_start(struct ask *a, struct worker_pool *pool);
void ask_free(struct ask *a); /* what it holds */

#endif
