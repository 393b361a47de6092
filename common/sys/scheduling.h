/* SPDX-License-Identifier: ISC
 *
 * scheduling: how a daemon stands in the queue for a processor.
 */
#ifndef SYS_SCHEDULING_H
#define SYS_SCHEDULING_H

#include <stdbool.h>

/* Before the walls; holds for threads and children made later, too. A policy that the administrator has chosen is left
 * alone, and a kernel that would not listen changes nothing but the pace.
 *
 * A short slice: siblings wait for each other at every step of a message, and 3 ms each time (the kernel's own slice)
 * is long for a letter when a list keeps all processors busy. Linux 6.12 and later.
 *
 * gathers: whoever wakes this process runs on until it waits itself or its slice ends (SCHED_BATCH). What comes until
 * then is done in one turn instead of one by one, with a switch back and forth for each. */
void scheduling_of_daemon(bool gathers);

#endif
