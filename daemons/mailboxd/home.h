/* SPDX-License-Identifier: ISC
 *
 * home: the directory of a user's mailboxes, and what stands in it from the first login on.
 */
#ifndef MAILBOXD_HOME_H
#define MAILBOXD_HOME_H

#include "conf/conf.h"
#include "store/mailbox.h"

/* The directory, made with what is missing above it; -1 and *why: it does not open. */
int home_open(const char *path, struct fail *why);
/* The folders that are missing (UTF-8), subscribed; what does not succeed is logged. */
void home_create_folders(struct store *store, const struct conf_list *names, const char *user);

#endif
