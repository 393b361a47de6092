/* SPDX-License-Identifier: ISC
 *
 * objectid: names that outlive numbers (RFC 8474).
 *
 * A message's is made of its content and internal date, so it is the same
 * wherever a copy lies, whoever made it, and after any loss of an index.  A thread's
 * is made of the oldest message that its messages refer to.  A mailbox's is
 * kept in its index.
 */
#ifndef MAILBOXD_OBJECTID_H
#define MAILBOXD_OBJECTID_H

#include "daemons/mailboxd/text.h"

enum { OBJECTID_SIZE = 40 }; /* of an id as a C string */

/* False: the message cannot be read. */
bool objectid_email(struct text *t, char out[OBJECTID_SIZE]);
bool objectid_thread(struct text *t, char out[OBJECTID_SIZE]);
/* "(F...)", as it stands in responses. */
void objectid_put_mailbox(struct buf *out, uint64_t id);

#endif
