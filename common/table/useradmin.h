/* SPDX-License-Identifier: ISC
 *
 * useradmin: what the user_admin channel asks for, carried out on a user
 * database: by authd, and by mailctl itself while no authd runs.
 */
#ifndef TABLE_USERADMIN_H
#define TABLE_USERADMIN_H

#include "ipc/messages.h"
#include "table/userdb.h"

/* Checks a request before the password is hashed; fills the canonical name. */
bool useradmin_check(const struct ipc_user_admin_set *set, char name[USERDB_NAME + 1], struct fail *why);
/* hash: made of set->password (see password.h); empty: no login. */
bool useradmin_set(struct userdb *db, const struct ipc_user_admin_set *set, struct span hash, int64_t now_s, struct fail *why);
bool useradmin_quota(struct userdb *db, const struct ipc_user_admin_quota *quota, struct fail *why);
bool useradmin_remove(struct userdb *db, const struct ipc_user_admin_remove *remove, struct fail *why);
/* Calls with a row for each user that matches. */
bool useradmin_list(struct userdb *db, const struct ipc_user_admin_list *list, bool (*row)(void *arg, const struct ipc_user_admin_user *user),
    void *arg, struct fail *why);

#endif
