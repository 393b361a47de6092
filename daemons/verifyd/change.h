/* SPDX-License-Identifier: ISC
 *
 * change: what a milter wants changed of a message, done: header and body here, the
 * envelope by telling smtpd, which takes it over with the verdict.
 */
#ifndef VERIFYD_CHANGE_H
#define VERIFYD_CHANGE_H

#include "visit.h"

/* False: the filter broke the rules, or there is no room for it. An address that is none is left out, and the log says so. */
bool change_do(struct visit *v, struct span filter, const struct milter_reply *r, struct fail *why);

#endif
