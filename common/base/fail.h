/* SPDX-License-Identifier: ISC
 *
 * fail: one value that says why something did not happen.  It is returned up
 * and becomes the log line, the SMTP reply and the report unchanged.
 *
 * Four words: fail (return it), violation (close that peer), limit (a cap was
 * reached), bug (abort).  Libraries never exit.
 */
#ifndef BASE_FAIL_H
#define BASE_FAIL_H

#include "base/span.h"

enum fail_class {
	FAIL_NONE,
	FAIL_TEMP,  /* try again later */
	FAIL_PERM,  /* never will */
	FAIL_PEER,  /* the other side broke the protocol */
	FAIL_LIMIT, /* a cap was reached */
};

struct fail {
	enum fail_class class;
	unsigned status; /* a row of mail/status.def, 0 where none fits */
	int err;         /* errno, 0 where none */
	char text[240];  /* what was being done and what happened, one line */
};

/* Both fill *why (may be NULL) and return false, so that a failing function
 * ends `return fail_set(why, ...)`.  Control bytes in the text become '?'. */
bool fail_set(struct fail *why, enum fail_class class, unsigned status, const char *fmt, ...)
    __attribute__((format(printf, 4, 5)));
/* As fail_set with FAIL_TEMP and ": <strerror(errno)>" behind the text. */
bool fail_errno(struct fail *why, unsigned status, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));

static inline struct span fail_text(const struct fail *why) { return span_str(why->text); }

#endif
