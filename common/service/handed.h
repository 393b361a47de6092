/* SPDX-License-Identifier: ISC
 *
 * handed: what of the ctl channel concerns the loop alone: how far its limits are used, and
 * what is to be thought of which peer (sys/box.h); and who the sibling at the end of a channel is.
 */
#ifndef SERVICE_HANDED_H
#define SERVICE_HANDED_H

#include "ipc/messages.h"

bool handed_limits(struct channel *c, const struct ipc_ctl_limits *m); /* answers; false: the channel is closed */
void handed_box(struct loop *loop, int fd); /* takes fd, the page */
bool handed_suspect(struct loop *loop, const struct ipc_ctl_suspect *m); /* false: a violation */

struct service;
struct service_channel;
/* A channel for fd, which is taken; its owner is the service.  NULL: no memory, which the log is told. */
struct channel *handed_channel(struct service *s, const struct service_channel *sc, int fd);
/* The one to a sibling, open: the parent hears of it when the sibling breaks its rules, or there is no memory for it, and gives both another. */
void handed_sibling(struct service *s, const struct service_channel *sc, int fd, const struct ipc_ctl_peer *m);

#endif
