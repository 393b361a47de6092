/* SPDX-License-Identifier: ISC
 *
 * mailbox_copy: what import and export share, whatever they copy from.
 */
#ifndef MAILCTL_MAILBOX_COPY_H
#define MAILCTL_MAILBOX_COPY_H

#include "store/transfer.h"
#include "tools/common/term.h"
#include "tools/mailctl/mailbox.h"

#define COPY_ARRIVING "pillarpost-deleted-import" /* removed by itself if this is cut short */

struct copy_job {
	struct mailctl *m;
	struct transfer t;
	struct span folder;
	struct term_progress progress;
	int status;
	uint64_t folders, messages, missing, size;
};

void copy_progress(void *arg, uint64_t messages); /* of this folder; arg: the job */
void copy_say(struct copy_job *j, const char *what);
bool copy_problem(struct copy_job *j, const char *text); /* true: the others are gone on with */
void copy_add_up(struct copy_job *j);
/* Whether a folder of that UIDVALIDITY (0: unknown) and so many messages can be put
 * where j->folder is. False: it is settled, one way or the other. */
bool copy_wanted(struct copy_job *j, uint32_t uidvalidity, uint64_t messages);
/* Nothing is left of an import that was cut short. */
bool copy_clean(struct copy_job *j, struct fail *why);
/* mailbox_imap.c: all folders of a login at an IMAP server; each() may be told the subscribed ones. */
bool copy_from_imap(struct copy_job *j, void (*subscribed)(void *arg, struct span name), void *arg, struct fail *why);

#endif
