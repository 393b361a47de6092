/* SPDX-License-Identifier: ISC
 *
 * address: the one grammar of envelope addresses (RFC 5321 4.1.2, RFC 6531 3.3).
 *
 * What it accepts it has proven; whatever else happens, parsing fails closed and
 * *a is the empty (null) address.  The result is canonical: domain in lower
 * case and as A-labels, local part without quotes where it needs none and minimally quoted where
 * it does, source route dropped.  Held by value: no memory to own.
 */
#ifndef MAIL_ADDRESS_H
#define MAIL_ADDRESS_H

#include "base/fail.h"
#include "mail/domain.h"

enum {
	ADDRESS_UTF8 = 1,      /* SMTPUTF8: UTF-8 in local part and domain */
	ADDRESS_NULL = 2,      /* "<>" is allowed (reverse-paths) */
	ADDRESS_POSTMASTER = 4,/* "postmaster" without a domain is allowed (RCPT, RFC 5321 4.5.1) */
	ADDRESS_NO_DOMAIN = 8, /* any local part without a domain is allowed (command line, alias files) */
	ADDRESS_LONG_LOCAL = 16, /* local parts beyond 64 octets, as VERP senders make them; the path limit stands */
};

enum { ADDRESS_SIZE = 256 };

struct address {
	char text[ADDRESS_SIZE]; /* canonical, NUL behind; "" is the null address */
	uint16_t n;              /* bytes of text */
	uint16_t local_n;        /* bytes of the local part; text[local_n] is '@' unless there is no domain */
	bool has_domain;
	bool literal;            /* the domain is an address literal */
	bool utf8;               /* the local part has bytes beyond ASCII: needs SMTPUTF8 */
};

/* The whole of s is an address without angle brackets ("a@b", "\"a b\"@c").
 * *why gets STATUS_BAD_SYNTAX_RECIPIENT. */
bool address_parse(struct address *a, struct span s, unsigned flags, struct fail *why);
/* s begins with a path in angle brackets (MAIL FROM, RCPT TO); *used is where the path
 * ends, for parameters follow. Leading blanks are the caller's to skip. */
bool address_parse_path(struct address *a, struct span s, unsigned flags, size_t *used, struct fail *why);
/* From already proven parts, such as a lookup's result: local as raw bytes (not quoted) and a domain. */
bool address_make(struct address *a, struct span local_raw, struct span domain, unsigned flags, struct fail *why);

static inline bool address_null(const struct address *a) { return a->n == 0; }
static inline struct span address_text(const struct address *a) { return span_of(a->text, a->n); }
/* As it stands in the canonical text, quotes included. */
static inline struct span address_local(const struct address *a) { return span_of(a->text, a->local_n); }
/* Empty without one; a literal with its brackets. */
static inline struct span
address_domain(const struct address *a)
{
	return a->has_domain ? span_of(a->text + a->local_n + 1, (size_t)(a->n - a->local_n - 1)) : SPAN_NONE;
}

/* The local part as the bytes it means: unquoted. out holds them. */
struct span address_local_raw(const struct address *a, char out[ADDRESS_SIZE]);

/* Splits at the first of the delimiters that is neither first nor last byte of the raw local part ("user+detail").
 * False: no subaddress; *user is then the whole local part. Spans into raw. */
bool address_subaddress(struct span raw, struct span delimiters, struct span *user, struct span *detail);

/* Local parts byte by byte, domains are canonical already. */
static inline bool
address_eq(const struct address *a, const struct address *b)
{
	return span_eq(address_text(a), address_text(b));
}

/* xtext, RFC 3461 4 (ORCPT, ENVID, AUTH=). False: malformed or out failed. */
void xtext_encode(struct buf *out, struct span raw);
bool xtext_decode(struct buf *out, struct span text);

#endif
