/* SPDX-License-Identifier: ISC
 *
 * facts: a cache of what was parsed out of messages: one blob a message, which
 * its producer defines and versions.  A file that is only appended to; each
 * message of the index says where its blob is.  It may vanish at any time.
 */
#ifndef STORE_FACTS_H
#define STORE_FACTS_H

#include "journal/vfs.h"
#include "store/mailbox.h"

#define FACTS_NAME "pillarpost/facts"

enum { FACTS_BLOB_MAX = 256 * 1024 };

struct facts_file {
	struct vfs *vfs;
	int fd;          /* -1: not open, or no good */
	uint64_t end;    /* where the next blob goes */
	struct buf blob; /* what was read last: the blob, and what lies behind it in the file */
	uint64_t at;     /* where in the file that begins */
};

void facts_init(struct facts_file *f, struct vfs *v);
void facts_close(struct facts_file *f);
/* The blob at where (message.facts) if it is uid's, else empty; valid until the next call. */
struct span facts_get(struct facts_file *f, uint32_t uid, uint32_t where);
/* Where it was put; 0: nowhere. */
uint32_t facts_put(struct facts_file *f, uint32_t uid, struct span blob);
/* Several at once: each is packed behind those before it, which gives its distance from where
 * facts_append() puts them all.  A blob that is no good has UINT32_MAX. */
uint32_t facts_pack(struct buf *entries, uint32_t uid, struct span blob);
uint32_t facts_append(struct facts_file *f, struct buf *entries); /* 0: nowhere; else the entries may be taken, and the buffer empty */
/* Forgets all blobs: nothing may ask for what was put before. */
void facts_drop(struct facts_file *f);

#endif
