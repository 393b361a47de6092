/* SPDX-License-Identifier: ISC
 *
 * filter: the one language in which every tool says which messages it means.
 *
 *   filter := both { "or" both }           both := one { ["and"] one }
 *   one := ("not" | "!") one | "(" filter ")" | test | "all" | QUEUE-ID
 *   test := field operator value { "," value }
 *   operator := ":" "=" "!=" (is), "~" "!~" (contains), "<" "<=" ">" ">="
 *   value := a run without blanks and parentheses, in which * stands for anything; or "quoted", with \" and \\
 *
 * Compiled once; of an "and" and an "or" the cheap tests come first, whatever
 * their order in the text, so that the journal is read only where nothing
 * else has decided.  What is tested is behind struct filter_source: this
 * module knows no message.
 */
#ifndef QUEUE_FILTER_H
#define QUEUE_FILTER_H

#include "base/span.h"

enum filter_field {
#define FILTER(field, name, kind, cost, where, meaning) FILTER_##field,
#include "queue/filter.def"
	FILTER_FIELDS
};

/* What a filter may be asked about. */
enum filter_where { FILTER_QUEUE = 1, FILTER_ARRIVAL = 2, FILTER_PAST = 4 };

enum {
	FILTER_TEXT_MAX = 16384, /* bytes of an expression */
	FILTER_DEPTH = 100,      /* of parentheses and "not" */
};

struct filter_error {
	unsigned column; /* from 1, in characters; 0: not the text is wrong */
	char text[400];  /* what was expected, and what was found */
};

/* The values of one thing that is tested. */
struct filter_source {
	/* ID, DURATION (milliseconds), SIZE, NUMBER fields. */
	uint64_t (*number)(const void *of, enum filter_field f);
	/* The nth value of any other; false: there are no more, or it is not known. */
	bool (*text)(const void *of, enum filter_field f, uint32_t nth, struct span *out);
};

struct filter;

/* NULL: *error. The empty text matches everything. The text is not needed afterwards. */
struct filter *filter_parse(struct span text, unsigned where, struct filter_error *error);
void filter_free(struct filter **f);
bool filter_match(const struct filter *f, const struct filter_source *s, const void *of);

bool filter_matches_all(const struct filter *f);
/* Nothing but these ids can match, when it returns true. They live as long as f. */
bool filter_ids(const struct filter *f, const uint64_t **ids, size_t *n);

#endif
