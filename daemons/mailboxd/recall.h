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
	const uint32_t *ids; /* Message-ID and references as numbers, the same for the same id; 0 for an empty one */
	size_t nids;
	struct span subject; /* base subject, folded */
	bool reply;
};

/* Of the message that t is open for; good until the next call.  NULL: the
 * message cannot be read, or there is no room to keep it in: ask its facts. */
const struct recalled *recall(struct text *t);
/* The subject, decoded and folded as search text is (fold.h). */
struct span recall_subject(struct text *t, const struct recalled *r);

/* False as recall() gives NULL; good until the next call. */
bool recall_thread(struct text *t, struct recalled_thread *out);

#endif
