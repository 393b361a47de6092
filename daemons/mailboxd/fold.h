/* SPDX-License-Identifier: ISC
 *
 * fold: text for comparison without regard to case: UTF-8 with the letters of
 * Latin, Greek and Cyrillic in lower case (RFC 3501 6.4.4).  No locale.
 */
#ifndef MAILBOXD_FOLD_H
#define MAILBOXD_FOLD_H

#include "base/buf.h"

void fold_text(struct span utf8, struct buf *out);

#endif
