/* SPDX-License-Identifier: ISC
 *
 * early: channels and listeners that are given to a program before it is told to start: nobody is heard on
 * them until then, as it has neither its walls nor its files yet.
 */
#ifndef SERVICE_EARLY_H
#define SERVICE_EARLY_H

#include "ipc/messages.h"

/* A struct list of those, in order.  fd is taken.  False: no memory. */
bool early_peer(struct list *early, const struct ipc_ctl_peer *m, int fd);
bool early_listener(struct list *early, const struct ipc_ctl_listener *m, int fd);
/* Gives each to the handler of its message, as if it came now; the list is empty then. */
void early_hand_on(struct list *early, struct channel *ctl, bool (*on_peer)(struct channel *, const struct ipc_ctl_peer *, int),
    bool (*on_listener)(struct channel *, const struct ipc_ctl_listener *, int));

#endif
