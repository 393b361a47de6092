/* SPDX-License-Identifier: ISC
 *
 * addresses: several of them in one field of a message, with a LF or a tab between them.
 */
#ifndef MAIL_ADDRESSES_H
#define MAIL_ADDRESSES_H

#include "base/span.h"

/* Each of 1 to B_LONG_ADDRESS octets without control characters, and at most so many; none is fine. */
bool addresses_ok(struct span list, char between, size_t most);

#endif
