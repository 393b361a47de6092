/* SPDX-License-Identifier: ISC
 *
 * gather: how a process stands in the queue for a processor.
 */
#ifndef SYS_GATHER_H
#define SYS_GATHER_H

#include <stdbool.h>

/* Whoever wakes this process runs on until it waits itself or its slice ends: what comes until
 * then is done in one turn instead of one by one, with a switch back and forth for each.  On an idle
 * processor nothing waits, and the share of a busy one is as before.  Holds for threads made later, too;
 * a policy that the administrator has chosen is left alone. Before the walls. False: the kernel would not. */
bool gather_work(void);

#endif
