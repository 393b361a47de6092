/* SPDX-License-Identifier: ISC
 *
 * received: the trace field (RFC 5321 4.4): building ours, reading everybody's,
 * and judging from the trail whether a message loops.
 */
#ifndef MAIL_RECEIVED_H
#define MAIL_RECEIVED_H

#include "base/arena.h"
#include "mail/date.h"

/* What smtpd knows when it writes one. Empty spans leave their clause out. */
struct received_new {
	struct span helo;        /* as the client said it; already checked or "unknown" */
	struct span client_name; /* verified by DNS; empty: "unknown" */
	struct span client_ip;   /* text without brackets; IPv6 gets its tag; empty: not by network */
	struct span by;          /* our name */
	struct span via;         /* "UNIX" for local submission; usually empty */
	struct span protocol;    /* of received_protocol() */
	struct span tls;         /* "TLSv1.3 cipher TLS_AES_256_GCM_SHA384", text for a comment */
	struct span auth_user;   /* shown only if not empty */
	struct span id;
	struct span priority;    /* "-3"; empty: none was given */
	struct span recipient;   /* canonical address, only for single-recipient messages */
	int64_t time;
	int zone;
};

/* The word behind `with`: SMTP, ESMTP, ESMTPA, ESMTPS, ESMTPSA, LMTP*, UTF8* (RFC 3848, RFC 6531 4.3). Static storage.
 */
struct span received_protocol(bool lmtp, bool extended, bool tls, bool auth, bool utf8);
/* Appends the whole folded field with its CRLF. Foreign text is cleaned so that it cannot leave its clause. */
void received_build(struct buf *out, const struct received_new *r);

/* One foreign field, understood as far as possible; empty spans for what it does not say. Spans into the arena. */
struct received {
	struct span from;         /* what stands behind from: a name, literal, or "unknown" */
	struct span from_comment; /* its comments, without the outer parentheses */
	struct span from_ip;      /* an address found in them */
	struct span by, via, with, id, for_;
	struct span tls;          /* what it says of encryption: "DHE-RSA-AES256-SHA", "TLSv1.2 ..." ; empty: nothing */
	struct span invoked;      /* qmail: "by alias", "by uid 9804", "from network" */
	struct date date;
	bool has_date;
	bool encrypted;           /* says TLS in any way (with ESMTPS, comment) */
};

/* raw: the field's value. False only when the arena is exhausted. */
bool received_parse(struct received *r, struct span raw, struct arena *arena);

/* The trail, oldest hop first. */
struct received_hop {
	struct received r;
	bool has_delay;
	int64_t delay;  /* seconds since the hop before; may be negative when clocks differ */
	bool filter;    /* handed over inside one host: a content filter, queue or submission by localhost */
};
struct received_trail {
	struct received_hop *hops;
	unsigned count;
	unsigned delivered_to; /* Delivered-To fields */
};
bool received_trail(struct received_trail *t, struct span message, struct arena *arena);
/* A trace as text, one line a hop: number, from, by, protocol, TLS, delay. */
void received_trail_text(const struct received_trail *t, struct buf *out);

enum received_verdict {
	RECEIVED_FINE,
	RECEIVED_REINJECTED, /* passed a host more than once by way of a filter on it: no loop */
	RECEIVED_LOOP, /* too many hops, delivered to the same address before, or a circle through other hosts twice
			  over */
};
/* delivered_to (may be empty): the address about to be delivered to (RFC 9228). */
enum received_verdict received_judge(const struct received_trail *t, struct span message, unsigned max_hops,
				     struct span delivered_to);
/* A Delivered-To field already names this address. */
bool received_delivered_to(struct span message, struct span address);

/* Return-Path value with or without angle brackets: the address in it. */
struct span received_return_path(struct span raw);

#endif
