/* SPDX-License-Identifier: ISC
 *
 * The inside of the history, shared by its writing and its reading.
 */
#ifndef QUEUE_HISTORY_IMPL_H
#define QUEUE_HISTORY_IMPL_H

#include "queue/history.h"

enum {
	HISTORY_FILES = 1000,
	HISTORY_EVENT_MAX = 1200000,
	HISTORY_FRAME = 8, /* length u32, CRC32C u32 */
};

struct history_file {
	uint64_t number, bytes;
	int64_t newest_ms;
};

struct history {
	struct vfs *vfs;
	struct worker_pool *pool;
	struct history_limits limits;
	struct history_file files[HISTORY_FILES]; /* oldest first; the last is written while fd >= 0 */
	size_t nfiles;
	uint64_t next, total, write_at;
	int64_t now_ms;
	int fd;
	struct buf pending, writing; /* frames */
	struct buf list, event;
	struct work work;
	struct list waiting; /* scans */
	bool busy, again, failed, told; /* again: what is pending is to be written at once */
};

void history_name(uint64_t number, char name[40]);
void history_scan_written(struct history *h); /* a write has ended: scans go on that waited for it */
/* Whole or not at all; a failed buffer stays as it was but for its mark. */
void history_frame(struct buf *out, struct span event);
/* The next event of a piece; false: broken, or its rest is in the next piece (*more). */
bool history_unframe(struct span *piece, struct span *event, bool *more);

#endif
