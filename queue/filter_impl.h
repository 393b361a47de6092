/* SPDX-License-Identifier: ISC
 *
 * The inside of a compiled filter, shared by its parser and its evaluation.
 */
#ifndef QUEUE_FILTER_IMPL_H
#define QUEUE_FILTER_IMPL_H

#include "base/arena.h"
#include "net/cidr.h"
#include "queue/filter.h"

enum filter_kind { KIND_ID, KIND_WORD, KIND_ADDRESS, KIND_DOMAIN, KIND_HOST, KIND_TEXT, KIND_DURATION, KIND_SIZE, KIND_NUMBER };
enum filter_op { OP_IS, OP_HAS, OP_LESS, OP_LESS_EQUAL, OP_MORE, OP_MORE_EQUAL };
enum filter_shape { SHAPE_AND, SHAPE_OR, SHAPE_TEST };

struct filter_row {
	const char *name;
	enum filter_kind kind;
	unsigned cost, where;
	const char *meaning;
};
extern const struct filter_row filter_rows[FILTER_FIELDS];

struct filter_value {
	struct filter_value *next;
	struct span text;
	uint64_t number;
	struct cidr net;
	bool wild, is_net;
};

struct filter_node {
	struct filter_node *next, *children; /* of AND and OR: at least one; an AND without any is true */
	enum filter_shape shape;
	bool negate;
	unsigned cost;
	enum filter_field field;
	enum filter_op op;
	struct filter_value *values;         /* one of them is enough */
};

struct filter {
	struct arena arena;
	struct filter_node *top;
	uint64_t *ids;
	size_t nids;
	bool by_id;
};

#endif
