/* SPDX-License-Identifier: ISC
 *
 * context: libunbound set up: which servers it asks, what it keeps, what it
 * believes.
 */
#ifndef DNSD_CONTEXT_H
#define DNSD_CONTEXT_H

#include "base/buf.h"
#include "base/fail.h"

enum { CONTEXT_SERVERS = 10 };

struct context_servers {
	char text[CONTEXT_SERVERS][64]; /* ADDRESS or ADDRESS@PORT */
	size_t n;          /* 0: recursion from the root servers */
	bool own;          /* named in our configuration: they know this host's private zones */
	size_t cache_size; /* bytes */
};

struct ub_ctx;

bool context_add_server(struct context_servers *s, struct span server); /* false: too many, too long */
void context_resolv_conf(struct context_servers *s, const char *path);
/* Has read all its files when it returns, so that it can start in the sandbox;
 * its thread comes with the first question. trust_anchor NULL: no validation. */
struct ub_ctx *context_new(const struct context_servers *s, const char *trust_anchor, struct fail *why);

/* A whole file; false: path is NULL, unreadable or more than fits. */
bool context_read(const char *path, struct buf *text);

#endif
