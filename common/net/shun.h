/* SPDX-License-Identifier: ISC
 *
 * shun: clients whose sessions have crashed the program twice (sys/box.h): they are told
 * to come later and not one byte of theirs is read.
 */
#ifndef NET_SHUN_H
#define NET_SHUN_H

#include "net/netaddr.h"
#include "sys/loop.h"

/* True: it is one, fd is closed; it was sent text, unless that is empty, since TLS would come first. */
bool shun_client(struct loop *loop, int fd, const struct netaddr *peer, struct span text);
/* Of a host to connect to. */
bool shun_host(struct loop *loop, const struct netaddr *to);

#endif
