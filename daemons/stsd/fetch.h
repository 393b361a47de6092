/* SPDX-License-Identifier: ISC
 *
 * fetch: one policy by HTTPS (RFC 8461 3.3), on a thread, as web.h says:
 * only that path of mta-sts.DOMAIN.
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

void fetch_start(struct fetch *f, struct worker_pool *pool);
void fetch_free(struct fetch *f); /* what it holds, once done */

#endif
