/* SPDX-License-Identifier: ISC
 *
 * The queue commands' common part: asking queued, and printing its rows.
 */
#ifndef MAILCTL_QUEUE_H
#define MAILCTL_QUEUE_H

#include "tools/common/term.h"
#include "tools/mailctl/mailctl.h"

/* One answer while it comes in. */
struct answer {
	struct mailctl *m;
	unsigned width;       /* of the terminal, 0: none */
	const char *done;     /* of act: "held" */
	struct buf item;      /* the item being gathered */
	uint32_t expected, seen;
	uint64_t arrived_ms, size, message;
	struct buf reason;
	int64_t now_ms;
	struct term_progress progress;
	bool failed;          /* for one message, which has been told */
	unsigned ages, destinations; /* rows so far */
	void *ring;           /* of history with a limit */
};

/* The filter of the command line: words and --filter. False: too long, and said so. */
bool queue_filter(const struct mailctl *m, struct buf *filter);
/* Sends the request and gives each row to on_row until done; the exit status. */
int queue_ask(struct mailctl *m, unsigned type, const void *request, bool (*on_row)(void *arg, unsigned type, const void *row), void *arg,
    struct ipc_queue_admin_done *done);
/* The same over a connection that stays. */
int queue_ask_on(struct mailctl *m, struct channel_sync *c, unsigned type, const void *request,
    bool (*on_row)(void *arg, unsigned type, const void *row), void *arg, struct ipc_queue_admin_done *done);
/* Prints why it did not work, with a mark under the filter; the exit status. */
int queue_refused(const struct ipc_queue_admin_done *done, struct span filter);

/* What was named by ids has to be there, and to match the filter, if there is one, such as quarantine's; the exit status. */
int queue_all_there(const struct mailctl *m, uint64_t found, uint64_t done);

/* on_row of list, act, stats. */
void answer_init(struct answer *a, struct mailctl *m);
void answer_free(struct answer *a);
bool answer_row(void *arg, unsigned type, const void *row);
bool answer_past_row(void *arg, unsigned type, const void *row); /* of history */
void answer_past_end(struct answer *a);

const char *queue_time(uint64_t ms, char text[32]);

#endif
