/* SPDX-License-Identifier: ISC
 *
 * orcpt: the original recipient of a message as DSN carries it: "type;address"
 * (RFC 3461 4.2), the address in xtext, or for the type utf-8 in the forms
 * of RFC 6533 3.
 */
#ifndef MAIL_ORCPT_H
#define MAIL_ORCPT_H

#include "base/buf.h"

enum { ORCPT_MAX = 500 }; /* as given, RFC 3461 5.4 */

/* utf8: bytes beyond ASCII may stand in it (the session has SMTPUTF8). */
bool orcpt_valid(struct span orcpt, bool utf8);
/* Decoded, "type;address", for Original-Recipient. utf8: bytes beyond ASCII may
 * stand there, else they and what is special are written \x{20AC}. What cannot be
 * decoded is copied (RFC 6533 3). */
void orcpt_put_decoded(struct buf *out, struct span orcpt, bool utf8);
/* For the parameter of RCPT: as given where that may stand. */
void orcpt_put(struct buf *out, struct span orcpt, bool utf8);
/* Makes one of an address. */
void orcpt_make(struct buf *out, struct span address, bool utf8);
/* utf-8-addr-xtext: ASCII stands for everything; unitext for what is beyond it or special. */
void unitext_encode(struct buf *out, struct span address);

#endif
