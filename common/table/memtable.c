/* SPDX-License-Identifier: ISC
 *
 * Tables held in memory: file, inline, static.
 */
#include <stdlib.h>
#include <string.h>

#include "base/map.h"
#include "table/kind.h"
#include "table/maptext.h"

enum { MEMORY_MAX = 1024 * 1024 * 1024 };

struct memtable {
	struct map map;
	struct arena memory;
	struct table *table; /* while it is filled, for events */
	bool full;
};

struct entry {
	struct map_node node;
	struct span value;
};

static void
memtable_free(struct memtable *m)
{
	if (!m)
		return;
	map_free(&m->map);
	arena_free(&m->memory);
	free(m);
}

static struct memtable *
memtable_new(struct table *t)
{
	struct memtable *m = calloc(1, sizeof(*m));

	if (!m)
		return NULL;
	map_init(&m->map);
	arena_init(&m->memory, MEMORY_MAX);
	m->table = t;
	return m;
}

static struct span
lower_copy(struct arena *arena, struct span s)
{
	char *copy = arena_alloc(arena, s.n + 1);

	if (!copy)
		return SPAN_NONE;
	for (size_t i = 0; i < s.n; i++)
		copy[i] = ascii_lower(s.p[i]);
	return span_of(copy, s.n);
}

static bool
on_entry(void *arg, unsigned line, struct span key, struct span value)
{
	struct memtable *m = arg;
	struct entry *e = ARENA_NEW(&m->memory, struct entry);
	struct span lower = lower_copy(&m->memory, key);

	if (e && lower.p && map_get(&m->map, lower)) {
		table_event(m->table, "%.*s, line %u: \"%.*s\" is there a second time; the first counts",
		    SPAN_ARG(m->table->spec), line, SPAN_ARG(key));
		return true;
	}
	if (e)
		e->value = arena_dup(&m->memory, value);
	if (!e || !lower.p || (value.n > 0 && !e->value.p) || !map_put(&m->map, &e->node, lower))
		m->full = true;
	return !m->full;
}

static void
on_bad(void *arg, unsigned line, const char *what)
{
	struct memtable *m = arg;

	table_event(m->table, "%.*s, line %u: %s; the line does not count", SPAN_ARG(m->table->spec), line, what);
}

static bool
file_open(struct table *t, struct span name, struct fail *why)
{
	return table_set_path(t, name, why);
}

static void
mem_close(struct table *t)
{
	memtable_free(t->state);
}

static bool
file_load(struct table *t, struct fail *why)
{
	struct maptext_visitor v = { on_entry, on_bad, NULL };
	struct memtable *m;
	struct stat seen;
	char *text;
	size_t n;

	if (!table_read_source(t, &text, &n, &seen, why))
		return false;
	m = v.arg = memtable_new(t);
	if (!m || !maptext_walk(span_of(text, n), t->options.syntax, &v)) {
		free(text);
		memtable_free(m);
		return fail_set(why, FAIL_TEMP, 0, "no memory for %s", t->path);
	}
	free(text);
	memtable_free(t->state);
	t->state = m;
	t->seen = seen;
	return true;
}

static enum table_found
mem_lookup(struct table *t, struct span key, struct arena *arena, struct span *value, struct fail *why)
{
	struct memtable *m = t->state;
	struct map_node *node = map_get(&m->map, key);
	struct span held;

	if (!node)
		return TABLE_NONE;
	held = OWNER_OF(node, struct entry, node)->value;
	*value = arena_dup(arena, held);
	if (value->p || held.n == 0)
		return TABLE_FOUND;
	fail_set(why, FAIL_TEMP, 0, "no memory for a value of %.*s", SPAN_ARG(t->spec));
	return TABLE_FAILED;
}

/* ---- inline:{key=value, key={value, with comma}, {key = value, with comma}} ---- */

static struct span
without_braces(struct span s)
{
	s = span_trim(s);
	return s.n >= 2 && s.p[0] == '{' && s.p[s.n - 1] == '}' ? span_trim(span_sub(s, 1, s.n - 2)) : s;
}

static struct span
cut_pair(struct span *rest)
{
	size_t i = 0, depth = 0;
	struct span pair;

	for (; i < rest->n && (depth > 0 || rest->p[i] != ','); i++) {
		if (rest->p[i] == '{')
			depth++;
		else if (rest->p[i] == '}' && depth > 0)
			depth--;
	}
	pair = without_braces(span_sub(*rest, 0, i));
	*rest = span_from(*rest, i + 1);
	return pair;
}

static bool
inline_open(struct table *t, struct span name, struct fail *why)
{
	struct memtable *m;
	struct span pair, key;

	name = span_trim(name);
	if (name.n < 2 || name.p[0] != '{' || name.p[name.n - 1] != '}')
		return fail_set(why, FAIL_PERM, 0, "an inline table is written inline:{key=value, ...}");
	t->state = m = memtable_new(t);
	if (!m)
		return fail_errno(why, 0, "open %.*s", SPAN_ARG(t->spec));
	name = span_sub(name, 1, name.n - 2);
	while (name.n > 0) {
		pair = cut_pair(&name);
		if (pair.n == 0)
			continue;
		key = span_trim(span_cut(&pair, '='));
		if (!pair.p || key.n == 0)
			return fail_set(why, FAIL_PERM, 0, "\"%.*s\" in an inline table is not key=value",
			    SPAN_ARG(key));
		if (!on_entry(m, 0, key, without_braces(pair)))
			return fail_set(why, FAIL_TEMP, 0, "no memory for an inline table");
	}
	t->loaded = true;
	return true;
}

static bool
nothing_to_load(struct table *t, struct fail *why)
{
	(void)t;
	(void)why;
	return true;
}

/* ---- static:value ---- */

static bool
static_open(struct table *t, struct span name, struct fail *why)
{
	if (name.n == 0)
		return fail_set(why, FAIL_PERM, 0, "a static table is written static:value");
	t->loaded = true;
	return true;
}

static void
static_close(struct table *t)
{
	(void)t;
}

static enum table_found
static_lookup(struct table *t, struct span key, struct arena *arena, struct span *value, struct fail *why)
{
	(void)key;
	*value = arena_dup(arena, span_from(t->spec, sizeof("static:") - 1));
	if (value->p)
		return TABLE_FOUND;
	fail_set(why, FAIL_TEMP, 0, "no memory for a value of %.*s", SPAN_ARG(t->spec));
	return TABLE_FAILED;
}

const struct table_kind table_kind_file = { "file", file_open, mem_close, file_load, mem_lookup, false };
const struct table_kind table_kind_inline = { "inline", inline_open, mem_close, nothing_to_load, mem_lookup, false };
const struct table_kind table_kind_static = { "static", static_open, static_close, nothing_to_load, static_lookup, false };
