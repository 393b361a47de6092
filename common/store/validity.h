/* SPDX-License-Identifier: ISC
 *
 * validity: the UIDVALIDITY of a folder that gets one: never one that this user's folders had before, whatever was
 * deleted or renamed since, and how ever many are made in a second.
 *
 * The last one given is in the file "pillarpost-uidvalidity" beside the INBOX:
 *
 *   "pillarpost uidvalidity 1\n" <decimal> "\n"
 */
#ifndef STORE_VALIDITY_H
#define STORE_VALIDITY_H

#include "base/fail.h"
#include "journal/vfs.h"

#define VALIDITY_FILE "pillarpost-uidvalidity"

/* The time, or one more than the last.  v is the Maildir's.  Durably given when it returns true. */
bool validity_next(struct vfs *v, uint32_t *out, struct fail *why);

#endif
