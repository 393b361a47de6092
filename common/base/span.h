/* SPDX-License-Identifier: ISC
 *
 * span: a counted run of bytes owned by somebody else, passed by value.
 *
 * Owns nothing.  A span is valid as long as what it points into is; text
 * that outlives a handler is copied with arena_dup() or into a buf.
 * Never NUL-terminated by promise: C strings exist only at system calls.
 */
#ifndef BASE_SPAN_H
#define BASE_SPAN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct span {
	const char *p;
	size_t n;
};

/* A span over a string literal, and as printf arguments for "%.*s". */
#define SPAN(literal) ((struct span){ "" literal, sizeof(literal) - 1 })
#define SPAN_INIT(literal) { "" literal, sizeof(literal) - 1 }
#define SPAN_ARG(s) (int)(s).n, (s).n ? (s).p : ""
#define SPAN_NONE ((struct span){ NULL, 0 })

struct span span_of(const void *p, size_t n);
struct span span_str(const char *cstr); /* NULL gives the empty span */

bool span_eq(struct span a, struct span b);
int span_cmp(struct span a, struct span b); /* memcmp order, shorter first */
int span_casecmp(struct span a, struct span b); /* ASCII case only */
static inline bool span_caseeq(struct span a, struct span b) { return a.n == b.n && span_casecmp(a, b) == 0; }
bool span_starts(struct span s, struct span prefix);
bool span_casestarts(struct span s, struct span prefix);
bool span_ends(struct span s, struct span suffix);
bool span_caseends(struct span s, struct span suffix);

/* Sub-span clipped to s: never reaches outside it. */
struct span span_sub(struct span s, size_t at, size_t n);
struct span span_from(struct span s, size_t at);
struct span span_trim(struct span s); /* blanks, tabs, CR, LF at both ends */

/* Offset of the first (last) c, or SIZE_MAX. */
size_t span_chr(struct span s, char c);
size_t span_rchr(struct span s, char c);
/* Offset of needle, or SIZE_MAX; the empty needle is at 0. */
size_t span_find(struct span s, struct span needle);
size_t span_casefind(struct span s, struct span needle);

/* How many LFs there are; in *bare how many of them have no CR before them. */
size_t span_lines(struct span s, size_t *bare);

/* Splits *rest at the first c: returns what is before it and moves *rest
 * behind it; without c returns all and leaves *rest empty with p == NULL. */
struct span span_cut(struct span *rest, char c);
/* Whether it is a path from a directory that cannot lead out of it: "a/b/c", at most so many parts, none empty, "." or "..". */
bool span_is_below(struct span path, unsigned most);
/* The next word of *rest, words separated by blanks and tabs; empty at the end. */
struct span span_word(struct span *rest);

/* Whole-span decimal number <= max; false for anything else (sign, blank, overflow). */
bool span_u64(struct span s, uint64_t max, uint64_t *out);

/* Copies with a NUL behind into dst of size cap; false if it does not fit
 * or holds a NUL itself (dst is then the empty string). */
bool span_cstr(struct span s, char *dst, size_t cap);

/* ASCII classes that no locale changes. */
static inline char ascii_lower(char c) { return (c >= 'A' && c <= 'Z') ? (char)(c + 32) : c; }
static inline char ascii_upper(char c) { return (c >= 'a' && c <= 'z') ? (char)(c - 32) : c; }
static inline bool ascii_digit(char c) { return c >= '0' && c <= '9'; }
static inline bool ascii_alpha(char c) { c = ascii_lower(c); return c >= 'a' && c <= 'z'; }
static inline bool ascii_alnum(char c) { return ascii_alpha(c) || ascii_digit(c); }
static inline bool ascii_blank(char c) { return c == ' ' || c == '\t'; }
static inline bool ascii_print(char c) { return c >= ' ' && c <= '~'; }

#endif
