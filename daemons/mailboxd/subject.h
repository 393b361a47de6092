/* SPDX-License-Identifier: ISC
 *
 * subject: the base subject of RFC 5256 2.1, by which messages are sorted and
 * gathered into threads.
 */
#ifndef MAILBOXD_SUBJECT_H
#define MAILBOXD_SUBJECT_H

#include "base/buf.h"

/* Appends the base subject of a raw (unfolded) Subject, decoded and folded for
 * comparison (fold.h).  Returns whether it is one of a reply or a forward. */
bool subject_base(struct span raw, struct buf *out);

#endif
