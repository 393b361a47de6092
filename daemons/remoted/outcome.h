/* SPDX-License-Identifier: ISC
 *
 * outcome: what becomes of a job's recipients while one host after the other is
 * tried.
 */
#ifndef REMOTED_OUTCOME_H
#define REMOTED_OUTCOME_H

#include "daemons/remoted/job.h"

/* A host that did not take it. A permanent no to us does not outweigh another's "later". */
void outcome_trouble(struct job *j, const struct verdict *v, enum deliver_health health);
/* Law 11: queued logs what the last host said; this is about those before it. */
void outcome_attempt(const struct job *j, struct span to, struct span relay, struct span tls, const struct verdict *v);
/* Those whom the last host put off are open again for the next one. */
void outcome_hold(struct job *j);
/* A session is over: who it was, and how long it took. */
void outcome_session(struct job *j, const struct session *s);
bool outcome_open(const struct job *j);    /* somebody may still be tried at another host */
bool outcome_elsewhere(const struct job *j); /* somebody is refused by what this host lacks, which another may have */
bool outcome_unheard(const struct job *j); /* somebody of whom no host has said anything yet */
/* The end: whoever is open gets what was last said. */
void outcome_settle(struct job *j);

#endif
