/* SPDX-License-Identifier: ISC
 *
 * conf/expand: replaces $name by another option's value.  Internal to conf/.
 */
#ifndef CONF_EXPAND_H
#define CONF_EXPAND_H

#include "conf/conf.h"

/* The value of a name, or false with *why. */
typedef bool conf_lookup(void *arg, struct span name, struct span *value, struct fail *why);

/* Appends raw to out with every $name, ${name}, $(name) replaced, $$ as $. */
bool conf_expand(struct span raw, conf_lookup *lookup, void *arg, struct buf *out, struct fail *why);

#endif
