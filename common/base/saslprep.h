/* SPDX-License-Identifier: ISC
 *
 * saslprep: one form for what people see as one name or password (RFC 4013): spaces alike, no invisible characters,
 * letters and their accents joined.
 */
#ifndef BASE_SASLPREP_H
#define BASE_SASLPREP_H

#include "base/buf.h"

enum { SASLPREP_MAX = 1024 };

/* Appends the prepared text. Unassigned characters pass (RFC 4013 2.5: a query). False, and nothing is appended: too
 * long, not UTF-8, empty when prepared, or a character is in it that may not be; then it is to count as it is given. */
bool saslprep(struct span text, struct buf *out);
/* What text counts as: its prepared form, in out, or text itself where it has none or is prepared already. */
struct span saslprep_or_given(struct span text, struct buf *out);

#endif
