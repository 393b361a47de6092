/* SPDX-License-Identifier: ISC
 *
 * fetch: the items of a FETCH command as a list, and finding what a section
 * names in a message.
 */
#ifndef MAILBOXD_FETCH_H
#define MAILBOXD_FETCH_H

#include "daemons/mailboxd/text.h"
#include "net/imapsyntax.h"

enum { FETCH_SECTION = 1, FETCH_MAY = 2, FETCH_PEEK = 4, FETCH_LAZY = 8, FETCH_BINARY = 16, FETCH_FACTS = 32 };

enum fetch_kind {
#define FETCH_ITEM(text, kind, flags) FETCH_KIND_##kind,
#include "daemons/mailboxd/fetch.def"
#undef FETCH_ITEM
};

enum section_what { SECTION_ALL, SECTION_HEADER, SECTION_FIELDS, SECTION_FIELDS_NOT, SECTION_TEXT, SECTION_MIME };

struct section {
	uint32_t *path; /* part numbers */
	size_t npath;
	enum section_what what;
	struct span *fields;
	size_t nfields;
};

struct fetch_item {
	struct fetch_item *next;
	enum fetch_kind kind; /* BODY with a section is SECTION */
	unsigned flags;
	struct section section;
	bool partial;
	uint32_t from, count; /* of <from.count> */
	struct span label;    /* as the response names it: BODY[...]<from> */
	uint64_t kept;        /* the fields' bits where all of them are kept ones (keptfield.h) */
};

/* One item, a macro, or a list in parentheses; NULL after a syntax error. */
struct fetch_item *fetch_parse(struct imap_parse *p);

/* What stands in the brackets of BODY[...], alone. */
bool section_parse(struct span text, struct arena *arena, struct section *out);

/* The part that BINARY names: NULL: there is none.  False: the message cannot be read. */
bool section_part(struct text *t, const struct section *s, const struct mime_part **out);

/* What a section stands for: a range of the message's content, or (fields)
 * text put together in *made. */
struct section_found {
	bool missing;     /* there is no such part: NIL */
	uint64_t at, n;
	bool is_made;
};

/* False: the message cannot be read. */
bool section_find(struct text *t, const struct section *s, struct section_found *out, struct buf *made);

#endif
