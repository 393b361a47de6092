/* SPDX-License-Identifier: ISC
 *
 * remoted: the SMTP and LMTP client of the suite: jobs from queued in, verdicts out.
 */
#ifndef REMOTED_REMOTED_H
#define REMOTED_REMOTED_H

#include "service/lookup.h"
#include "daemons/remoted/policy.h"
#include "daemons/remoted/pool.h"
#include "daemons/remoted/tlsask.h"
#include "net/signer.h"
#include "service/agent.h"

enum { REMOTED_JOBS = 500 }; /* at once in one process */

struct remoted {
	struct service *service;
	struct loop *loop;
	const struct conf *conf; /* in force */
	struct policy *policy;   /* of conf; a reference */
	struct signer *signer;   /* keyd: our certificates at other hosts */
	struct inquirer dns;
	struct inquirer tables, sts; /* TLS policies: routed's, stsd's */
	struct pool pool;
	struct agent agent; /* deliveries */
	struct list callouts; /* for routed */
	size_t ncallouts;
	struct list sessions;
	size_t nsessions;
	uint64_t delivered, deferred, failed, connections;
};

extern const struct service_ops remoted_ops;

/* A job or a session is gone: time to go if we are stopping. */
void remoted_check_stop(struct remoted *r);

#endif
