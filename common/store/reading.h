/* SPDX-License-Identifier: ISC
 *
 * reading: many messages of a folder read and looked at on the worker threads,
 * ahead of a command that will want what they say of them.
 *
 * The messages are taken in the order of their UIDs, a batch at a time.  Only a
 * help: what cannot be had this way (a file that was just renamed, a huge one)
 * the command does itself.
 */
#ifndef STORE_READING_H
#define STORE_READING_H

#include "base/arena.h"
#include "store/mailbox.h"

enum {
	READING_BATCH = 128,
	READING_BATCH_SIZE = 512 << 10, /* octets: a batch ends with the message that reaches it, so that no sync waits for a thread for long */
	READING_BATCHES = 8,          /* under way: more than threads, so that none of them waits for the loop */
	READING_MESSAGE_MAX = 1 << 20, /* octets: larger ones are not read this way */
};

struct reading;
struct reading_batch;

/* What was said of one message. */
struct read_message {
	uint32_t uid;
	struct span said; /* p NULL: it could not be read, or look() failed */
};

struct reading_use {
	bool (*wants)(void *arg, const struct message *m); /* on the loop: this one, too; may let the index move */
	/* On a thread, with CRLF throughout: appends what it has to say. False: nothing. arg is shared by the threads. */
	bool (*look)(const void *arg, struct span message, struct arena *arena, struct buf *out);
	void (*on_batch)(void *arg, const struct read_message *all, size_t n); /* on the loop; what was asked for may be there */
	void *arg;
};

struct reading {
	struct reading_use use;
	struct mailbox *mailbox;
	uint32_t next, hi;   /* UIDs not begun yet */
	bool cold;           /* the last batch came from the disk, not from memory: the files of the next are asked for ahead */
	struct reading_batch *batches[READING_BATCHES]; /* owned; NULL: not under way */
};

void reading_init(struct reading *r, struct mailbox *mb, const struct reading_use *use);
/* Has message uid, and those up to hi that are wanted, read; from there on instead of where it was.
 * False: that cannot be.  True: it is under way, on_batch() will tell.  Not to be asked again for what
 * on_batch() told nothing of. */
bool reading_ask(struct reading *r, uint32_t uid, uint32_t hi);
void reading_extend(struct reading *r, uint32_t hi); /* what was asked for, goes on up to there */
bool reading_under_way(const struct reading *r, uint32_t uid); /* still */
/* Waits for the threads, tells nothing; before the folder or the arg goes, and not in a completion of the pool's. */
void reading_stop(struct reading *r);

#endif
