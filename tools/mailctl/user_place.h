/* SPDX-License-Identifier: ISC
 *
 * user_place: whose a new user's mailbox will be and where, from --owner and
 * --mailbox.
 */
#ifndef MAILCTL_USER_PLACE_H
#define MAILCTL_USER_PLACE_H

#include "tools/mailctl/mailctl.h"
#include "tools/mailctl/user_home.h"

struct user_place {
	struct user_home home;
	bool make; /* the directory, before the user is there */
};

/* Fills uid, gid and home of the request, which then refers to *place.  False with the reason printed: there can be no such user. */
bool user_place(struct mailctl *m, struct ipc_user_admin_set *set, struct user_place *place);

#endif
