/* SPDX-License-Identifier: ISC
 *
 * bounds: the bounds of a session as constants, from bounds.def.
 */
#ifndef MAILBOXD_BOUNDS_H
#define MAILBOXD_BOUNDS_H

enum {
#define BOUND(name, value, meaning) BOUND_##name = (value),
#include "daemons/mailboxd/bounds.def"
#undef BOUND
};

#endif
