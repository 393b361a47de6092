/* SPDX-License-Identifier: ISC
 *
 * structure: a parsed message as IMAP shows it: ENVELOPE, BODY and
 * BODYSTRUCTURE (RFC 3501 7.4.2).
 */
#ifndef MAILBOXD_STRUCTURE_H
#define MAILBOXD_STRUCTURE_H

#include "mail/mime.h"

void structure_envelope(struct buf *out, const struct envelope *e);
/* extended: BODYSTRUCTURE, else BODY. */
void structure_body(struct buf *out, const struct mime_part *p, bool extended);

#endif
