/* SPDX-License-Identifier: ISC
 *
 * index: what is known about one folder's messages, in memory: the messages in
 * UID order, their file names, keywords, what was expunged.
 *
 * It is changed only by applying records (record.def), so that what a replay of
 * the journal gives is what was there.  It does no I/O; store/indexfile.c keeps
 * it on disk.
 *
 * The messages and names of a mapped snapshot are used where they lie; the
 * first arrival copies the messages, names stay where they are.
 */
#ifndef STORE_INDEX_H
#define STORE_INDEX_H

#include "base/buf.h"
#include "store/mailbox.h"
#include "store/record.h"

enum { /* message.bits */
	MESSAGE_NEW = 1 << 0,  /* the file is in new/ */
	MESSAGE_SIZED = 1 << 1, /* size is RFC822.SIZE; else the file's octets, line ends unknown */
	MESSAGE_BARE = 1 << 2,  /* has LF without CR: served converted */
	MESSAGE_UIDL = 1 << 3, /* a UIDL stands behind the name in the pool */
	MESSAGE_MOVED = 1 << 4, /* goes because it is in another folder now: not kept as expunged (a hint, in memory) */
};

enum {
	INDEX_MESSAGES_MAX = 1 << 24,
	INDEX_VANISHED_MAX = 8192, /* ranges remembered for QRESYNC */
	INDEX_POOL_MAX = 1 << 30,
};

struct vanished {
	uint64_t modseq;
	uint32_t lo, hi;
};

/* A rename that was meant and may have happened. */
struct intent {
	uint32_t uid, letters;
};

struct index {
	/* messages[0..n) ascending by uid; doomed: expunged, but the file may be there yet. */
	struct message *messages, *doomed;
	size_t n, size, ndoomed, doomed_size; /* size 0: messages lie in the map */
	struct span map_names;                /* names in the map, first in the pool */
	struct buf names;                     /* names behind those */
	char *keywords[MAILBOX_KEYWORDS_MAX]; /* owned, NULL where unused */
	struct vanished *vanished;            /* ascending by modseq; owned */
	size_t nvanished, vanished_size;
	struct intent *intents;               /* of the latest batch, ascending runs; owned */
	size_t nintents, intents_size;
	uint64_t vanished_floor;              /* removals up to this modseq are not all known */
	uint32_t uidvalidity, uidnext, recent_from;
	uint64_t modseq;
	uint64_t objectid;                    /* of the folder; 0: none yet */
	uint32_t unseen, deleted;
	uint64_t total;                       /* octets of all files */
	uint64_t stamp_new, stamp_cur;        /* times of the directories when they were last known to agree; 0: unknown */
	bool failed;                          /* memory ran out: sticky, the folder must be closed */
};

void index_init(struct index *ix);
void index_free(struct index *ix);

/* Changes the index as the record says. False: the record makes no sense here
 * (a UID out of order, ...) and nothing was changed, or ix->failed. */
bool index_apply(struct index *ix, unsigned type, const union record *r);

/* Place of the first message with a uid >= uid; ix->n if there is none. */
size_t index_place(const struct index *ix, uint32_t uid);
struct message *index_find(const struct index *ix, uint32_t uid); /* NULL: none */
struct span index_base(const struct index *ix, const struct message *m);
struct span index_odd(const struct index *ix, const struct message *m);
struct span index_uidl(const struct index *ix, const struct message *m); /* empty: the usual one */
/* The letters its file name should have. */
uint32_t index_letters(const struct message *m);
/* The letters that a rename of ours may have given its file; false: none was meant. */
bool index_intent(const struct index *ix, uint32_t uid, uint32_t *letters);
/* Whether the file's name lags behind the flags. */
bool index_lags(const struct message *m);
/* "cur/<name>"; false: cannot be (too long). */
bool index_path(const struct index *ix, const struct message *m, char *out);
int index_keyword(const struct index *ix, struct span name); /* -1: unknown */

/* Finds live messages, or doomed ones, by base name.  The table of live ones
 * stays good over changes of the index if arrivals are added; that of doomed
 * ones is good until the index changes. */
struct index_names {
	bool doomed;
	uint32_t *slots; /* owned; UIDs, or places + 1 */
	size_t nslots, used;
};
bool index_names_build(struct index_names *t, const struct index *ix, bool doomed);
void index_names_free(struct index_names *t);
bool index_names_add(struct index_names *t, const struct index *ix, const struct message *m);
struct message *index_names_find(const struct index_names *t, const struct index *ix, struct span base);

#endif
