/* SPDX-License-Identifier: ISC
 *
 * conf/source: the normal texts behind a struct conf.  Internal to conf/.
 */
#ifndef CONF_SOURCE_H
#define CONF_SOURCE_H

#include "conf/conf.h"

struct conf_source {
	struct span *options;    /* by row of options.def */
	struct span **listeners; /* by listener, then by row of listener.def */
	struct span **routes;
};

#endif
