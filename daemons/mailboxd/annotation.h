/* SPDX-License-Identifier: ISC
 *
 * annotation: what GETMETADATA and LIST (RFC 9590) share.
 */
#ifndef MAILBOXD_ANNOTATION_H
#define MAILBOXD_ANNOTATION_H

#include "daemons/mailboxd/imap.h"

/* A name below /private/ or /shared/, or "/private" or "/shared" itself, in lower case, in the arena. */
bool annotation_take(struct imap_parse *p, struct span *out);
/* The METADATA response with each of these entries, NIL for what is not set. */
void annotation_put(struct imap *s, struct span folder, const struct span *entries, size_t n);

#endif
