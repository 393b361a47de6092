/* SPDX-License-Identifier: ISC
 *
 * repute: what DNS lists say of a client's address (smtpd_dnsbl_sites, RFC
 * 5782): the sum of the weights of the lists that have it, kept for a while.
 * A list that does not answer has no say.
 */
#ifndef ROUTED_REPUTE_H
#define ROUTED_REPUTE_H

#include "base/map.h"
#include "conf/conf.h"
#include "conf/site.h"
#include "service/lookup.h"
#include "sys/loop.h"

enum { REPUTE_CLIENTS_MAX = 50000, REPUTE_HITS_MAX = 400 };

struct repute {
	struct loop *loop;
	struct inquirer dns;
	struct conf_site *sites; /* owned */
	size_t nsites;
	struct map clients;  /* struct known by address */
	struct list recent;  /* the same, least used first */
	size_t nclients;
};

struct repute_answer {
	int score;
	struct span hits; /* "list*weight list*weight"; valid until the next turn */
};

/* Embedded in who asks; waits until answered or dropped. */
struct repute_question {
	struct list node;
	void (*on_answer)(struct repute_question *q, const struct repute_answer *a);
};

void repute_init(struct repute *r, struct loop *loop);
void repute_free(struct repute *r);
/* Other lists from now on; who waits is answered with what is known. False: no memory, and there are none. */
bool repute_configure(struct repute *r, const struct conf_list *sites);
/* True: *a is known now. False: q waits. What is not an IP address is on no list. */
bool repute_ask(struct repute *r, struct repute_question *q, struct span address, struct repute_answer *a);
void repute_drop(struct repute_question *q);

#endif
