/* SPDX-License-Identifier: ISC
 *
 * squeeze: a session's octets compressed both ways (RFC 4978, RFC 1951).
 * Only this module includes zlib.
 */
#ifndef MAILBOXD_SQUEEZE_H
#define MAILBOXD_SQUEEZE_H

#include "base/buf.h"

struct squeeze;

struct squeeze *squeeze_new(void); /* NULL: no memory */
void squeeze_free(struct squeeze **s);
/* Compresses all of in; flush: so that the peer can read everything up to here. */
bool squeeze_put(struct squeeze *s, struct span in, bool flush, struct buf *out);
/* Expands what fits into out; what is not yet used stays in raw.  False: it is not deflate's. */
bool squeeze_take(struct squeeze *s, struct buf *raw, struct buf *out);

#endif
