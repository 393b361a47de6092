/* SPDX-License-Identifier: ISC
 *
 * remoted whole, in one process: queued, routed and dnsd are the other ends of
 * its channels, peers are scripted servers on loopback.
 */
#ifndef REMOTED_FIXTURE_H
#define REMOTED_FIXTURE_H

#include "daemons/remoted/remoted.h"
#include "tests/unit/peer_fixture.h"

struct outcome {
	unsigned results, done;
	uint8_t outcome[8], health;
	bool maybe_done, reused;
	char code[8][16], reply[256], peer[256], text[256], tls[256];
};

extern struct outcome got[64]; /* by job id */
extern struct service service;
extern struct channel *queued, *dnsd, *routed;
extern struct ipc_callout_answer told; /* the last one; its texts: */
extern char told_text[3][400];
extern unsigned ntold;
extern struct arena conf_arena;
extern unsigned asked; /* of dnsd */
extern bool dns_mute;
extern const struct channel_ops queued_end, routed_end, dnsd_end; /* for wire() */

void start(const char *text); /* with this configuration */
void stop(void);              /* when all has come to its end */
struct remoted *remoted(void);
/* A channel to remoted, from a sibling that is started again. */
struct channel *wire(const struct ipc_channel *type, enum channel_side ours, const struct channel_ops *ops);

/* A job of queued's, whole, or without its content. */
void give(uint64_t id, const char *nexthop, unsigned rcpts, const char *content);
void give_head(uint64_t id, const char *nexthop, unsigned rcpts);
struct outcome *wait_for(uint64_t id);

#endif
