/* SPDX-License-Identifier: ISC
 *
 * inquiry: questions over a channel, told apart by id.  When the peer dies they
 * are asked again of the next one.  What is asked and answered is its owner's.
 */
#ifndef SERVICE_INQUIRY_H
#define SERVICE_INQUIRY_H

#include "base/map.h"
#include "ipc/messages.h"

/* Embedded in its owner; zeroed before its first start. */
struct inquiry {
	struct list node;
	struct map_node by_id;
	struct inquirer *inquirer; /* NULL when not under way */
	uint64_t id;
};

struct inquiry_ops {
	const char *peer; /* for the log */
	bool (*send)(struct inquiry *q, struct channel *channel);
	void (*on_again)(struct inquiry *q); /* it is asked anew; may be NULL */
};

struct inquirer {
	const struct inquiry_ops *ops;
	struct channel *channel; /* NULL while there is no peer */
	struct list unsent;      /* waiting for one */
	struct map sent;         /* by id */
	uint64_t last_id;
	void *arg; /* its owner's */
};

void inquirer_init(struct inquirer *i, const struct inquiry_ops *ops);
void inquirer_free(struct inquirer *i);
/* The peer has come; the inquirer owns the channel and is its owner in callbacks. */
void inquirer_open(struct inquirer *i, struct channel *channel);
/* The on_closed of the channel's ops. */
void inquirer_on_closed(struct channel *channel, const struct fail *why);

void inquiry_start(struct inquirer *i, struct inquiry *q);
void inquiry_cancel(struct inquiry *q);
/* Whose answer that is. False: nothing was ever asked under this id, which is a violation.
 * *q is NULL if it was answered already, or cancelled meanwhile. */
bool inquiry_find(struct channel *channel, uint64_t id, struct inquiry **q);

#endif
