/* SPDX-License-Identifier: ISC
 *
 * folder: a POP3 login that names a folder (pop3_folder_delimiter): user#Archive@domain,
 * user@domain#Archive, user#Archive.
 */
#ifndef AUTHD_FOLDER_H
#define AUTHD_FOLDER_H

#include "base/buf.h"

/* Parts a login at the first octet of it that is among delimiters: the user, with
 * the domain that stands behind the folder if there is none before it, is appended
 * to user; *folder points into login and may be empty. False: there is no delimiter. */
bool folder_split(struct span login, struct span delimiters, struct buf *user, struct span *folder);

#endif
