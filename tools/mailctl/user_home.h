/* SPDX-License-Identifier: ISC
 *
 * user_home: the directory of a mailbox that root makes for its owner, where
 * mailboxd and deliverd, who run as the owner, could not or would not.
 */
#ifndef MAILCTL_USER_HOME_H
#define MAILCTL_USER_HOME_H

#include "sys/priv.h"
#include "table/userdb.h"

struct user_home {
	const char *base; /* virtual_mailbox_base */
	char path[USERDB_HOME + 1]; /* below it */
	struct priv_identity owner;
	struct priv_identity common; /* virtual_mailbox_user */
	const char *name; /* the owner's */
};

/* What stands in the user database for a directory below base that is named from there or from the root.  False: it is elsewhere. */
bool user_home_path(const char *base, const char *given, char path[USERDB_HOME + 1], struct fail *why);
/* As root: whether the owner's processes would reach the directory, read it and write in it, or the one it will be made
 * in.  False: what keeps them out. */
bool user_home_look(const struct user_home *h, struct fail *why);
/* As root: makes it where it is not there, mode 0700; what is missing on the way is made like the directory above it. */
bool user_home_make(const struct user_home *h, struct fail *why);

#endif
