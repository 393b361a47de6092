/* SPDX-License-Identifier: ISC
 *
 * reply: SMTP replies of a peer (RFC 5321 4.2), taken line by line from foreign bytes.
 *
 * Bounded: a line of REPLY_LINE bytes, REPLY_LINES lines, REPLY_TEXT bytes kept
 * of the text.  Tolerates a bare LF as line end, as nothing is smuggled by it here;
 * control bytes in the text become '?'.
 */
#ifndef REMOTED_REPLY_H
#define REMOTED_REPLY_H

#include "base/buf.h"

enum {
	REPLY_LINE = 2048,  /* longer: malformed */
	REPLY_LINES = 256,  /* more: malformed */
	REPLY_TEXT = 8192,  /* what is longer is kept no further */
};

struct reply {
	unsigned code;   /* 200..599, of the last line (RFC 5321 4.2.1) */
	unsigned lines;
	bool done;       /* whole: the next line begins another */
	struct buf text; /* the lines without codes, each with a '\n' behind it */
};

enum reply_step { REPLY_MORE, REPLY_READY, REPLY_BAD };

void reply_init(struct reply *r);
void reply_free(struct reply *r);
/* Takes lines from the front of *in; REPLY_READY: *r holds a whole reply until
 * the next call.  MORE: an unfinished line is left in *in, to be given again
 * with more behind it. */
enum reply_step reply_next(struct reply *r, struct span *in);
/* "550 5.1.1 first line second line", at most n bytes, never cut within UTF-8. */
void reply_join(const struct reply *r, struct buf *out, size_t n);

#endif
