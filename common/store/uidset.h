/* SPDX-License-Identifier: ISC
 *
 * uidset: a set of UIDs as ascending, disjoint, non-adjacent ranges: the unit
 * in which flags are changed, messages copied and expunges told ("1:100000"
 * is one range, law 12).  Also used for sequence numbers.
 */
#ifndef STORE_UIDSET_H
#define STORE_UIDSET_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"

enum { UIDSET_MAX_RANGES = 1 << 20 }; /* more is a limit: an add then fails */

struct uid_range {
	uint32_t lo, hi; /* both within */
};

struct uidset {
	struct uid_range *ranges; /* owned */
	size_t n, size;
	bool failed; /* sticky: memory or UIDSET_MAX_RANGES */
};

void uidset_init(struct uidset *s);
void uidset_free(struct uidset *s);
void uidset_clear(struct uidset *s); /* empty and not failed; keeps the memory */

/* Appending in ascending order is O(1); elsewhere it moves what is behind. */
void uidset_add(struct uidset *s, uint32_t lo, uint32_t hi);
void uidset_add_set(struct uidset *s, const struct uidset *more);
/* n members of another set from its nth (from 0) on. */
void uidset_add_slice(struct uidset *s, const struct uidset *from, uint64_t first, uint64_t n);
void uidset_remove(struct uidset *s, uint32_t lo, uint32_t hi);
bool uidset_has(const struct uidset *s, uint32_t uid);
uint64_t uidset_count(const struct uidset *s);
static inline bool uidset_empty(const struct uidset *s) { return s->n == 0; }
/* The nth (from 0) member in ascending order, 0 if there are fewer. */
uint32_t uidset_nth(const struct uidset *s, uint64_t nth);
/* How many members are < uid. */
uint64_t uidset_below(const struct uidset *s, uint32_t uid);
/* As IMAP writes it: "1:4,7". */
void uidset_text(const struct uidset *s, struct buf *out);
/* Reads "1:4,7" as IMAP does (RFC 3501 sequence-set): "*" stands for star,
 * ends in either order, overlaps merged. False: malformed, or too many ranges. */
bool uidset_parse(struct uidset *s, struct span text, uint32_t star);

#endif
