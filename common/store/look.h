/* SPDX-License-Identifier: ISC
 *
 * look: a user's folders as they are on disk, for tools: without changing
 * anything, also while mailboxd serves them (then as they were a moment ago);
 * and putting one right that nobody serves.
 */
#ifndef STORE_LOOK_H
#define STORE_LOOK_H

#include "store/mailbox.h"

enum look_state { LOOK_GOOD, LOOK_NEW, LOOK_LOST }; /* LOST: its index is to be made anew; NEW: there is none yet */

struct look {
	enum look_state state;
	struct mailbox_status status;
	unsigned damaged;        /* places of its journal that cannot be read */
	uint32_t files;          /* in new/ and cur/ */
	struct mailbox_status arrived; /* of files that have no UID yet: messages, unseen, deleted, size */
	uint32_t missing;        /* messages without a file */
	uint32_t renamed;        /* files whose names do not follow the flags (yet) */
	bool incomplete;         /* one of tmp/, new/, cur/ is not there */
	uint32_t searchable;     /* messages up to the last one that the search index has */
	uint64_t search_size;    /* octets of the search index; 0: there is none */
	bool search_damaged;     /* a part of it is to be made again */
};

/* Each folder of the Maildir, INBOX first. */
bool look_folders(int base, bool (*each)(void *arg, struct span folder), void *arg, struct fail *why);
/* whole: read the search index through, too. */
bool look_folder(int base, struct span folder, bool whole, struct look *out, struct fail *why);

/* Nobody else may have the store: takes in what the Maildir holds, writes the
 * index whole and drops what is only kept for speed. */
bool look_repair(struct store *store, struct span folder, struct fail *why);
/* Keeps mailboxd away from the Maildir (or finds that it is there: false), and keeps what a killed one promised. */
bool look_lock(int base, struct fail *why);

#endif
