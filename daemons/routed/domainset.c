/* SPDX-License-Identifier: ISC */
#include "domainset.h"

#include "mail/domain.h"

struct name {
	struct map_node node;
};

static bool
add_name(struct domainset *set, struct span text, struct arena *arena)
{
	struct name *n = ARENA_NEW(arena, struct name);
	bool suffix = text.n > 1 && text.p[0] == '.';
	char ascii[DOMAIN_SIZE];
	struct span canonical;
	char *copy;

	/* the form that addresses have by then; an address literal stays as it is */
	if (!domain_to_ascii(span_from(text, suffix), ascii, &canonical))
		canonical = span_from(text, suffix);
	copy = arena_alloc(arena, canonical.n + 1);
	if (!n || !copy)
		return false;
	if (suffix)
		copy[0] = '.';
	for (size_t i = 0; i < canonical.n; i++)
		copy[i + suffix] = ascii_lower(canonical.p[i]);
	set->suffixes |= suffix;
	text = span_of(copy, canonical.n + suffix);
	return map_get(&set->names, text) || map_put(&set->names, &n->node, text);
}

static bool
is_table(struct span item)
{
	return item.n > 0 && item.p[0] != '[' && span_chr(item, ':') != SIZE_MAX;
}

bool
domainset_init(struct domainset *set, const struct conf_list *list, domainset_open *open, void *arg,
    struct arena *arena, struct fail *why)
{
	*set = (struct domainset){ 0 };
	map_init(&set->names);
	set->tables = arena_alloc(arena, list->n * sizeof(struct table *) + 1);
	if (!set->tables)
		return fail_set(why, FAIL_TEMP, 0, "no memory for a list of domains");
	for (size_t i = 0; i < list->n; i++) {
		if (is_table(list->items[i])) {
			struct table *t = open(arg, list->items[i], why);

			if (!t)
				return false;
			set->tables[set->ntables++] = t;
		} else if (!add_name(set, list->items[i], arena)) {
			return fail_set(why, FAIL_TEMP, 0, "no memory for a list of domains");
		}
	}
	return true;
}

void
domainset_free(struct domainset *set)
{
	map_free(&set->names);
}

enum table_found
domainset_has(struct domainset *set, struct span domain, struct arena *arena, struct span *which, struct fail *why)
{
	struct map_node *node = map_get(&set->names, domain);
	size_t dot;

	for (struct span rest = domain; !node && set->suffixes && (dot = span_chr(span_from(rest, 1),
	    '.')) != SIZE_MAX;) {
		rest = span_from(rest, dot + 1);
		node = map_get(&set->names, rest);
	}
	if (node) {
		*which = node->key;
		return TABLE_FOUND;
	}
	for (size_t i = 0; i < set->ntables; i++) {
		struct span value;
		enum table_found found = table_lookup(set->tables[i], domain, arena, &value, why);

		*which = table_spec(set->tables[i]);
		if (found != TABLE_NONE)
			return found;
	}
	return TABLE_NONE;
}
