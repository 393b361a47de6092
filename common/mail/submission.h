/* SPDX-License-Identifier: ISC
 *
 * submission: what a submission agent adds to and takes from a header (RFC 6409 8):
 * Date, Message-ID, From and a recipient field where missing; Bcc goes.
 */
#ifndef MAIL_SUBMISSION_H
#define MAIL_SUBMISSION_H

#include "base/buf.h"

struct submission {
	struct span sender;    /* address for a missing From; empty: none is added */
	struct span full_name; /* display name for it, UTF-8; may be empty */
	struct span domain;    /* right side of a Message-ID */
	struct span unique;    /* left side of a Message-ID: letters, digits, . and - */
	int64_t time;
	int zone;
	bool keep_bcc;
};

/* Appends the fixed header (fields only, without the empty line). header: fields with their line ends, without the
 * empty line. False if out failed, or the header is more than can be looked through (mail/limits.h). */
bool submission_fix(struct buf *out, struct span header, const struct submission *s);
/* Only the fields that `present` (CONTENT_FIELD() bits of mail/content.h) says are missing: to be put at the end of a
 * header that streams through. */
void submission_missing(struct buf *out, unsigned present, const struct submission *s);

#endif
