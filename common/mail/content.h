/* SPDX-License-Identifier: ISC
 *
 * content: checks what follows DATA while it streams (RFC 5321 4.5.2, law 10), and the way back: dot-stuffing.
 *
 * Only CRLF.CRLF ends the data.  A bare CR, a bare LF, NUL, a line beyond the
 * limit, a message beyond the size limit and too many hops each set their own
 * status, the first one alone; from then on nothing is put out, but the end is still
 * found, so that the reply comes at its place. Nothing depends on how the input is cut.  No copies: runs are spans into the input.
 */
#ifndef MAIL_CONTENT_H
#define MAIL_CONTENT_H

#include "base/span.h"

struct content_limits {
	uint64_t size;    /* bytes of un-stuffed content; 0: no limit */
	unsigned line;    /* bytes of a line without CRLF; 0: LIMIT_LINE */
	unsigned hops;    /* Received fields; 0: no limit */
	size_t header;    /* bytes of the header; 0: LIMIT_HEADER_SIZE */
	bool binary;      /* behind the header anything goes, and nothing is added at the end (RFC 3030 3); with by_length */
	bool by_length;   /* the end comes from outside (BDAT): no dots; set content.last before the last input */
};

/* Fields a receiver wants to know of; bits of content.fields. field, name */
#define CONTENT_FIELDS(X)                          \
	X(RECEIVED, "received")                    \
	X(DELIVERED_TO, "delivered-to")            \
	X(DATE, "date")                            \
	X(MESSAGE_ID, "message-id")                \
	X(FROM, "from")                            \
	X(SENDER, "sender")                        \
	X(TO, "to")                                \
	X(CC, "cc")                                \
	X(BCC, "bcc")                              \
	X(RESENT_BCC, "resent-bcc")                \
	X(RETURN_PATH, "return-path")              \
	X(MIME_VERSION, "mime-version")            \
	X(AUTO_SUBMITTED, "auto-submitted")        \
	X(TLS_REQUIRED, "tls-required")

enum content_field_bit {
#define X(name, text) CONTENT_BIT_##name,
	CONTENT_FIELDS(X)
#undef X
	CONTENT_BIT_COUNT
};
#define CONTENT_FIELD(name) (1u << CONTENT_BIT_##name)

struct content {
	struct content_limits limits;
	unsigned status;        /* row of status.def once something is wrong; 0 so far */
	uint64_t size;          /* un-stuffed bytes put out or dropped, the final line end included */
	uint64_t lines;
	unsigned received;      /* Received fields */
	unsigned delivered_to;  /* Delivered-To fields */
	unsigned fields;        /* CONTENT_FIELD() bits seen in the header */
	bool eightbit;          /* has bytes beyond ASCII */
	bool header_8bit;       /* has them in the header */
	bool header_done;
	bool need_blank;        /* at CONTENT_HEADER: no empty line follows the header; write a CRLF in between */
	bool last;              /* by_length: nothing comes behind this input */
	/* within a line */
	uint64_t line_n;        /* bytes of the current line already taken */
	bool unstuffed;         /* its leading dot is gone */
	bool in_field;          /* a field has begun, so that a continuation may follow */
};

enum content_step {
	CONTENT_RUN,    /* *run is content to keep */
	CONTENT_HEADER, /* given once unless the status was set before: all of the header has been put out; the empty
			 * line (or need_blank) is next */
	CONTENT_MORE,   /* give more; up to LIMIT_FIELD_NAME + 4 bytes may be left in *in: give them again, in front */
	CONTENT_END,    /* behind CRLF.CRLF; *in is what the client sent after it */
};

void content_init(struct content *c, const struct content_limits *limits);
/* Takes bytes from the front of *in. */
enum content_step content_next(struct content *c, struct span *in, struct span *run);

/* Dot-stuffing for a client: canonical CRLF content in, runs out; the state crosses inputs.
 * After the last: write stuff_tail(). */
struct stuff {
	char last[2]; /* the last two bytes of content put out, "\r\n" at the start */
	bool dot;     /* the extra dot of this line has been put out */
};
void stuff_init(struct stuff *s);
/* Whether the input can go out as it is; then it counts as put out. False: nothing has happened. */
bool stuff_plain(struct stuff *s, struct span in);
/* False when *in is exhausted. */
bool stuff_next(struct stuff *s, struct span *in, struct span *run);
/* ".\r\n", with a CRLF in front where the content did not end with one. */
struct span stuff_tail(const struct stuff *s);

#endif
