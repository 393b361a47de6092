/* SPDX-License-Identifier: ISC
 *
 * pop3_login: POP3 in its authorization state (RFC 1939 4).
 */
#ifndef POP3D_POP3_LOGIN_H
#define POP3D_POP3_LOGIN_H

#include "front/login.h"

struct login *pop3_login_new(void); /* NULL: no memory */

#endif
