/* SPDX-License-Identifier: ISC
 *
 * kind: what a type of table must be able to do.  Internal to table/.
 */
#ifndef TABLE_KIND_H
#define TABLE_KIND_H

#include <sys/stat.h>

#include "table/table.h"

struct table_kind {
	const char *name;
	/* Makes the state from the name behind the colon. */
	bool (*open)(struct table *t, struct span name, struct fail *why);
	void (*close)(struct table *t);
	/* Reads the source anew; keeps what there was if that fails. */
	bool (*load)(struct table *t, struct fail *why);
	/* key: in lower case. */
	enum table_found (*lookup)(struct table *t, struct span key, struct arena *arena, struct span *value,
	    struct fail *why);
	bool patterns; /* see table_has_patterns() */
};

struct table {
	const struct table_kind *kind;
	struct table_options options;
	struct arena memory; /* spec, path */
	struct span spec;
	const char *path;     /* of the source, NULL without one */
	const char *made;     /* what was made from it and is used where it is not there; NULL: nothing of the kind */
	struct stat seen;     /* the source, or that, when it was last read */
	int64_t checked_ms;   /* last look at it, -1 never */
	bool loaded;
	unsigned events;      /* told while it is being read */
	struct fail unloaded; /* why not */
	void *state;          /* the kind's */
};

extern const struct table_kind table_kind_file, table_kind_inline, table_kind_static, table_kind_db, table_kind_hash,
    table_kind_btree,
    table_kind_pcre, table_kind_cidr;

/* Beyond the first few of one reading they are only counted. */
void table_event(struct table *t, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
/* Copies the source's path; false: no memory or not absolute. */
bool table_set_path(struct table *t, struct span path, struct fail *why);
/* Reads the source whole into memory from malloc; fills *seen. */
bool table_read_source(struct table *t, char **text, size_t *n, struct stat *seen, struct fail *why);
bool table_same_file(const struct stat *a, const struct stat *b);

#endif
