/* SPDX-License-Identifier: ISC
 *
 * name: a folder's name as clients see it (UTF-8) and as it stands on disk
 * (modified UTF-7, RFC 3501 5.1.3), and what is a legal one.  The hierarchy
 * delimiter is '.' in both.
 */
#ifndef STORE_NAME_H
#define STORE_NAME_H

#include "base/buf.h"

/* A legal folder name on disk: printable ASCII, well-formed modified UTF-7, no
 * '/', no empty or hidden component, at most STORE_NAME_MAX octets. */
bool name_valid(struct span disk);
/* False: malformed input, or out failed. */
bool name_to_utf8(struct span disk, struct buf *out);
bool name_from_utf8(struct span utf8, struct buf *out);
/* INBOX in any letter case gives "INBOX"; any other name itself. */
struct span name_fold(struct span disk);

#endif
