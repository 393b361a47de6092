/* SPDX-License-Identifier: ISC
 *
 * preview: the first words of a message's text (RFC 8970).
 */
#ifndef MAILBOXD_PREVIEW_H
#define MAILBOXD_PREVIEW_H

#include "mail/mime.h"

enum { PREVIEW_CHARS = 200 }; /* RFC 8970 3.1: at most so many characters */

/* Appends UTF-8 on one line, without tags where only HTML is there. */
void preview_put(struct span message, const struct mime_part *root, struct buf *out);

#endif
