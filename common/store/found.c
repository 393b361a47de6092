/* SPDX-License-Identifier: ISC */
#include "store/found.h"

#include <stdlib.h>

#include "base/radix.h"
#include "store/index.h"

enum {
	NAMES_MAX = 1 << 30,
	AHEAD = 8, /* names lie as the directory had them, which is in no order: the processor waits for each one that it does not expect */
};

void
found_init(struct found *f)
{
	*f = (struct found){ .n = 0 };
	buf_init(&f->names, NAMES_MAX);
}

void
found_free(struct found *f)
{
	free(f->files);
	buf_free(&f->names);
	f->files = NULL;
	f->n = f->size = 0;
}

static struct span
first_part(struct span name)
{
	name = span_sub(name, 0, span_chr(name, '.'));
	return span_sub(name, 0, span_chr(name, ':'));
}

/* "1700000000.M123...", of the base name alone: all files of one have one time. */
uint64_t
found_time(struct span name)
{
	uint64_t time = 0;

	(void)span_u64(first_part(name), UINT64_MAX, &time);
	return time;
}

/* As a number of the same order; 0 where names of this time may differ before, or the base name ends there. */
static uint64_t
octets_behind(uint64_t time, struct span name)
{
	uint64_t octets = 0;

	if (!time || name.p[0] == '0')
		return 0;
	name = span_from(name, first_part(name).n);
	for (size_t i = 0; i < sizeof octets; i++) {
		if (i == name.n || name.p[i] == ':')
			return 0;
		octets = octets << 8 | (unsigned char)name.p[i];
	}
	return octets;
}

int
found_compare(uint64_t ta, struct span a, uint64_t tb, struct span b)
{
	return ta < tb ? -1 : ta > tb ? 1 : span_cmp(a, b);
}

bool
found_add(struct found *f, struct span name, bool in_new)
{
	uint64_t time;

	if (f->n == INDEX_MESSAGES_MAX)
		return false;
	if (f->n == f->size) {
		size_t size = f->size ? f->size * 2 : 64;
		struct found_file *more = realloc(f->files, size * sizeof *more);

		if (!more)
			return false;
		f->files = more;
		f->size = size;
	}
	time = found_time(name);
	f->files[f->n++] = (struct found_file){ .time = time, .next = octets_behind(time, name), .at = (uint32_t)buf_len(&f->names), .n = (uint8_t)name.n, .in_new = in_new };
	buf_put(&f->names, name);
	return buf_ok(&f->names);
}

struct span
found_name(const struct found *f, const struct found_file *file)
{
	return span_sub(buf_span(&f->names), file->at, file->n);
}

/* (Not a function that fetches: gcc takes one without a result for one without effect.) */
static const char *
name_ahead(const struct found *f, const struct found_file *file)
{
	return (size_t)(f->files + f->n - file) > AHEAD ? buf_span(&f->names).p + file[AHEAD].at : NULL;
}

struct span
found_next(const struct found *f, const struct found_file *file)
{
	__builtin_prefetch(name_ahead(f, file));
	return found_name(f, file);
}

/* ---- order ---- */

static int
by_name(const void *a, const void *b, void *arg)
{
	const struct found_file *x = a, *y = b;

	if (x->next != y->next && x->next && y->next)
		return x->next < y->next ? -1 : 1;
	return span_cmp(found_name(arg, x), found_name(arg, y));
}

bool
found_sort(struct found *f)
{
	struct radix_item *items = calloc(f->n * 2 + 1, sizeof *items), *in_order;
	struct found_file *files = calloc(f->n + 1, sizeof *files);

	if (!items || !files) {
		free(items);
		free(files);
		return false;
	}
	for (size_t i = 0; i < f->n; i++)
		items[i] = (struct radix_item){ f->files[i].time, i };
	in_order = radix_sort(items, f->n);
	for (size_t i = 0; i < f->n; i++)
		files[i] = f->files[in_order[i].at];
	free(items);
	free(f->files);
	f->files = files;
	f->size = f->n;
	for (size_t i = 0, end; i < f->n; i = end) {
		for (end = i + 1; end < f->n && files[end].time == files[i].time; end++)
			__builtin_prefetch(name_ahead(f, &files[end]));
		if (end - i > 1)
			qsort_r(files + i, end - i, sizeof *files, by_name, f);
	}
	return true;
}
