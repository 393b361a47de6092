/* SPDX-License-Identifier: ISC
 *
 * logins: whom to log in as at the next hops that a message may come by, as routed tells
 * remoted: a line for each that has a login, "NEXTHOP USER:PASSWORD". Secret.
 */
#ifndef NET_LOGINS_H
#define NET_LOGINS_H

#include "base/buf.h"

/* False: login is not user:password of a line. Whether it found room says buf_ok(). */
bool logins_put(struct buf *logins, struct span nexthop, struct span login);
struct span logins_get(struct span logins, struct span nexthop); /* points into them; empty: none */

#endif
