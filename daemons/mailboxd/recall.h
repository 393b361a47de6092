/* SPDX-License-Identifier: ISC
 *
 * recall: what searches and sorts look at in every message of a folder, in
 * memory as long as the folder is open: what the kept facts say, found once
 * by a message's UID instead of read again for each command.
 */
#ifndef MAILBOXD_RECALL_H
#define MAILBOXD_RECALL_H

#include "daemons/mailboxd/text.h"

struct recalled {
	int64_t sent;     /* the Date field, Unix time; where dated */
	int32_t sent_day; /* its day as written, since 1970 */
	uint32_t subject; /* where its text is */
	uint16_t subject_n;
	bool known, dated, titled; /* titled: it has a Subject field */
};

/* For threads (thread.h). */
struct recalled_thread {
	const uint32_t *ids; /* Message-ID and references, each a number, the same for the same id; 0 for an empty one */
	size_t nids;
	uint32_t subject;    /* base subject as a number; 0: it is empty */
	bool reply;
};

/* Of the message that t is open for; good until the next call.  NULL: the
 * message cannot be read, or there is no room to keep it in: ask its facts. */
const struct recalled *recall(struct text *t);
/* The subject, decoded and folded as search text is (fold.h). */
struct span recall_subject(struct text *t, const struct recalled *r);

/* False as recall() gives NULL; good until the next call. */
bool recall_thread(struct text *t, struct recalled_thread *out);

/* One of a message's texts (the caller's kinds) as a number, the same for the same text.  make puts it, folded,
 * when it is not known yet; false: it cannot be read now, which counts as empty.  0: no room to keep it in. */
enum { RECALL_TEXTS = 10 };
uint32_t recall_text(struct text *t, unsigned kind, bool (*make)(void *arg, struct text *t, struct buf *out), void *arg);
/* By that number, what orders as the texts of the folder do; good until the next recall_text().  NULL: no memory. */
const uint32_t *recall_ranks(struct mailbox *mb);

#endif
