/* SPDX-License-Identifier: ISC
 *
 * conf/syntax: the configuration file's grammar, without any meaning: names,
 * raw values and blocks with their positions.  Internal to conf/.
 */
#ifndef CONF_SYNTAX_H
#define CONF_SYNTAX_H

#include "conf/conf.h"

struct conf_at {
	unsigned line, column; /* from 1 */
};

struct conf_item {
	struct span name, value; /* value: raw, continuation lines joined by a blank; p != NULL */
	struct conf_at at, value_at;
};

struct conf_items {
	struct conf_item *v;
	size_t n, room;
};

struct conf_block {
	enum conf_table kind; /* LISTENER or ROUTE */
	struct span name;
	struct conf_at at;
	struct conf_items items;
};

struct conf_file {
	struct conf_items items;
	struct conf_block *blocks;
	size_t nblocks, room;
};

enum { CONF_BLOCKS_MAX = 1000 };

/* What could not be read is reported and left out; false: all from some place on. */
bool conf_syntax(struct span text, struct arena *arena, struct conf_file *out, struct conf_errors *errors);

void conf_error(struct conf_errors *errors, struct conf_at at, const char *fmt, ...) __attribute__((format(printf, 3,
    4)));

/* Doubles a growing array in the arena; false: no memory. */
bool conf_grow(struct arena *arena, void **v, size_t n, size_t *room, size_t size);

#endif
