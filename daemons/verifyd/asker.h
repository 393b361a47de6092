/* SPDX-License-Identifier: ISC
 *
 * asker: a session's connection to one policy service (Postfix's policy
 * delegation): made at the first question, kept for the session. A service that
 * cannot be reached or hangs counts as smtpd_policy_service_default_action says.
 */
#ifndef VERIFYD_ASKER_H
#define VERIFYD_ASKER_H

#include "delegate.h"
#include "net/stream.h"
#include "visit.h"
#include "way.h"

struct asker {
	struct visit *visit;
	struct way way;
	struct stream stream;
	unsigned stages;    /* set of 1 << enum visit_stage */
	bool pending, used; /* used: this connection has had an answer before */
};

bool asker_init(struct asker *a, struct visit *v, struct span address, enum visit_stage stage);
void asker_free(struct asker *a);
/* True: visit_go_on() follows. */
bool asker_ask(struct asker *a, enum visit_stage stage);
void asker_reset(struct asker *a);

#endif
