/* SPDX-License-Identifier: ISC
 *
 * slice: how long the kernel lets a process run before one that has just woken gets its turn.
 */
#ifndef SYS_SLICE_H
#define SYS_SLICE_H

/* For a daemon whose turns of the loop are short: its siblings wait for each other at every step of a message,
 * and 3 ms each time (the kernel's own slice) is long for a letter when a list keeps all processors busy.
 * Inherited by threads and children. Linux 6.12 listens; an older one does not, which changes nothing else. */
void slice_short(void);

#endif
