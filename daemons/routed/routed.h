/* SPDX-License-Identifier: ISC
 *
 * routed: answers smtpd (rcpt), queued (route) and mailctl (route_admin) by
 * the rules of route.h; asks authd (users), dnsd (lists of clients) and remoted (callouts).  Sees
 * no mail content, no network.
 */
#ifndef ROUTED_ROUTED_H
#define ROUTED_ROUTED_H

#include "base/map.h"
#include "full.h"
#include "greylist.h"
#include "rate.h"
#include "repute.h"
#include "route.h"
#include "service/service.h"
#include "users.h"
#include "verify.h"

/* A peer that asks. */
struct client {
	struct routed *daemon;
	struct channel *channel;
	struct list node;     /* of the daemon's clients */
	struct list requests; /* struct request */
};

struct routed {
	struct service *service;
	struct rules *rules;
	struct users users;
	struct repute repute;
	struct greylist greylist;
	struct verify verify;
	struct full full;
	struct rates rates;
	struct list clients;
	struct arena paths; /* of the sandbox */
	const char *readable[SANDBOX_PATHS];
	char data[B_PATH], greylist_dir[B_PATH + 16], verify_dir[B_PATH + 16];
	uint64_t checked, resolved; /* requests answered */
};

extern const struct service_ops routed_ops;

/* ---- request.c ---- */
extern const struct channel_ops request_rcpt_ops, request_route_ops, request_admin_ops;
void request_client_open(struct service *s, struct channel *c, struct span peer, unsigned instance);
/* New rules: what waits for the user database starts again under them. */
void request_restart_all(struct routed *d);
void request_drop_all(struct routed *d);

#endif
