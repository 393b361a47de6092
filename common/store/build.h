/* SPDX-License-Identifier: ISC
 *
 * build: makes a folder message by message with the UIDs that another server
 * gave, for an import through a protocol.  Its place is found by transfer_adopt().
 */
#ifndef STORE_BUILD_H
#define STORE_BUILD_H

#include "base/fail.h"

struct build;

struct build_message {
	uint32_t uid;   /* ascending */
	uint8_t flags;  /* FLAG_* of mailbox.h */
	const struct span *keywords;
	size_t nkeywords; /* what finds no room among 64 is left out */
	int64_t date;   /* Unix time, 0: now */
};

/* A new Maildir dir below base; NULL and *why. */
struct build *build_begin(int base, const char *dir, struct span host, uint32_t uidvalidity, struct fail *why);
/* Octets of the next message. */
bool build_write(struct build *b, struct span bytes, struct fail *why);
/* What was written becomes this message. */
bool build_message(struct build *b, const struct build_message *m, struct fail *why);
/* Durable when it returns true.  uidnext: at least so much, 0 if unknown. */
bool build_end(struct build *b, uint32_t uidnext, struct fail *why);
void build_free(struct build **b); /* what was not ended stays unfinished on disk */

#endif
