/* SPDX-License-Identifier: ISC
 *
 * names: the addresses of filters whose host is a name, asked of dnsd: when they are
 * configured, and again, behind the answer, when they are used and their time is
 * over.  A name that dnsd cannot answer for keeps the addresses it had.
 */
#ifndef VERIFYD_NAMES_H
#define VERIFYD_NAMES_H

#include "conf/conf.h"
#include "net/netaddr.h"
#include "service/lookup.h"
#include "sys/loop.h"

enum { NAMES_ADDRESSES = 4 /* of one name; more are ignored */ };

struct names {
	struct loop *loop;
	struct inquirer dns;
	struct list all; /* struct name */
};

void names_init(struct names *n, struct loop *loop);
void names_free(struct names *n);
/* Those in the configuration are asked for, others forgotten. */
void names_configure(struct names *n, const struct conf *conf);
/* False: it is not known (yet). */
bool names_find(struct names *n, struct span host, uint16_t port, struct netaddr *to, struct fail *why);
/* Nobody answers there: another address of the name comes first from now on. */
void names_blame(struct names *n, struct span host);

#endif
