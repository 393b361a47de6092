/* SPDX-License-Identifier: ISC
 *
 * word: RFC 2047 encoded words in header text.
 */
#ifndef MAIL_WORD_H
#define MAIL_WORD_H

#include "base/buf.h"

/* Appends in as UTF-8: encoded words decoded, blanks between two of them dropped, folding undone, a word that does not
 * decode kept as it stands, raw bytes that are not UTF-8 taken as Windows-1252. False if out failed. */
bool word_decode(struct span in, struct buf *out);

/* Appends UTF-8 text, as encoded words where it is not ASCII (or looks like one); words of at most 75, separated by a
 * blank. */
void word_encode(struct buf *out, struct span utf8);

#endif
