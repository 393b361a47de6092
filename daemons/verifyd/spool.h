/* SPDX-License-Identifier: ISC
 *
 * spool: bytes that are kept until the filters are done with them: in memory
 * while they are few, else in a file without a name, which is gone with its
 * descriptor. Nothing here is durable: what is lost has not been acknowledged.
 */
#ifndef VERIFYD_SPOOL_H
#define VERIFYD_SPOOL_H

#include "base/buf.h"
#include "base/fail.h"

enum { SPOOL_MEMORY = 262144 };

struct spool {
	struct buf memory; /* empty once there is a file */
	int fd;            /* -1: none yet */
	uint64_t size;
};

void spool_init(struct spool *s);
void spool_free(struct spool *s); /* back to the state after spool_init */
bool spool_put(struct spool *s, const char *directory, struct span bytes, struct fail *why);
/* The bytes at `at`, as many as there are up to n, read into room where they are not in memory.
 * Fewer than asked for only at the end; false: the file could not be read. */
bool spool_read(const struct spool *s, uint64_t at, char *room, size_t n, struct span *out, struct fail *why);

#endif
