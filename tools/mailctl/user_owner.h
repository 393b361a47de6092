/* SPDX-License-Identifier: ISC
 *
 * user_owner: system users who own mailboxes of their own, and who may.
 */
#ifndef MAILCTL_USER_OWNER_H
#define MAILCTL_USER_OWNER_H

#include "base/buf.h"
#include "conf/conf.h"
#include "sys/priv.h"

/* A system user's name, or UID:GID in numbers.  False: there is none of that name, or it is root or a user of the suite. */
bool user_owner_find(const struct conf *conf, const char *text, struct priv_identity *owner, struct fail *why);
/* Appends the name, or UID:GID of one who has none. */
void user_owner_put(struct buf *out, uint32_t uid, uint32_t gid);

#endif
