/* SPDX-License-Identifier: ISC
 *
 * stock: files that lie ready in a folder's tmp/, under names that are durable,
 * for messages that are appended one behind the other.
 *
 * A message that is written into such a file and synced is durable under its name
 * in tmp/; it is linked to its name in cur/, which need not be durable before the message is told.
 * The index has a name that begins with that in tmp/, and who opens the folder after a crash renames
 * what is only there.  Before more files are made, once a second, and before the folder is closed, cur/ is
 * synced, and then the names in tmp/ go.
 */
#ifndef STORE_STOCK_H
#define STORE_STOCK_H

#include "store/delivery.h"

enum { STOCK_MAX = 16 }; /* files at a time, and so the names in cur/ that are not durable, or about */

struct mailbox;

/* A file that lies ready, empty, which is to be followed by one of the two below; false: there is none,
 * but out->unique is a name for one that is still to be made. */
bool stock_take(struct mailbox *mb, struct temp *out);
void stock_named(struct mailbox *mb, const char *unique); /* it has a name in cur/, too, which was not synced */
void stock_back(struct mailbox *mb);  /* it is gone */
/* There are names in cur/ that are not durable. */
bool stock_unsettled(const struct mailbox *mb);
void stock_stop(struct mailbox *mb); /* all names are durable, nothing lies ready; before the folder closes */

/* ---- on any thread ---- */

/* Makes a file in tmp/ for each temps[].unique, durably; false and errno: there is none. */
bool stock_make(struct vfs *v, struct temp *temps, size_t n);
/* "tmp/<name>" of the message with this name in cur/; false: it is not there, or not whole. */
bool stock_find(struct vfs *v, struct span base, char path[MAILDIR_BASE_MAX + 5]);
/* Removes from tmp/ what a process that was killed left there and stock_restore() did not want. */
void stock_sweep(struct vfs *v);
/* Where there is no index any more to say which of them are whole messages: what is not empty gets a name in tmp/ that nobody
 * sweeps away.  How many. */
size_t stock_keep(struct vfs *v);
/* Renames it to `to`, a path in cur/ that is to be synced then.  False: it is not there. */
bool stock_restore(struct vfs *v, struct span base, const char *to);

#endif
