/* SPDX-License-Identifier: ISC
 *
 * domain: names behind the @: validity, canonical form, IDNA, literals.
 *
 * A domain is labels of letters, digits, hyphens (not at either end of a label)
 * and, because the DNS has them, underscores; or UTF-8 labels where asked for;
 * or an address literal in brackets (RFC 5321 4.1.3).
 */
#ifndef MAIL_DOMAIN_H
#define MAIL_DOMAIN_H

#include "base/buf.h"

enum { DOMAIN_SIZE = 256 }; /* room for the longest domain and a NUL */

/* The grammar alone; no trailing dot; a single label is fine. Does not take literals. */
bool domain_valid(struct span s, bool utf8);

/* The form that is compared and looked up: A-labels in lower case (IDNA2008,
 * non-transitional UTS 46). False: not a valid domain. out gets a NUL behind. */
bool domain_to_ascii(struct span s, char out[DOMAIN_SIZE], struct span *result);

/* s is the same as or below parent ("a.example" is below "example"); ASCII case ignored. */
bool domain_within(struct span s, struct span parent);

/* "[192.0.2.1]" or "[IPv6:2001:db8::1]", brackets included. */
struct domain_literal {
	int family; /* AF_INET or AF_INET6 */
	unsigned char bytes[16];
};
/* False: not a literal, or one of no known kind. */
bool domain_literal(struct span s, struct domain_literal *out);

#endif
