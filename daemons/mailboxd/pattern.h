/* SPDX-License-Identifier: ISC
 *
 * pattern: mailbox names against LIST patterns (RFC 3501 6.3.8): "*" matches
 * anything, "%" anything but the hierarchy delimiter.
 */
#ifndef MAILBOXD_PATTERN_H
#define MAILBOXD_PATTERN_H

#include "base/span.h"

enum { PATTERN_MAX = 500 };

/* In time O(pattern * name). INBOX matches in any letter case. False for a
 * pattern longer than PATTERN_MAX. */
bool pattern_match_in(struct span pattern, struct span name, char delimiter);
static inline bool pattern_match(struct span pattern, struct span name) { return pattern_match_in(pattern, name, '.'); }

#endif
