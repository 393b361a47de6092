/* SPDX-License-Identifier: ISC
 *
 * mime: the structure of a message (RFC 2045, RFC 2046) as a tree in an arena,
 * in one pass over the bytes; linear, bounded by limits.def, never fails on content.
 *
 * Offsets are into the message as given.  Line ends may be CRLF or bare LF; what a
 * client sees always has CRLF, so each size comes with its number of bare LFs:
 * wire size = size + bare.
 */
#ifndef MAIL_MIME_H
#define MAIL_MIME_H

#include "base/arena.h"
#include "mail/encoding.h"
#include "mail/envelope.h"
#include "mail/param.h"

struct mime_extent {
	size_t at, n;   /* bytes in the message */
	size_t bare;    /* bare LFs in it */
	size_t lines;   /* line ends in it */
};

enum mime_kind {
	MIME_LEAF,
	MIME_MULTIPART, /* children are its parts */
	MIME_MESSAGE,   /* message/rfc822, message/global: one child, the message's own structure */
};

struct mime_part {
	struct mime_part *parent, *next, *children, *last; /* last child */
	unsigned nchildren;
	unsigned depth;
	enum mime_kind kind;
	struct mime_extent header; /* with the empty line that ends it */
	struct mime_extent body;   /* without the line end in front of a boundary */

	/* p == NULL where the field is missing */
	struct span type, subtype; /* as written; where missing or malformed text/plain, in a digest message/rfc822 */
	struct param_list params;
	bool type_given;           /* a well-formed Content-Type field was there */
	struct span id, description, md5, location; /* unfolded */
	struct span encoding_text; /* the token of Content-Transfer-Encoding, "7BIT" where missing */
	enum encoding encoding;
	struct span disposition;   /* "inline", "attachment" */
	struct param_list disposition_params;
	struct span *languages;
	unsigned nlanguages;
	struct envelope *envelope; /* of the root and of each child of MIME_MESSAGE */
};

/* The root part; NULL only when the arena has no room for even that: where it runs out later, the rest belongs to the
 * last part, as behind LIMIT_MIME_PARTS. Spans point into message or the arena. A multipart never has no children. */
struct mime_part *mime_parse(struct span message, struct arena *arena);
/* The same without the envelopes, for who wants the parts alone. */
struct mime_part *mime_parse_bare(struct span message, struct arena *arena);

/* The part that IMAP's section path names (RFC 3501 6.4.5): "2.1" is { 2, 1 }, n == 0 the root. NULL if there is none.
 * HEADER and TEXT of a part are those of its message: the child's header and body where kind is MIME_MESSAGE. */
const struct mime_part *mime_find(const struct mime_part *root, const unsigned *path, size_t n);

static inline bool
mime_is(const struct mime_part *p, struct span type, struct span subtype)
{
	return span_caseeq(p->type, type) && (!subtype.n || span_caseeq(p->subtype, subtype));
}
static inline struct span
mime_span(struct span message, const struct mime_extent *e)
{
	return span_sub(message, e->at, e->n);
}

/* Structure as one line of text for tests and tools: "multipart/mixed(text/plain, image/gif)". */
void mime_describe(const struct mime_part *p, struct buf *out);

#endif
