/* SPDX-License-Identifier: ISC
 *
 * kept: expunged messages and deleted folders that can still be had back.
 *
 * An expunged message's file goes to "pillarpost/expunged" of its folder, as
 * "<time>.<uid>,<file name>"; a deleted folder becomes "pillarpost-kept-<ms>.<name>"
 * beside the INBOX.  Neither is seen by clients or counted for a quota.  Files
 * alone: works beside a running mailboxd, which takes a restored message for a new one.
 */
#ifndef STORE_KEPT_H
#define STORE_KEPT_H

#include "store/maildir.h"

#define KEPT_DIR "pillarpost/expunged"
#define KEPT_FOLDER "pillarpost-kept-"

enum { KEPT_PATH_MAX = 320, KEPT_FOLDER_NAME_MAX = 220 };

struct kept {
	struct span folder; /* its name on disk */
	int64_t since;      /* Unix time of the removal */
	uint32_t uid;       /* it had; 0: this is a whole folder */
	struct maildir_name name;
	const char *path;   /* below the user's Maildir */
};

/* Where the file of a message (cur/..., new/... of its folder) goes. */
void kept_path(char out[KEPT_PATH_MAX], int64_t now, uint32_t uid, const char *path);
/* The same for a whole folder; false: it cannot be kept (its name is too long). */
bool kept_folder_path(char out[KEPT_PATH_MAX], int64_t now_ms, struct span folder);

/* What is kept of one folder (its name on disk), in no order; until each says false. */
bool kept_each(struct vfs *v, struct span folder, bool (*each)(void *arg, const struct kept *k), void *arg, struct fail *why);
/* The deleted folders. */
bool kept_each_folder(struct vfs *v, bool (*each)(void *arg, const struct kept *k), void *arg, struct fail *why);

/* Back into the folder, as a message with a new UID, flags and (where the folder
 * still has them) keywords, but not \Deleted. */
bool kept_restore(struct vfs *v, struct maildir_namer *namer, const struct kept *k, struct fail *why);
/* As it was, UIDs and all; FAIL_PERM: there is one of that name. */
bool kept_restore_folder(struct vfs *v, const struct kept *k, struct fail *why);
bool kept_remove(struct vfs *v, const struct kept *k);
/* Removes what went before that time, of every folder; how many. */
size_t kept_purge(struct vfs *v, int64_t before);
/* False: kept_purge() would find nothing.  Looks at so little that a loop can wait for it; where there is more, the answer is true. */
bool kept_due(struct vfs *v, int64_t before);
/* A directory (up to four levels) with everything in it. */
void kept_remove_tree(struct vfs *v, const char *path, unsigned depth);

#endif
