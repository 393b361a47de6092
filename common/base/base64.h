/* SPDX-License-Identifier: ISC
 *
 * base64: RFC 4648 section 4, strict: padding required, no line breaks, no
 * stray characters, zero trailing bits.  For SASL and tokens; the tolerant
 * decoder for message bodies is mail/encoding.h.
 */
#ifndef BASE_BASE64_H
#define BASE_BASE64_H

#include "base/buf.h"

void base64_encode(struct buf *out, struct span in);
bool base64_decode(struct buf *out, struct span in); /* false: malformed, or out failed */

#endif
