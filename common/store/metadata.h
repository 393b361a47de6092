/* SPDX-License-Identifier: ISC
 *
 * metadata: annotations of folders and of the whole store (RFC 5464): small
 * values by name, kept in one file that is replaced at each change.
 */
#ifndef STORE_METADATA_H
#define STORE_METADATA_H

#include "store/mailbox.h"

#define METADATA_FILE "pillarpost-metadata" /* beside the INBOX */

enum {
	METADATA_ENTRIES_MAX = 1000, /* of one user */
	METADATA_VALUE_MAX = 64 << 10,
	METADATA_NAME_MAX = 200,
};

/* "/private/specialuse": what a folder is for (RFC 6154 4). */
#define METADATA_SPECIALUSE "/private/specialuse"
/* Of a name that is no folder here: another user's mailbox, subscribed. No client can write this entry's name. */
#define METADATA_SUBSCRIBED "subscribed"

struct metadata_change {
	struct span entry; /* in lower case */
	struct span value; /* p NULL: it is removed */
};

/* folder empty: the store's own.  All or none, durable when it returns true;
 * FAIL_LIMIT: there would be too many. */
bool metadata_set(struct store *store, struct span folder, const struct metadata_change *changes, size_t n, struct fail *why);
/* Every annotation of the folder in order of their names; with any_folder of all folders. */
bool metadata_each(struct store *store, struct span folder, bool any_folder,
    void (*each)(void *arg, struct span folder, struct span entry, struct span value), void *arg, struct fail *why);

/* folder.c: a folder and its inferiors have another name; it is gone (to empty). */
void metadata_moved(struct store *store, struct span from, struct span to);
void metadata_free(struct store *store);

#endif
