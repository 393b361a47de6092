/* SPDX-License-Identifier: ISC
 *
 * fold: text for comparison: UTF-8 as i;unicode-casemap (RFC 5051) compares it,
 * so that neither case nor the way an accent is written matters (RFC 5255 4.3).
 * No locale.
 *
 * Two departures that no comparison for equality of letters sees: ASCII letters are
 * in lower case (fold_compare() orders them as if they were not), also those that
 * come out of a decomposition, so that a ligature equals its letters.
 */
#ifndef MAILBOXD_FOLD_H
#define MAILBOXD_FOLD_H

#include "base/buf.h"

/* What is not UTF-8 stays as it is. */
void fold_text(struct span utf8, struct buf *out);
/* The order of two folded texts. */
int fold_compare(struct span a, struct span b);

#endif
