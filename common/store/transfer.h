/* SPDX-License-Identifier: ISC
 *
 * transfer: copies a folder with all that is known of it into another Maildir:
 * files with their times, UIDVALIDITY, UIDs, flags, keywords, mod-sequences,
 * POP3 UIDLs.  What comes out is a Maildir that can be served in place, here or (by
 * the dovecot-uidlist and dovecot-keywords beside it) by Dovecot.
 *
 * Only looks at the source, which may be served meanwhile; then it is copied as it
 * was a moment ago.  A source without an index of ours is copied with what
 * another server left there, and taken over when it is opened.
 */
#ifndef STORE_TRANSFER_H
#define STORE_TRANSFER_H

#include "store/mailbox.h"

struct transfer {
	int from, to;   /* the two users' Maildirs */
	void (*on_progress)(void *arg, uint64_t messages); /* so many of this folder; NULL allowed */
	void *arg;
	/* Result */
	uint64_t messages; /* copied */
	uint64_t missing;  /* gone meanwhile, or without a file */
	uint64_t size;     /* octets copied */
};

/* Into the directory to_dir of t->to ("" or a name), which is made; nothing of
 * the folder may be there.  Durable when it returns true. */
bool transfer_folder(struct transfer *t, struct span folder, const char *to_dir, struct fail *why);
/* Puts what transfer_folder() made in from_dir of t->to in the place of the folder
 * (not of one with messages).  Nobody else may have the mailbox (look_lock()). */
bool transfer_adopt(struct transfer *t, const char *from_dir, struct span folder, struct fail *why);
/* A file beside the INBOX, if it is there and the other side has none; durable when it returns true. */
bool transfer_file(struct transfer *t, const char *name, struct fail *why);
/* The names in a "subscriptions" file. */
bool subscriptions_each(struct vfs *v, void (*each)(void *arg, struct span name), void *arg, struct fail *why);

#endif
