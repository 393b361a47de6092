/* SPDX-License-Identifier: ISC
 *
 * context: libunbound set up: which servers it asks, what it keeps, what it
 * believes.
 */
#ifndef DNSD_CONTEXT_H
#define DNSD_CONTEXT_H

#include "base/buf.h"
#include "base/fail.h"
#include "sys/loop.h"

enum { CONTEXT_SERVERS = 10 };

struct context_servers {
	char text[CONTEXT_SERVERS][64]; /* ADDRESS or ADDRESS@PORT */
	size_t n;          /* 0: recursion from the root servers */
	bool own;          /* named in our configuration: they know this host's private zones */
	size_t cache_size; /* bytes */
};

struct ub_ctx;

/* What it has learned is its own. Zeroed: there is none. */
struct context {
	struct ub_ctx *ub;
	struct watch watch;
	size_t nflights; /* queries that it works on, as its owner counts them */
};

bool context_add_server(struct context_servers *s, struct span server); /* false: too many, too long */
void context_resolv_conf(struct context_servers *s, const char *path);
/* Has read all its files when it returns, so that it can start in the sandbox;
 * its thread comes with the first question. trust_anchor NULL: no validation. False: there is none. */
bool context_open(struct context *c, const struct context_servers *s, const char *trust_anchor, struct fail *why);
/* From here on the loop brings its answers. */
bool context_listen(struct context *c, struct loop *loop, struct fail *why);
void context_close(struct context *c); /* not from one of its answers */

/* A whole file; false: path is NULL, unreadable or more than fits. */
bool context_read(const char *path, struct buf *text);

#endif
