/* SPDX-License-Identifier: ISC
 *
 * imapsyntax: the tokens of IMAP commands (RFC 3501 9, RFC 7888, RFC 3516),
 * shared by imapd (before login) and mailboxd (after it).
 *
 * Two steps.  imap_read() finds where a command ends in a receive buffer and
 * stops at each literal, so that its size can be refused before it is read.
 * The imap_take functions then walk the complete command in place: a command
 * is contiguous in the buffer, literals included, and nothing is copied but
 * quoted strings that hold escapes.
 */
#ifndef NET_IMAPSYNTAX_H
#define NET_IMAPSYNTAX_H

#include "base/arena.h"
#include "base/buf.h"
#include "base/cursor.h"

struct imap_reader {
	size_t at;      /* bytes of this command that are read and understood */
	size_t scanned; /* bytes behind `at` known to hold no line end */
	size_t text;    /* bytes of it that are not literals */
	size_t max_text;
};

enum imap_read {
	IMAP_READ_MORE,    /* the command is not complete */
	IMAP_READ_COMMAND, /* the first r->at bytes are one command with its line end */
	IMAP_READ_LITERAL, /* the first r->at bytes end with a literal's header: accept or refuse it */
	IMAP_READ_TOOLONG, /* more text than max_text */
};

struct imap_literal {
	uint64_t size;
	size_t start; /* of its header, "{" or "~{" */
	bool sync;    /* the client waits for "+" */
	bool binary;  /* literal8: RFC 3516 */
	bool too_big; /* a number that no mailbox holds */
};

void imap_reader_init(struct imap_reader *r, size_t max_text);
void imap_reader_reset(struct imap_reader *r); /* for the next command; the caller eats r->at bytes first */
enum imap_read imap_read(struct imap_reader *r, struct span in, struct imap_literal *literal);
/* The literal's n bytes belong to the command's text. */
void imap_reader_accept(struct imap_reader *r, uint64_t n);

/* The walk over one complete command.  Failure is sticky as in a cursor;
 * `bad` then says what was expected. */
struct imap_parse {
	struct cursor c;
	struct arena *arena;
	const char *bad;
};

struct imap_parse imap_parse_of(struct span command, struct arena *arena); /* the line end may be included */
bool imap_bad(struct imap_parse *p, const char *expected);                 /* fails the walk; returns false */
static inline bool imap_ok(const struct imap_parse *p) { return p->c.ok; }

bool imap_is_atom(char c);    /* ATOM-CHAR */
bool imap_is_astring(char c); /* ATOM-CHAR or "]" */

bool imap_at_end(const struct imap_parse *p);
bool imap_take_end(struct imap_parse *p);        /* nothing but the line end is left */
bool imap_take_sp(struct imap_parse *p);         /* exactly one blank */
bool imap_try(struct imap_parse *p, char c);     /* takes c if it is next; never fails the walk */
bool imap_take_char(struct imap_parse *p, char c);
bool imap_take_tag(struct imap_parse *p, struct span *out);
bool imap_take_atom(struct imap_parse *p, struct span *out);
bool imap_take_string(struct imap_parse *p, struct span *out);  /* quoted or literal; may hold any byte but NUL (literal8: any) */
bool imap_take_nstring(struct imap_parse *p, struct span *out); /* NIL gives SPAN_NONE */
bool imap_take_astring(struct imap_parse *p, struct span *out);
bool imap_take_list_mailbox(struct imap_parse *p, struct span *out); /* as astring with "%" and "*" */
bool imap_take_flag(struct imap_parse *p, struct span *out);         /* "\" atom or atom */
bool imap_take_u64(struct imap_parse *p, uint64_t min, uint64_t max, uint64_t *out);
bool imap_take_u32(struct imap_parse *p, uint32_t min, uint32_t *out);

/* Output in canonical form. */
void imap_put_string(struct buf *out, struct span s);  /* quoted where legal, else a literal */
void imap_put_nstring(struct buf *out, struct span s); /* NIL for p == NULL */
void imap_put_astring(struct buf *out, struct span s); /* an atom where legal */
void imap_put_literal(struct buf *out, struct span s);
/* Text of a response line: bytes that may not stand there become '?'. */
void imap_put_text(struct buf *out, struct span s);

#endif
