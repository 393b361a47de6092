/* SPDX-License-Identifier: ISC
 *
 * segment: the format of journal files, and nothing but the format: bytes in,
 * records out.  No I/O here.
 *
 * A segment file NNNNNNNN.seg: a header block of 4096 bytes with two copies of
 * the header (at 0 and 2048; the valid one with the greater stamp counts),
 * then records, each aligned to 8 bytes:
 *
 *   crc32c u32 | mark u32 | head size u32 | body size u32 | type u16 | 0 u16 | batch u32 | head | body | zeros
 *
 * The checksum covers everything behind it.  The mark is the segment's own
 * random number, so that what a former use of the file left behind is not
 * taken for a record.  The batch counts the syncs of this segment: a record of
 * batch n proves that all records of batches before n were durable.
 *
 * An index NNNNNNNN.idx is a cache of a sealed segment's record heads; it is
 * believed only if its checksum and mark agree.
 */
#ifndef JOURNAL_SEGMENT_H
#define JOURNAL_SEGMENT_H

#include "base/buf.h"
#include "journal/journal.h"

enum {
	SEGMENT_HEADER = 4096,
	SEGMENT_COPY = 2048,
	SEGMENT_RECORD = 24, /* bytes before a record's head */
	SEGMENT_SIZE_DEFAULT = 32 * 1024 * 1024,
	SEGMENT_SIZE_MAX = 128 * 1024 * 1024,
};

struct segment_header {
	struct span magic, kind; /* 4 bytes each */
	uint16_t version;
	bool used;            /* false: may be overwritten */
	uint64_t seq;         /* order of segments; from 1 */
	uint64_t stamp;       /* number of the journal's sync when this header was written */
	uint32_t mark;
	uint64_t prev_seq;    /* the segment before, 0: none */
	uint32_t prev_end;    /* where its valid records end */
};

enum segment_state { SEGMENT_BLANK, SEGMENT_FREE, SEGMENT_USED, SEGMENT_OTHER_KIND, SEGMENT_NEWER, SEGMENT_DAMAGED };

/* block: SEGMENT_HEADER bytes. Magic, kind and version are filled in. */
void segment_header_put(struct segment_header *h, const char kind[4], char *block);
enum segment_state segment_header_get(const char *block, const char kind[4], struct segment_header *h);

static inline size_t segment_record_size(size_t head, size_t body) { return (SEGMENT_RECORD + head + body + 7) & ~(size_t)7; }

/* The bytes of a record's head; SIZE_MAX: the struct breaks its bounds. */
size_t segment_head_size(const struct journal_record *r);
/* Appends one framed record; head: segment_head_size(r). False when out is full. */
bool segment_put(struct buf *out, uint32_t mark, uint32_t batch, const struct journal_record *r, size_t head);
/* The head of a record so framed. */
static inline struct span segment_head(struct span whole, size_t n) { return span_sub(whole, SEGMENT_RECORD, n); }
/* The record at the start of s. False: none, or broken. *size: what it takes. */
bool segment_get(struct span s, uint32_t mark, struct journal_record *r, uint32_t *batch, size_t *size);

struct segment_walk {
	struct span file;  /* the whole segment, or as much as there is */
	uint64_t seq;
	uint32_t mark;
	size_t end;        /* where valid records are known to end; 0: find out */
	bool last;         /* no later segment: a torn tail is possible */
	bool (*on_record)(void *arg, const struct journal_record *r, uint32_t batch);
	void (*on_damage)(void *arg, size_t at, size_t n);
	void *arg;
};

/* Gives every valid record. Returns where they end; *complete (may be NULL)
 * is false when on_record stopped it. */
size_t segment_walk(const struct segment_walk *w, bool *complete);

/* The index: heads of records as they are appended, then sealed.  A long head is left out at first. */
void segment_index_add(struct buf *index, size_t at, const struct journal_record *r);
/* The file's whole content: a header and the collected entries.  read gives what was left out: n bytes
 * of the segment from `at` on; its false is this one's. */
bool segment_index_seal(struct buf *out, struct span entries, uint64_t seq, uint32_t mark, uint32_t end,
    bool (*read)(void *arg, size_t at, char *to, size_t n), void *arg);
/* False: not the index of that segment, or broken (nothing was given then).
 * on_record may stop it, which is still true. */
bool segment_index_walk(struct span file, uint64_t seq, uint32_t mark, uint32_t *end,
    bool (*on_record)(void *arg, const struct journal_record *r), void *arg, bool *complete);

static inline journal_pos segment_pos(uint64_t seq, size_t at) { return seq << 24 | (uint64_t)at >> 3; }
static inline size_t segment_offset(journal_pos pos) { return (size_t)(pos & 0xffffff) << 3; }
static inline uint64_t segment_seq(journal_pos pos) { return pos >> 24; }

#endif
