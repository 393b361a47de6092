/* SPDX-License-Identifier: ISC
 *
 * INBOX whose messages are appended in a row, on a disk whose operations are
 * counted and fail when they shall; message n says that it is number n.
 */
#ifndef STOCK_FIXTURE_H
#define STOCK_FIXTURE_H

#include "store/state.h"
#include "tests/unit/storetest.h"

extern const struct vfs_ops *real;
extern unsigned cur_syncs, tmp_syncs;
extern bool no_links;
extern const char *failing; /* "file", "rename", "cur", "tmp", "index"; NULL: nothing */

struct wait_op {
	struct mailbox_op op;
	bool done, ok;
	uint32_t uid;
};

void on_done(struct mailbox_op *op);
/* INBOX, its operations counted and refused from here on. */
void enter(struct fixture *f, struct view *v);
unsigned count_files(const char *base, const char *dir);

struct append *begin_text(struct fixture *f, unsigned number);
/* The UID; 0: it was refused. */
uint32_t append_many(struct fixture *f, unsigned number, size_t n);
uint32_t append(struct fixture *f, unsigned number);

void until_settled(struct fixture *f, const struct mailbox *mb);
/* UID n has number n, for all n up to `last` but `but`. */
void has_numbers(struct fixture *f, uint32_t last, uint32_t but);

#endif
