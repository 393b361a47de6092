/* SPDX-License-Identifier: ISC
 *
 * fetch: one policy by HTTPS (RFC 8461 3.3), on a thread, with libcurl: only
 * that path of mta-sts.DOMAIN, no redirect, no other protocol, no proxy, bounded in size and
 * time; the certificate must be trusted and for that name.
 */
#ifndef STSD_FETCH_H
#define STSD_FETCH_H

#include "base/buf.h"
#include "sys/worker.h"

enum { FETCH_SECONDS = 30, FETCH_ADDRESSES = 1024 };

struct fetch {
	struct work work;
	/* In: */
	char host[256];               /* mta-sts.DOMAIN */
	char addresses[FETCH_ADDRESSES]; /* with commas between; IPv6 in brackets */
	char ca_file[1024];
	unsigned port;
	/* Out: */
	struct buf body;
	const char *result;           /* NULL: it is in body; else what went wrong (RFC 8460 4.3) */
	char why[240];
	void (*on_done)(struct fetch *f); /* from the loop */
};

bool fetch_setup(void); /* once, before the sandbox and any thread */
void fetch_start(struct fetch *f, struct worker_pool *pool);
void fetch_free(struct fetch *f); /* what it holds, once done */

#endif
