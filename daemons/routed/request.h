/* SPDX-License-Identifier: ISC
 *
 * request: the inside of one question of a peer, shared by request.c (questions and
 * answers) and vet.c (what a good recipient still has to pass).
 */
#ifndef ROUTED_REQUEST_H
#define ROUTED_REQUEST_H

#include "access.h"
#include "routed.h"

enum request_kind { REQUEST_RCPT, REQUEST_ROUTE, REQUEST_EXPLAIN, REQUEST_VERIFY };

struct request {
	struct list node; /* of the client */
	struct client *client;
	enum request_kind kind;
	struct access_verdict access; /* rcpt: texts in access_mem */
	struct arena access_mem;
	uint64_t id;
	struct route_question question; /* its texts are in `text` */
	struct route_job *job;
	struct users_question user;
	struct repute_question repute;
	const struct route_target *unsent;
	bool replying; /* the job is over: targets are being sent, or it is vetted */
	bool failing;  /* explain: some target does not work */
	bool vrfy;     /* rcpt: nobody sends anything */
	bool fresh;    /* verify: what is remembered does not count */
	unsigned lines;
	struct span client_addr; /* rcpt */
	/* vet.c: */
	unsigned step;           /* enum vet_step */
	struct route_job *way;   /* where the address to verify goes; NULL: that is known */
	struct verify_question verify;
	struct span verified;    /* what callouts told, in access_mem */
	char text[]; /* address, sender, client_addr */
};

/* ---- request.c ---- */
/* The verdict, or what access.status says in its place; r is gone. */
void request_reply(struct request *r);
void request_say(struct request *r, struct span text); /* to a tool */
void request_done(struct request *r, bool ok, struct span text); /* to a tool; r is gone */
bool request_include(void *arg, struct span path, struct arena *arena, struct span *text, struct fail *why);

/* ---- vet.c; each may answer, and then r is gone ---- */
void vet_init(struct request *r);
void vet(struct request *r);         /* the recipient is known to be good */
void vet_address(struct request *r); /* for a tool: verifies it */
void vet_on_user(struct request *r, const struct route_user *user); /* r->way waits for it */
void vet_again(struct request *r);   /* other rules: r->way starts anew */

#endif
