/* SPDX-License-Identifier: ISC
 *
 * charset: to UTF-8, bounded and streaming.  UTF-8, US-ASCII, ISO-8859-1 and
 * Windows-1252 are converted here; the rest by iconv, which loads its
 * converters from files: a sandboxed process calls charset_warm() first.
 * What does not convert becomes U+FFFD; the output is always valid UTF-8.
 */
#ifndef MAIL_CHARSET_H
#define MAIL_CHARSET_H

#include "base/buf.h"

bool utf8_valid(struct span s);
/* Any byte beyond ASCII. */
bool utf8_has_8bit(struct span s);
/* Bytes of the valid character at the front of s, 0 if there is none; *cp (may be NULL) gets it. */
size_t utf8_next(struct span s, uint32_t *cp);
void utf8_put(struct buf *out, uint32_t cp);

struct charset {
	int kind;
	void *iconv;    /* owned */
	char held[8];   /* an incomplete character */
	size_t held_n;
};

/* False: unknown. An empty name is US-ASCII. */
bool charset_open(struct charset *c, struct span name);
void charset_feed(struct charset *c, struct span in, struct buf *out);
void charset_end(struct charset *c, struct buf *out);
void charset_close(struct charset *c);

/* All at once; false if the charset is unknown or out failed. */
bool charset_to_utf8(struct span name, struct span in, struct buf *out);
bool charset_known(struct span name);

/* Loads the usual converters before a sandbox closes the file system; they stay as long as *w is held. */
enum { CHARSET_WARM = 28 };
struct charset_warm {
	struct charset kept[CHARSET_WARM];
};
void charset_warm(struct charset_warm *w);
void charset_warm_end(struct charset_warm *w);

#endif
