/* SPDX-License-Identifier: ISC */
#include "rules.h"

#include <stdlib.h>
#include <string.h>

#include "base/list.h"
#include "domainset.h"
#include "mail/address.h"

struct opened {
	struct list node;
	struct table *table;
	enum table_syntax syntax;
};

struct table_list {
	struct table **v;
	size_t n;
};

struct rules {
	const struct conf *conf;
	struct table_options options;
	struct arena memory;
	struct list tables; /* struct opened: each spec once */
	struct table_list maps[RULES_MAP_COUNT];
	struct domainset domains[CLASS_COUNT];
	int64_t refreshed_ms;
};

static const struct {
	const char *name;
	size_t option;
	enum table_syntax syntax;
} maps[] = {
#define X(name, option, syntax) { #option, offsetof(struct conf, option), syntax },
	RULES_MAPS(X)
#undef X
};

static const struct {
	const char *option, *words;
	size_t at;
} classes[] = {
#define X(name, option, words) { #option, words, offsetof(struct conf, option) },
	RULES_CLASSES(X)
#undef X
	{ "", "a domain elsewhere", 0 },
};

static const struct conf_list *
list_at(const struct conf *conf, size_t offset)
{
	return (const struct conf_list *)(const void *)((const char *)conf + offset);
}

static struct table *
open_once(struct rules *r, struct span spec, enum table_syntax syntax, struct fail *why)
{
	struct table_options options = r->options;
	struct opened *o;

	LIST_EACH(&r->tables, it) {
		o = OWNER_OF(it, struct opened, node);
		if (o->syntax == syntax && span_eq(table_spec(o->table), spec))
			return o->table;
	}
	o = ARENA_NEW(&r->memory, struct opened);
	options.syntax = o ? (o->syntax = syntax) : TABLE_MAP;
	if (!o) {
		fail_set(why, FAIL_TEMP, 0, "no memory for tables");
		return NULL;
	}
	if (!table_open(spec, &options, &o->table, why)) {
		/* mail that needs it waits until the configuration is put right */
		if (options.on_event)
			options.on_event(options.arg, why->text);
		o->table = table_open_broken(spec, why);
		if (!o->table)
			return NULL;
	}
	list_push(&r->tables, &o->node);
	return o->table;
}

/* A table among domains may be one of alias form, if alias_maps is named there. */
static struct table *
open_domains(void *arg, struct span spec, struct fail *why)
{
	return open_once(arg, spec, TABLE_MAP, why);
}

static bool
open_map(struct rules *r, size_t map, struct fail *why)
{
	const struct conf_list *specs = list_at(r->conf, maps[map].option);
	struct table_list *l = &r->maps[map];

	l->v = arena_alloc(&r->memory, specs->n * sizeof(struct table *) + 1);
	if (!l->v)
		return fail_set(why, FAIL_TEMP, 0, "no memory for tables");
	for (size_t i = 0; i < specs->n; i++) {
		l->v[i] = open_once(r, specs->items[i], maps[map].syntax, why);
		if (!l->v[i])
			return false;
		l->n++;
	}
	return true;
}

struct rules *
rules_new(const struct conf *conf, const char *cache_dir, void (*on_event)(void *arg, const char *text), void *arg,
    struct fail *why)
{
	struct rules *r = calloc(1, sizeof(*r));
	bool ok = true;

	if (!r) {
		fail_errno(why, 0, "read the routing rules");
		return NULL;
	}
	r->conf = conf;
	r->refreshed_ms = -1;
	arena_init(&r->memory, 64 * 1024 * 1024);
	list_init(&r->tables);
	r->options = (struct table_options){ .cache_dir = cache_dir ? arena_cstr(&r->memory, span_str(cache_dir))
	    : NULL, .on_event = on_event, .arg = arg };
	for (size_t i = 0; ok && i < RULES_MAP_COUNT; i++)
		ok = open_map(r, i, why);
	for (size_t i = 0; ok && i < CLASS_COUNT; i++)
		ok = domainset_init(&r->domains[i], list_at(conf, classes[i].at), open_domains, r, &r->memory, why);
	if (!ok)
		rules_free(&r);
	return r;
}

void
rules_free(struct rules **rules)
{
	struct rules *r = *rules;

	if (!r)
		return;
	LIST_EACH(&r->tables, it)
		table_close(&OWNER_OF(it, struct opened, node)->table);
	for (size_t i = 0; i < CLASS_COUNT; i++)
		domainset_free(&r->domains[i]);
	arena_free(&r->memory);
	free(r);
	*rules = NULL;
}

