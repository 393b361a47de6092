/* SPDX-License-Identifier: ISC */
#include "table/table.h"

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "table/kind.h"

enum {
	CHECK_INTERVAL_MS = 1000,
	QUIET_MS = 1000,     /* since something was last written to a source */
	SKEW_MS = 60 * 1000, /* by which a file server's clock may be ahead */
	EVENTS_MAX = 20,
	SPEC_MEMORY = 4 * 1024 * 1024,
};

static const struct {
	const char *name;
	const struct table_kind *kind;
} kinds[] = {
	{ "file", &table_kind_file },
	{ "texthash", &table_kind_file },
	{ "db", &table_kind_db },
	{ "hash", &table_kind_hash },
	{ "btree", &table_kind_btree },
	{ "pcre", &table_kind_pcre },
	{ "cidr", &table_kind_cidr },
	{ "inline", &table_kind_inline },
	{ "static", &table_kind_static },
};

static void
tell(const struct table *t, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

static void
tell(const struct table *t, const char *fmt, ...)
{
	char text[400];
	va_list ap;

	if (!t->options.on_event)
		return;
	va_start(ap, fmt);
	(void)vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	t->options.on_event(t->options.arg, text);
}

void
table_event(struct table *t, const char *fmt, ...)
{
	char text[400];
	va_list ap;

	if (t->events++ >= EVENTS_MAX)
		return;
	va_start(ap, fmt);
	(void)vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	tell(t, "%s", text);
}

bool
table_set_path(struct table *t, struct span path, struct fail *why)
{
	if (path.n == 0 || path.p[0] != '/')
		return fail_set(why, FAIL_PERM, 0, "the file of %.*s must be a whole path, from /", SPAN_ARG(t->spec));
	t->path = arena_cstr(&t->memory, path);
	return t->path || fail_set(why, FAIL_TEMP, 0, "no memory for %.*s", SPAN_ARG(t->spec));
}

bool
table_same_file(const struct stat *a, const struct stat *b)
{
	return a->st_ino == b->st_ino && a->st_dev == b->st_dev && a->st_size == b->st_size &&
	    a->st_mtim.tv_sec == b->st_mtim.tv_sec &&
	    a->st_mtim.tv_nsec == b->st_mtim.tv_nsec;
}

static bool
read_whole(int fd, const char *path, char *text, size_t n, struct fail *why)
{
	size_t at = 0;

	while (at < n) {
		ssize_t got = read(fd, text + at, n - at);

		if (got < 0 && errno == EINTR)
			continue;
		if (got < 0)
			return fail_errno(why, 0, "read %s", path);
		if (got == 0)
			return fail_set(why, FAIL_TEMP, 0, "%s changed while it was read", path);
		at += (size_t)got;
	}
	return true;
}

bool
table_read_source(struct table *t, char **text, size_t *n, struct stat *seen, struct fail *why)
{
	int fd = open(t->path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
	bool ok;

	*text = NULL;
	*n = 0;
	if (fd < 0)
		return fail_errno(why, 0, "open %s", t->path);
	if (fstat(fd, seen) != 0)
		ok = fail_errno(why, 0, "look at %s", t->path);
	else if (!S_ISREG(seen->st_mode))
		ok = fail_set(why, FAIL_TEMP, 0, "%s is not a file", t->path);
	else if (seen->st_size > TABLE_FILE_MAX)
		ok = fail_set(why, FAIL_TEMP, 0, "%s is larger than %d bytes", t->path, TABLE_FILE_MAX);
	else if (!(*text = malloc((size_t)seen->st_size + 1)))
		ok = fail_errno(why, 0, "read %s", t->path);
	else
		ok = read_whole(fd, t->path, *text, *n = (size_t)seen->st_size, why);
	close(fd);
	if (!ok) {
		free(*text);
		*text = NULL;
	}
	return ok;
}

static const struct table_kind *
kind_named(struct span name)
{
	for (size_t i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++)
		if (span_eq(name, span_str(kinds[i].name)))
			return kinds[i].kind;
	return NULL;
}

bool
table_open(struct span spec, const struct table_options *options, struct table **out, struct fail *why)
{
	size_t colon = span_chr(spec, ':');
	const struct table_kind *kind = kind_named(span_sub(spec, 0, colon));
	struct table *t;

	*out = NULL;
	if (colon == SIZE_MAX || !kind)
		return fail_set(why, FAIL_PERM, 0, "\"%.*s\" is no table", SPAN_ARG(spec));
	t = calloc(1, sizeof(*t));
	if (!t)
		return fail_errno(why, 0, "open %.*s", SPAN_ARG(spec));
	t->kind = kind;
	t->options = *options;
	t->checked_ms = -1;
	fail_set(&t->unloaded, FAIL_TEMP, 0, "%.*s has not been read", SPAN_ARG(spec));
	arena_init(&t->memory, SPEC_MEMORY);
	t->spec = arena_dup(&t->memory, spec);
	if (!t->spec.p || !kind->open(t, span_from(t->spec, colon + 1), why)) {
		if (!t->spec.p)
			fail_set(why, FAIL_TEMP, 0, "no memory for a table");
		table_close(&t);
		return false;
	}
	*out = t;
	return true;
}

static bool
broken_load(struct table *t, struct fail *why)
{
	if (why)
		*why = t->unloaded;
	return false;
}

static void
broken_close(struct table *t)
{
	(void)t;
}

static const struct table_kind table_kind_broken = { .name = "broken", .close = broken_close, .load = broken_load };

struct table *
table_open_broken(struct span spec, const struct fail *reason)
{
	struct table *t = calloc(1, sizeof(*t));

	if (!t)
		return NULL;
	t->kind = &table_kind_broken;
	arena_init(&t->memory, SPEC_MEMORY);
	t->spec = arena_dup(&t->memory, spec);
	t->unloaded = *reason;
	t->unloaded.class = FAIL_TEMP;
	return t;
}

void
table_close(struct table **table)
{
	struct table *t = *table;

	if (!t)
		return;
	t->kind->close(t);
	arena_free(&t->memory);
	free(t);
	*table = NULL;
}

struct span
table_spec(const struct table *table)
{
	return table->spec;
}

bool
table_has_patterns(const struct table *table)
{
	return table->kind->patterns;
}

const char *
table_path(const struct table *table)
{
	return table->path;
}

bool
table_rebuild(struct table *t, struct fail *why)
{
	struct fail own;
	bool ok;

	t->events = 0;
	ok = t->kind->load(t, &own);
	if (t->events > EVENTS_MAX)
		tell(t, "%.*s: and %u things more", SPAN_ARG(t->spec), t->events - EVENTS_MAX);
	if (ok) {
		t->loaded = true;
		return true;
	}
	/* once for each new cause: a lasting one would fill the log */
	if (strcmp(own.text, t->unloaded.text) != 0)
		tell(t, "%.*s: %s", SPAN_ARG(t->spec), own.text);
	t->unloaded = own;
	t->unloaded.class = FAIL_TEMP;
	if (why)
		*why = t->unloaded;
	return false;
}

static bool
look(const struct table *t, struct stat *now)
{
	return t->path && (stat(t->path, now) == 0 || (t->made && stat(t->made, now) == 0));
}

/* Written into, and a moment ago: whoever does so may be on the way, and who is not in it yet would be refused for good.
 * Another file in its place is whole. */
static bool
being_written(const struct table *t, const struct stat *now)
{
	struct timespec wall;
	int64_t age_ms;

	if (now->st_ino != t->seen.st_ino || now->st_dev != t->seen.st_dev)
		return false;
	(void)clock_gettime(CLOCK_REALTIME, &wall);
	age_ms = (wall.tv_sec - now->st_mtim.tv_sec) * 1000 + (wall.tv_nsec - now->st_mtim.tv_nsec) / 1000000;
	return age_ms < QUIET_MS && age_ms > -SKEW_MS;
}

void
table_refresh(struct table *t, int64_t now_ms)
{
	struct stat now;

	if (t->checked_ms >= 0 && now_ms - t->checked_ms < CHECK_INTERVAL_MS)
		return;
	t->checked_ms = now_ms;
	if (t->loaded && (!look(t, &now) || table_same_file(&now, &t->seen) || being_written(t, &now)))
		return;
	(void)table_rebuild(t, NULL);
}

enum table_found
table_lookup(struct table *t, struct span key, struct arena *arena, struct span *value, struct fail *why)
{
	char lower[TABLE_KEY_MAX];

	*value = SPAN_NONE;
	if (key.n == 0 || key.n > sizeof(lower))
		return TABLE_NONE;
	if (!t->loaded && t->checked_ms < 0) {
		t->checked_ms = 0;
		(void)table_rebuild(t, NULL);
	}
	if (!t->loaded) {
		if (why)
			*why = t->unloaded;
		return TABLE_FAILED;
	}
	for (size_t i = 0; i < key.n; i++)
		lower[i] = ascii_lower(key.p[i]);
	return t->kind->lookup(t, span_of(lower, key.n), arena, value, why);
}
