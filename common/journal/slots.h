/* SPDX-License-Identifier: ISC
 *
 * slots: the segment files of one journal: which there are, what each is good
 * for, and which may be written over.  A slot is a file; a segment is one use
 * of it.  Inside the journal folder only.
 */
#ifndef JOURNAL_SLOTS_H
#define JOURNAL_SLOTS_H

#include "base/list.h"
#include "base/map.h"
#include "journal/segment.h"

enum slot_state {
	SLOT_FREE,
	SLOT_ACTIVE,   /* records are appended */
	SLOT_SEALED,
	SLOT_RETIRING, /* its header is being overwritten */
	SLOT_SET_ASIDE, /* damaged header or a newer format: left as it is */
};

struct slot {
	struct list node;       /* in the set, sealed ones by seq */
	struct map_node by_seq; /* while used */
	uint32_t number;        /* the file's name */
	int fd;                 /* -1 when closed */
	enum slot_state state;
	struct segment_header head;
	uint32_t end;           /* where its records end, as appended */
	bool end_known;
	bool header_due;        /* the header is written with the first records */
	bool busy;              /* a thread works on it */
	uint64_t moved;         /* compaction has carried on what was needed, up to this batch; 0: no */
	bool offered;           /* compaction was asked for */
	bool indexed;           /* its index has been written or read */
	uint32_t records;
	int64_t live;           /* records that a restart needs */
	uint64_t unlived;       /* the newest batch when that was last made less: what replaced a record may be in it */
	uint32_t pins;          /* older segments that records here speak about */
	struct buf dependants;  /* seq u64 of segments needed while this one exists */
	struct buf index;       /* entries, while active and until written */
};

struct slots {
	struct vfs *vfs;
	char dir[96];
	char kind[4];
	size_t segment_size;
	bool read_only;
	struct list used, free, aside;
	struct map by_seq;
	unsigned nused, nfree;
	uint32_t next_number;
	uint64_t last_seq, last_stamp;
	void (*on_event)(void *arg, const struct fail *what);
	void *arg;
};

/* Reads the directory and every header. */
bool slots_open(struct slots *s, struct fail *why);
void slots_close(struct slots *s);

struct slot *slots_by_seq(const struct slots *s, uint64_t seq);
/* "dir/NNNNNNNN.ext" */
void slots_name(const struct slots *s, uint32_t number, const char *ext, char name[120]);
bool slots_fd(struct slots *s, struct slot *slot, struct fail *why); /* opens it if it is not */
void slots_event(const struct slots *s, const struct fail *what);

/* A new file, blank and durable with its name; zeros written if fill (slow,
 * for a thread). Touches nothing of s but constants. Returns its descriptor or -1. */
int slots_make_file(const struct slots *s, uint32_t number, bool fill, struct fail *why);
/* Adds a blank file to the free ones. */
struct slot *slots_add_free(struct slots *s, uint32_t number, int fd);
/* The free slot, if any, becomes the active segment after prev (may be NULL). */
struct slot *slots_use(struct slots *s, const struct slot *prev, uint64_t stamp);
/* Overwrites the header as free, durably; for a thread. */
bool slots_write_free(const struct slots *s, const struct slot *slot, uint64_t stamp, struct fail *why);
/* After that: unpins what depended on it and puts it among the free. */
void slots_freed(struct slots *s, struct slot *slot);

/* A free slot whose file has been removed. */
void slots_forget(struct slots *s, struct slot *slot);
void slots_depend(struct slots *s, struct slot *record, struct slot *about);
/* Gives the records of one segment, by its index if that is good. The index
 * entries are collected in `index` (may be NULL) when the segment was read. */
bool slots_walk(struct slots *s, struct slot *slot, bool last, bool whole,
    bool (*on_record)(void *arg, const struct journal_record *r), void *arg, bool *complete, unsigned *damaged,
    struct fail *why);

#endif