const struct conf *
rules_conf(const struct rules *rules)
{
	return rules->conf;
}

struct span
rules_without_extension(const struct rules *rules, struct span address, struct arena *arena)
{
	size_t at = span_rchr(address, '@');
	struct span user, detail;

	if (at == SIZE_MAX || !address_subaddress(span_sub(address, 0, at), rules->conf->recipient_delimiter, &user, &detail))
		return SPAN_NONE;
	return arena_printf(arena, "%.*s%.*s", SPAN_ARG(user), SPAN_ARG(span_from(address, at)));
}

void
rules_refresh(struct rules *r, int64_t now_ms)
{
	if (r->refreshed_ms >= 0 && now_ms - r->refreshed_ms < 1000)
		return;
	r->refreshed_ms = now_ms;
	LIST_EACH(&r->tables, it)
		table_refresh(OWNER_OF(it, struct opened, node)->table, now_ms);
}

bool
rules_rebuild(struct rules *r, struct fail *why)
{
	bool ok = true;

	LIST_EACH(&r->tables, it) {
		struct opened *o = OWNER_OF(it, struct opened, node);

		if (o->syntax == TABLE_ALIASES)
			ok = table_rebuild(o->table, why) && ok;
	}
	return ok;
}

bool
rules_has_map(const struct rules *rules, enum rules_map map)
{
	return rules->maps[map].n > 0;
}

const char *
rules_map_name(enum rules_map map)
{
	return maps[map].name;
}

const char *
rules_class_option(enum rules_class class)
{
	return classes[class].option;
}

const char *
rules_class_words(enum rules_class class)
{
	return classes[class].words;
}

/* A table that stands in the configuration itself need not be repeated whole. */
static struct span
short_spec(struct span spec)
{
	return span_starts(spec, SPAN("inline:")) ? SPAN("inline:{...}") : spec;
}

enum table_found
rules_lookup(struct rules *r, enum rules_map map, struct rules_key key, struct arena *arena, struct span *value,
    struct span *which,
    struct fail *why)
{
	const struct table_list *l = &r->maps[map];

	for (size_t i = 0; i < l->n; i++) {
		enum table_found found;

		if (key.part && table_has_patterns(l->v[i]))
			continue;
		found = table_lookup(l->v[i], key.text, arena, value, why);
		*which = short_spec(table_spec(l->v[i]));
		if (found != TABLE_NONE)
			return found;
	}
	return TABLE_NONE;
}

bool
rules_class(struct rules *r, struct span domain, struct arena *arena, enum rules_class *class, struct span *which,
    struct fail *why)
{
	for (*class = CLASS_LOCAL; *class < CLASS_COUNT; ++*class) {
		enum table_found found = domainset_has(&r->domains[*class], domain, arena, which, why);

		if (found != TABLE_NONE)
			return found == TABLE_FOUND;
	}
	return true;
}

/* ---- paths for the sandbox ---- */

bool
rules_path_covers(const char *dir, const char *path)
{
	size_t n = strlen(dir);

	return strncmp(dir, path, n) == 0 && (path[n] == '/' || path[n] == '\0' || n == 1);
}

/* Adds a directory unless one in the list covers it; drops those it covers. */
static size_t
add_path(const char **paths, size_t n, size_t max, const char *dir)
{
	size_t kept = 0;

	for (size_t i = 0; i < n; i++)
		if (rules_path_covers(paths[i], dir))
			return n;
	for (size_t i = 0; i < n; i++)
		if (!rules_path_covers(dir, paths[i]))
			paths[kept++] = paths[i];
	if (kept == max) { /* too many places: rather all to read than mail that cannot be routed */
		paths[0] = "/";
		return 1;
	}
	paths[kept++] = dir;
	return kept;
}

size_t
rules_paths(const struct rules *r, struct arena *arena, const char **paths, size_t max)
{
	size_t n = add_path(paths, 0, max, SYSCONFDIR); /* a reload may name other tables */

	LIST_EACH(&((struct rules *)(uintptr_t)r)->tables, it) {
		const char *file = table_path(OWNER_OF(it, struct opened, node)->table);
		const char *slash = file ? strrchr(file, '/') : NULL;
		char *dir;

		if (!slash)
			continue;
		dir = arena_cstr(arena, span_of(file, slash == file ? 1 : (size_t)(slash - file)));
		if (dir)
			n = add_path(paths, n, max, dir);
	}
	return n;
}
