/* SPDX-License-Identifier: ISC
 *
 * domainset: a list of domains, .domains and tables as an answer to "is this
 * domain one of them?", whatever the length of the list.
 */
#ifndef ROUTED_DOMAINSET_H
#define ROUTED_DOMAINSET_H

#include "base/map.h"
#include "conf/conf.h"
#include "table/table.h"

struct domainset {
	struct map names; /* exact, and .suffixes with their dot */
	bool suffixes;
	struct table **tables; /* in the arena; the tables are the opener's */
	size_t ntables;
};

/* Gives the table for a spec; NULL and *why if there is none. */
typedef struct table *domainset_open(void *arg, struct span spec, struct fail *why);

/* Memory of names comes from the arena; the buckets are freed by domainset_free(). */
bool domainset_init(struct domainset *set, const struct conf_list *list, domainset_open *open, void *arg,
    struct arena *arena, struct fail *why);
void domainset_free(struct domainset *set);

/* domain in lower case.  *which names the entry or table that decided. */
enum table_found domainset_has(struct domainset *set, struct span domain, struct arena *arena, struct span *which,
    struct fail *why);

#endif
