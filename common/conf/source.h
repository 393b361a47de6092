/* SPDX-License-Identifier: ISC
 *
 * conf/source: how a struct conf is made, and the normal texts behind it.  Internal to conf/.
 */
#ifndef CONF_SOURCE_H
#define CONF_SOURCE_H

#include "conf/syntax.h"

/* Where in the file a value stands; line 0: it is the default. */
struct conf_source {
	struct span *options;    /* by row of options.def */
	struct span **listeners; /* by listener, then by row of listener.def */
	struct span **routes;
	struct conf_at *options_at, **listeners_at, **routes_at;
};

/* As conf_parse, but of a file with errors, too, what can be read: the rest is at its default.  NULL: not to its end. */
const struct conf *conf_build(struct span text, const struct conf_running *running, struct arena *arena, struct conf_errors *errors);
/* Appends the name of an option, of that block if any, to a list. */
void conf_put_name(struct buf *names, const char *name, struct span of);

#endif
