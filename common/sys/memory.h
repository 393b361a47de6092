/* SPDX-License-Identifier: ISC
 *
 * memory: how the heap deals with what was freed.
 */
#ifndef SYS_MEMORY_H
#define SYS_MEMORY_H

#include <stddef.h>

/* For a daemon whose buffers come and go by the thousand: up to so many free
 * bytes at the end of the heap stay with the process. As it is, 128 KiB do, and
 * each larger pause costs a page fault for every page that is used again. */
void memory_keep(size_t bytes);

/* For a daemon with very many small things: what is freed joins its free neighbours at once. As it is, the allocator
 * lets it lie and joins it all when a large block comes or goes: milliseconds, behind a hundred thousand frees. */
void memory_join(void);

/* Gives back to the kernel what is free in the heap; some ten microseconds and more: for who comes to rest. */
void memory_trim(void);

/* Calls f(arg), whose frame begins where a page of the stack does, wherever the kernel has put the stack: what
 * that and some frames above it need is one page, in each of thousands of processes. */
int memory_on_page(int (*f)(void *), void *arg);
/* For a process a user: all threads share one heap. */
void memory_compact(void);
/* In a template, when all is made that its copies share: takes what is free between, so that what a
 * copy allocates lies together, on pages of its own.  Returns what is never to be freed. */
void *memory_fill(void);

#endif
