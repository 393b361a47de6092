/* SPDX-License-Identifier: ISC
 *
 * verifyd: has messages looked at by the site's filters: milters and policy
 * services. Their replies are foreign bytes, and smtpd opens no connection; so
 * this process reads them, and holds nothing but the messages being looked at.
 *
 *   verifyd.c   its channels and its life
 *   visit.c     one SMTP session: its questions, one after the other through all filters
 *   letter.c    the content of its present message, and the way back
 *   hook.c      a session's connection to one milter;   milter.c its protocol, without I/O
 *   asker.c     a session's connection to one policy service;   delegate.c likewise
 *   names.c     where filters are whose host is a name
 *   edit.c, spool.c   what filters change, and where content waits
 *
 * A filter that hangs costs the session that waits for it its timeout, and nobody else anything.
 */
#ifndef VERIFYD_VERIFYD_H
#define VERIFYD_VERIFYD_H

#include "base/map.h"
#include "names.h"
#include "service/service.h"

struct verifyd {
	struct service *service;
	struct list fronts; /* of struct front */
	struct names names; /* of filters' hosts */
	size_t visits;
	uint64_t questions, changed, refused, failures;
	char directory[B_PATH]; /* where content waits */
};

/* One smtpd. */
struct front {
	struct list node;
	struct verifyd *verifyd;
	struct channel *channel;
	struct map visits; /* by the session's id */
};

extern const struct service_ops verifyd_ops;

#endif
