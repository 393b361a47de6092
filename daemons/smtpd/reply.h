/* SPDX-License-Identifier: ISC
 *
 * reply: puts replies into a session's output, counts errors, and holds back
 * what a client with too many of them has coming (the tarpit).
 */
#ifndef SMTPD_REPLY_H
#define SMTPD_REPLY_H

#include "mail/status.h"
#include "session.h"

enum reply_id {
#define REPLY(name, status, code, standard, textbook, plain) REPLY_##name,
#include "replies.def"
	REPLY_COUNT
};

/* arg is what %a or %i stands for. */
void reply(struct session *s, enum reply_id id, struct span arg);
/* A row of status.def; an empty text means the row's own. Refusals that are the client's
 * doing count as errors and are noted. */
void reply_status(struct session *s, unsigned status, struct span text);
/* The row's reply under another reply code (a status serves several commands). */
void reply_status_code(struct session *s, unsigned status, unsigned code, struct span text);
/* The words of a reply alone, for those of several lines. */
void reply_words(struct session *s, struct buf *out, enum reply_id id, struct span arg);
/* 250-first, 250-..., 250 last: call with more = true but for the last. No enhanced code. */
void reply_part(struct session *s, unsigned code, bool more, struct span text);
/* 334 and base64 (RFC 4954 4). */
void reply_challenge(struct session *s, struct span base64);
/* The text of a reply as one line without its end, for replies kept until their turn. */
struct span reply_text(struct session *s, struct arena *mem, enum reply_id id, struct span arg);
/* code: another than the row's of the same class, or 0. */
struct span reply_status_text(struct session *s, struct arena *mem, unsigned status, unsigned code, struct span text);
/* Puts a line made by the two above; counted as an error if it is one. */
void reply_line(struct session *s, struct span line);

/* The connection ends after what has been said. */
void reply_close(struct session *s);

#endif
