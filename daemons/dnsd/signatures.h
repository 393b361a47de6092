/* SPDX-License-Identifier: ISC
 *
 * signatures: whether the name servers pass those of DNSSEC. Many a forwarder strips them: then
 * validation would turn every answer into a forgery and stop all mail.  Told apart by the
 * root's own keys.  Where they are not passed it is looked again, ever more seldom: another forwarder may have
 * taken over, or the one that is there may not have been ready.
 */
#ifndef DNSD_SIGNATURES_H
#define DNSD_SIGNATURES_H

#include "daemons/dnsd/context.h"

struct signatures {
	struct context *context; /* that validates */
	struct timer again;
	int64_t wait_ms;
	bool passed; /* as long as nothing else is known */
	void (*on_change)(struct signatures *s);
};

void signatures_init(struct signatures *s, struct loop *loop, struct context *context, int64_t wait_ms, void (*on_change)(struct signatures *s));
void signatures_probe(struct signatures *s);
void signatures_stop(struct signatures *s); /* before its context is closed */

#endif
