/* SPDX-License-Identifier: ISC
 *
 * keptfield: header fields as they stand, kept with the facts of a message
 * (keptfield.def), so that a list of messages is shown without reading them.
 */
#ifndef MAILBOXD_KEPTFIELD_H
#define MAILBOXD_KEPTFIELD_H

#include "base/buf.h"

enum { KEPTFIELD_MAX = 8192 }; /* octets kept of one message */

/* Those of a header, with their numbers.  False: they are more than is kept. */
bool keptfield_take(struct span header, struct buf *out);
/* The bit of a field; 0: it is none of those. */
uint64_t keptfield_bit(struct span name);
/* Of what was taken the fields with these bits, as they stood. */
void keptfield_put(struct span kept, uint64_t bits, struct buf *out);

#endif
