/* SPDX-License-Identifier: ISC
 *
 * params: what the administrator sets about the queue, with Postfix's names;
 * times in milliseconds.  From struct conf in queued, by hand in tests.
 */
#ifndef QUEUE_PARAMS_H
#define QUEUE_PARAMS_H

#include "base/span.h"

struct queue_params {
	int64_t maximal_queue_lifetime, bounce_queue_lifetime;
	int64_t minimal_backoff_time, maximal_backoff_time, queue_run_delay;
	int64_t delay_warning_time; /* 0: never */
	int64_t rate_delay;
	uint32_t concurrency_limit, initial_concurrency, local_concurrency_limit;
	uint32_t recipient_limit;
	size_t bounce_size_limit;
	size_t inline_max;          /* content up to this many bytes stands in the journal */
	size_t content_cache;       /* bytes */
	struct span myhostname;     /* outlives the queue's use of it */
};

#endif
