/* SPDX-License-Identifier: ISC
 *
 * lookup: questions to dnsd over the dns channel.  When dnsd dies its questions
 * are asked again of the next one.
 */
#ifndef SERVICE_LOOKUP_H
#define SERVICE_LOOKUP_H

#include "base/map.h"
#include "ipc/messages.h"

struct lookup_client {
	struct channel *channel; /* NULL while there is no dnsd */
	struct list unsent;      /* waiting for one */
	struct map sent;         /* by id */
	uint64_t last_id;
};

/* Embedded in its owner. */
struct lookup {
	struct list node;
	struct map_node by_id;
	struct lookup_client *client; /* NULL when not under way */
	uint64_t id;
	uint8_t type;
	char name[B_HOST + 1];
	void (*on_record)(struct lookup *l, const struct ipc_dns_record *r);
	void (*on_done)(struct lookup *l, const struct ipc_dns_done *d); /* the last call */
	void (*on_again)(struct lookup *l); /* what came so far is void: it is asked anew */
};

void lookup_client_init(struct lookup_client *c);
void lookup_client_free(struct lookup_client *c);
/* dnsd has come; the client owns the channel. */
void lookup_client_open(struct lookup_client *c, struct channel *channel);
extern const struct channel_ops lookup_channel_ops;

/* False: the name does not fit. The callbacks are set by the owner before. */
bool lookup_start(struct lookup_client *c, struct lookup *l, uint8_t type, struct span name);
void lookup_cancel(struct lookup *l);

#endif
