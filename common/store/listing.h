/* SPDX-License-Identifier: ISC
 *
 * listing: the names in a directory, each as often as vfs->ops->list() gives
 * it; those of a large one are read on threads while the caller looks at what
 * they have read.
 */
#ifndef STORE_LISTING_H
#define STORE_LISTING_H

#include "journal/vfs.h"
#include "sys/worker.h"

/* visit is called here, not on the thread; stops when it says false.  pool may be NULL.  -1 and errno: the directory
 * could not be read, or not to its end. */
int listing_each(struct vfs *v, struct worker_pool *pool, const char *dir, bool (*visit)(void *arg, const char *name), void *arg);

#endif
