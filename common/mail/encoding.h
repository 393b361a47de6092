/* SPDX-License-Identifier: ISC
 *
 * encoding: content transfer encodings (RFC 2045 6) as streams.
 *
 * Decoders are tolerant: what is not of the encoding is skipped (base64) or
 * kept (quoted-printable), and `bad` tells.  Output is appended to a buf whose
 * cap bounds it.
 */
#ifndef MAIL_ENCODING_H
#define MAIL_ENCODING_H

#include "base/buf.h"

enum encoding {
	ENCODING_7BIT,
	ENCODING_8BIT,
	ENCODING_BINARY,
	ENCODING_QP,
	ENCODING_BASE64,
	ENCODING_UNKNOWN, /* treated as opaque bytes */
};

/* From a Content-Transfer-Encoding value; comments are skipped, case ignored; empty is 7bit. */
enum encoding encoding_of(struct span value);
const char *encoding_name(enum encoding e);

struct decoder {
	enum encoding kind;
	bool bad;       /* met something that is not of the encoding */
	bool ended;     /* base64: behind the padding */
	uint32_t bits;  /* base64: gathered */
	unsigned count; /* base64: characters in bits; QP: held */
	char held[2];   /* QP: "=" and one digit */
	size_t blanks;  /* QP: pending blanks that count only if the line goes on */
};

void decoder_init(struct decoder *d, enum encoding kind);
void decoder_feed(struct decoder *d, struct span in, struct buf *out);
void decoder_end(struct decoder *d, struct buf *out);
/* All at once; false if out failed. */
bool encoding_decode(enum encoding kind, struct span in, struct buf *out);

struct encoder {
	enum encoding kind; /* ENCODING_QP or ENCODING_BASE64; others copy */
	unsigned column;
	unsigned count;
	unsigned char held[3];
	bool cr;
};

/* Text in (lines end with CRLF) for QP; anything for base64. Lines of at most 76. */
void encoder_init(struct encoder *e, enum encoding kind);
void encoder_feed(struct encoder *e, struct span in, struct buf *out);
void encoder_end(struct encoder *e, struct buf *out); /* base64: ends the last line with CRLF */

#endif
