/* SPDX-License-Identifier: ISC
 *
 * walls: what the parent leaves in reach of a daemon (daemons/reach.def): limits, paths and
 * ports, and which of them the daemon may name itself.
 */
#ifndef SERVICE_WALLS_H
#define SERVICE_WALLS_H

#include "ipc/messages.h"
#include "sys/sandbox.h"

struct walls {
	struct sandbox granted;
	unsigned named; /* REACH_*: the daemon names paths of its own */
};

void walls_limit(struct walls *w, const struct ipc_ctl_boot *m);
/* One more row; its path is kept for as long as the process runs. False: there is no place or no memory. */
bool walls_grant(struct walls *w, const struct ipc_ctl_reach *m);
/* The rows, with what the daemon itself found where they let it, and no more. */
struct sandbox walls_within(const struct walls *w, struct sandbox found);

#endif
