/* SPDX-License-Identifier: ISC
 *
 * content: a message's content on its way out: inline bytes or a read-only
 * descriptor, dot-stuffed into a stream block by block, as the peer takes it.
 */
#ifndef REMOTED_CONTENT_H
#define REMOTED_CONTENT_H

#include "base/fail.h"
#include "mail/content.h"
#include "net/stream.h"

enum { CONTENT_BLOCK = 65536, CONTENT_CONVERT = 64 * 1024 * 1024 /* no larger message is converted */ };

struct remote_content {
	struct span head; /* lines that come first; the job's */
	char *bytes; /* what follows: owned; or NULL and */
	int fd;      /* owned; -1 without one */
	uint64_t offset, size; /* size: with the head */
};

/* Where a session stands within it. */
struct content_writer {
	bool raw; /* by length: neither dots nor an end (RFC 3030) */
	const struct remote_content *content;
	struct stuff stuff;
	uint64_t at;
};

enum content_written { CONTENT_WRITTEN, CONTENT_BLOCKED, CONTENT_UNREADABLE };

void content_free(struct remote_content *c);
bool content_is_8bit(const struct remote_content *c);
/* Converts it in memory; what: DOWNGRADE_ bits of mail/downgrade.h. Not while a writer stands within it. */
bool content_convert(struct remote_content *c, unsigned what, struct fail *why);
void content_writer_init(struct content_writer *w, const struct remote_content *c, bool raw);
/* Puts out as much as the stream has room for, at the end the final dot. BLOCKED:
 * again from on_drain. */
enum content_written content_write(struct content_writer *w, struct stream *to);

#endif
