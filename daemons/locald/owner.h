/* SPDX-License-Identifier: ISC
 *
 * owner: one owner of mailboxes: the channel to its deliverd, asked of userd
 * when first needed and kept for a while; what waits for it, what was sent to it.
 *
 * A deliverd that dies takes nothing with it: what was sent is deferred as
 * perhaps done, what waited is given to the next one.
 */
#ifndef LOCALD_OWNER_H
#define LOCALD_OWNER_H

#include "daemons/locald/job.h"

struct owner {
	struct map_node node; /* locald.owners */
	struct locald *locald;
	uint32_t uid, gid;
	struct channel *mailbox; /* NULL: none yet */
	uint64_t question;       /* at userd, 0: none */
	bool open;               /* counted in locald.nopen */
	struct list place;       /* in locald.idle or locald.queue */
	int64_t idle_ms;         /* since then, in locald.idle */
	struct timer pause;      /* after the end of a deliverd */
	struct list waiting;     /* targets */
	struct map sent;         /* targets by id; without a mailbox: until userd says how it ended */
};

/* Puts the target on its way; it will be settled. */
void owner_deliver(struct locald *l, struct target *t);
/* Takes the target back; it must not have been sent. */
void owner_withdraw(struct target *t);
/* userd is (again) there: everything that waits is asked for. */
void owner_ask_all(struct locald *l);
/* userd is gone: nothing is asked of it any more. */
void owner_forget_questions(struct locald *l);
void owner_on_rest(struct timer *t); /* locald.rest */

bool owner_on_child(struct locald *l, uint64_t id, bool crashed, int fd);
bool owner_on_refused(struct locald *l, uint64_t id, struct span why);

#endif
