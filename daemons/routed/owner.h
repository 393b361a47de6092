/* SPDX-License-Identifier: ISC
 *
 * owner: whether a sender's address belongs to who has logged in
 * (smtpd_sender_login_maps; RFC 6409 6.1).
 */
#ifndef ROUTED_OWNER_H
#define ROUTED_OWNER_H

#include "rules.h"

/* 0: it may send as that. Else a row of status.def; *why, in the arena, says what decided. local: submitted by a
 * user of this host, of whom the tables do not speak. */
unsigned owner_check(struct rules *rules, struct span login, struct span sender, bool local, struct arena *arena, struct span *why);

#endif
