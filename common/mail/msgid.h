/* SPDX-License-Identifier: ISC
 *
 * msgid: message ids in Message-ID, In-Reply-To and References.
 */
#ifndef MAIL_MSGID_H
#define MAIL_MSGID_H

#include "base/buf.h"

/* Appends the next id of an unfolded field without its brackets, in the form
 * that compares (RFC 5256 3: a quoted local part without its quotes and
 * blanks dropped), and moves on; false when there is none left. */
bool msgid_next(struct span *rest, struct buf *out);

#endif
