/* SPDX-License-Identifier: ISC
 *
 * web: one HTTP request by libcurl: that URL alone, no redirect, no proxy, bounded in size
 * and time; by HTTPS with TLS 1.2 at least, the certificate trusted and for that name.
 * Names are looked up by dnsd, not here.  A library of its own (WEB_LIBS): libcurl comes
 * with much, and only programs that do little else may have it.
 */
#ifndef SERVICE_WEB_H
#define SERVICE_WEB_H

#include "base/buf.h"

struct web_request {
	const char *agent, *url;
	bool plain;              /* http:// is good enough */
	const char *host;        /* of the URL, */
	unsigned port;
	const char *addresses;   /* and where it is: commas between, IPv6 in brackets; empty: host is an address itself */
	const char *ca_file;     /* empty: the system's */
	int64_t timeout_ms, connect_ms; /* connect_ms 0: as timeout_ms */
	size_t body_max;
	/* A POST, where post is not NULL: */
	const char *credentials; /* "user:password"; empty: none */
	const char *accept;      /* header line */
	struct span post;
};

enum web_result { WEB_ANSWERED, WEB_UNTRUSTED, WEB_FAILED };

struct web_reply {
	long status;       /* WEB_ANSWERED */
	char type[128];    /* Content-Type, as it came */
	struct buf *body;  /* in: empty, with room for body_max */
	char why[240];     /* printable; empty when answered */
};

bool web_setup(void); /* once, before the sandbox and any thread */
/* Blocks: for a thread. */
enum web_result web_perform(const struct web_request *r, struct web_reply *reply);
/* Keeps what went wrong: another's words, so what cannot be printed becomes "?". */
void web_why(char *to, size_t cap, const char *why);

#endif
