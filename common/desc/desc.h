/* SPDX-License-Identifier: ISC
 *
 * desc: a struct described once as rows, and walkers over the rows (law 7).
 * Channel messages, journal records and everything else that is written down
 * field by field is a table of these; none of it is coded by hand.
 *
 * Binary form: fields in declared order; integers little-endian; TEXT and
 * BYTES as a 32-bit length and the bytes.  Decoding yields spans into the
 * input and refuses trailing bytes, a length over its bound, a number over
 * its bound, a BOOL other than 0 and 1, and NUL, CR or LF in TEXT.
 */
#ifndef DESC_DESC_H
#define DESC_DESC_H

#include "base/buf.h"

/* kind, C type, meaning */
#define DESC_KINDS(X)                                       \
	X(U8, uint8_t, "number, 8 bits")                    \
	X(U16, uint16_t, "number, 16 bits")                 \
	X(U32, uint32_t, "number, 32 bits")                 \
	X(U64, uint64_t, "number, 64 bits")                 \
	X(I64, int64_t, "signed number, 64 bits")           \
	X(BOOL, bool, "yes or no")                          \
	X(TEXT, struct span, "one line of text")            \
	X(BYTES, struct span, "bytes")                      \
	X(SECRET, struct span, "bytes that are never shown")

enum desc_kind {
#define X(kind, type, meaning) DESC_##kind,
	DESC_KINDS(X)
#undef X
	DESC_KIND_COUNT
};

#define X(kind, type, meaning) typedef type desc_##kind##_type; /* for the macros that make structs of rows */
DESC_KINDS(X)
#undef X

struct desc_field {
	const char *name;
	enum desc_kind kind;
	uint64_t bound; /* most bytes of a TEXT, BYTES or SECRET; greatest number, 0 for any */
	size_t offset;  /* in the struct */
	const char *meaning;
};

struct desc {
	const char *name;
	const struct desc_field *fields;
	size_t nfields;
	size_t size; /* of the struct */
	const char *meaning;
};

/* False if a value breaks its own row's bound (a bug of the sender) or out failed. */
bool desc_encode(const struct desc *d, const void *from, struct buf *out);
/* The bytes that it would write; SIZE_MAX where it would be false. */
size_t desc_size(const struct desc *d, const void *from);
/* False if the input is not exactly one valid struct; *bad (may be NULL) then
 * names the field, or is NULL for trailing bytes. */
bool desc_decode(const struct desc *d, struct span in, void *to, const struct desc_field **bad);
/* For what is kept on disk: an older version of the struct, which ends before
 * some of the fields, is valid too; those are 0 and empty. */
bool desc_decode_older(const struct desc *d, struct span in, void *to, const struct desc_field **bad);

/* name=value pairs on one line, text quoted where needed, secrets as "***". */
void desc_text(const struct desc *d, const void *from, struct buf *out);
/* One JSON object without a line end. Bytes that are not UTF-8 become U+FFFD. */
void desc_json(const struct desc *d, const void *from, struct buf *out);
/* A JSON string with its quotes; controls, also C1, are escaped. */
void desc_json_string(struct buf *out, struct span s);
/* "name: value" lines without empty texts, zeros, bytes and secrets; for files that people read and change. */
void desc_lines(const struct desc *d, const void *from, struct buf *out);
/* Sets one field from such a line. False: no such field, or not a value it may have. value must outlive *to. */
bool desc_set(const struct desc *d, struct span name, struct span value, void *to);
/* The layout in words: one line a field. */
void desc_doc(const struct desc *d, struct buf *out);
/* Mixes every name, kind and bound into a hash: two builds that agree on it
 * agree on the format. Start with h = 0. */
uint64_t desc_hash(const struct desc *d, uint64_t h);

#endif
