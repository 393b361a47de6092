/* SPDX-License-Identifier: ISC
 *
 * limits: the bounds of every parser of mail, from limits.def (law 9).
 */
#ifndef MAIL_LIMITS_H
#define MAIL_LIMITS_H

enum mail_limit {
#define LIMIT(name, value, meaning) LIMIT_##name = (value),
#include "mail/limits.def"
#undef LIMIT
};

#endif
