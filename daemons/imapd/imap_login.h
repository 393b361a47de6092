/* SPDX-License-Identifier: ISC
 *
 * imap_login: IMAP in its not authenticated state (RFC 3501 3.1).
 */
#ifndef IMAPD_IMAP_LOGIN_H
#define IMAPD_IMAP_LOGIN_H

#include "front/login.h"

struct login *imap_login_new(void); /* NULL: no memory */

#endif
