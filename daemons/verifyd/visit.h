/* SPDX-License-Identifier: ISC
 *
 * visit: one SMTP session as the filters see it. Questions come from smtpd and
 * are put to the policy services, then to the milters, in the order of the configuration;
 * the first that refuses ends the round.
 */
#ifndef VERIFYD_VISIT_H
#define VERIFYD_VISIT_H

#include "edit.h"
#include "milter.h"
#include "spool.h"
#include "verifyd.h"

enum {
	VISIT_QUESTIONS = 100,  /* at once; smtpd asks about 64 recipients */
	VISIT_MEMORY = 65536,
	VISIT_WHY = 1000,
};

enum visit_stage { VISIT_MAIL, VISIT_RCPT, VISIT_DATA, VISIT_END };

struct question {
	struct list node;
	uint64_t number;
	enum visit_stage stage;
	struct span address; /* RCPT: behind the struct */
};

/* What the filters asked so far say of one question. */
struct verdict {
	unsigned status, reply; /* a refusal; 0: none */
	bool hold, discard, note;
	struct buf text, why, prepend, redirect;
};

/* What is known of the session and its message; texts in the visit's arenas. */
struct facts {
	struct span listener, session, client_name, client_addr, helo, protocol, tls, sasl_method, sasl_user, sender;
	uint16_t client_port;
	bool known, body8, smtputf8;
	uint64_t size;
	char queue_id[24]; /* empty before DATA */
	uint32_t nrcpt;
	struct span rcpt;  /* the one that is asked about */
};

/* The present message's content. */
struct letter {
	struct buf header;  /* up to its empty line, without it; all that came while !header_done */
	struct spool body;
	struct edit edit;   /* from END on */
	bool header_done, editing, failed;
	bool eightbit;      /* a filter's body has bytes over 127 */
	bool replaced;      /* a filter has given another body */
	struct spool fresh; /* that body, while it comes */
	struct edit_lines lines;
	struct buf back;    /* the header as it goes back */
	uint64_t back_at;   /* bytes of header and body that have gone back */
};

struct hook;
struct asker;

struct visit {
	struct map_node by_id; /* in its front's */
	struct front *front;
	uint64_t id;
	uint64_t letters;      /* so far */
	unsigned generation;   /* of the configuration that its filters are of */
	struct arena mem;      /* the facts; a new one for each message */
	struct facts facts;
	struct list questions;
	struct verdict verdict;
	struct letter letter;
	bool broken;           /* its filters are not configured right: all is refused for now */
	bool discarded;        /* a filter has thrown the present message away: no other is asked */
	bool busy;             /* the first question is under way */
	size_t step;           /* which filter has it: askers first */
	struct asker *askers;
	struct hook *hooks;
	size_t naskers, nhooks;
};

/* NULL: no memory. */
struct visit *visit_new(struct front *f, uint64_t id);
void visit_free(struct visit *v);
struct visit *visit_find(struct front *f, uint64_t id);
/* These three: false when the peer broke the rules. */
bool visit_mail(struct visit *v, const struct ipc_filter_mail *m);
bool visit_data(struct visit *v, const struct ipc_filter_data *m);
bool visit_ask(struct visit *v, uint64_t number, enum visit_stage stage, struct span address);
void visit_reset(struct visit *v); /* the message is over */

/* A filter is done with the first question: the next one has it. */
void visit_go_on(struct visit *v);
enum visit_stage visit_stage(const struct visit *v); /* of the question under way */

/* Verdicts. filter: its name, for the log. */
void visit_refuse(struct visit *v, unsigned status, unsigned reply, struct span text);
void visit_why(struct visit *v, struct span filter, const char *format, ...) __attribute__((format(printf, 3, 4)));
struct span visit_macro(void *visit, struct span name); /* a milter macro's value */

/* letter.c */
void letter_init(struct letter *l);
void letter_free(struct letter *l); /* back to the state after letter_init */
bool letter_put(struct visit *v, struct span bytes);
/* All is there; the first `hidden` bytes are ours. False: filters cannot be shown this. */
bool letter_whole(struct visit *v, size_t hidden, struct fail *why);
bool letter_replace(struct visit *v, struct span bytes, struct fail *why); /* a piece of another body */
void letter_replaced(struct visit *v);                                     /* that was all of it */
void letter_not_replaced(struct visit *v);                                 /* the rest will not come: the body stays */
bool letter_send_back(struct visit *v);                                    /* the next pieces */

#endif
