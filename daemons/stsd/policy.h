/* SPDX-License-Identifier: ISC
 *
 * policy: what a domain publishes for MTA-STS: the TXT record that there is a
 * policy, and the policy itself (RFC 8461 3).  Foreign text; no I/O.
 */
#ifndef STSD_POLICY_H
#define STSD_POLICY_H

#include "base/buf.h"
#include "base/fail.h"

enum {
	POLICY_ID = 32,              /* RFC 8461 3.1 */
	POLICY_BODY_MAX = 65536,     /* RFC 8461 3.3 */
	POLICY_MX_MAX = 64,          /* patterns; a policy with more is refused */
	POLICY_PATTERNS_MAX = 12000, /* bytes of all */
	POLICY_AGE_MAX = 31557600,   /* seconds, RFC 8461 3.2 */
};

enum policy_mode { POLICY_NONE, POLICY_TESTING, POLICY_ENFORCE };

struct policy {
	enum policy_mode mode;
	int64_t max_age_s;
};

/* False: this TXT record is none of MTA-STS. id gets a NUL behind. */
bool policy_record(struct span txt, char id[POLICY_ID + 1]);
/* The patterns go to *patterns in lower case with blanks between. False: *why. */
bool policy_parse(struct span body, struct policy *out, struct buf *patterns, struct fail *why);
const char *policy_mode_text(enum policy_mode mode);

#endif
