/* SPDX-License-Identifier: ISC
 *
 * lookup: questions to dnsd over the dns channel.
 */
#ifndef SERVICE_LOOKUP_H
#define SERVICE_LOOKUP_H

#include "service/inquiry.h"

/* Embedded in its owner. */
struct lookup {
	struct inquiry inquiry;
	uint8_t type;
	char name[B_HOST + 1];
	void (*on_record)(struct lookup *l, const struct ipc_dns_record *r);
	void (*on_done)(struct lookup *l, const struct ipc_dns_done *d); /* the last call */
	void (*on_again)(struct lookup *l); /* what came so far is void: it is asked anew */
};

extern const struct inquiry_ops lookup_ops; /* of the inquirer */
extern const struct channel_ops lookup_channel_ops;

/* False: the name does not fit. The callbacks are set by the owner before. */
bool lookup_start(struct inquirer *dns, struct lookup *l, uint8_t type, struct span name);
void lookup_cancel(struct lookup *l);

#endif
