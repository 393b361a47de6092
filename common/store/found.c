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

/* Most names: the sizes in them, no parts that are not ours. */
static bool
is_plain(const struct maildir_name *name)
{
	return !name->odd.n && name->size <= UINT32_MAX && name->vsize <= UINT32_MAX;
}

bool
found_add(struct found *f, struct span name, const struct maildir_name *parsed, bool in_new)
{
	struct found_file file = { .at = (uint32_t)buf_len(&f->names), .n = (uint8_t)name.n, .nbase = (uint8_t)parsed->base.n, .in_new = in_new };

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
	file.time = found_time(name);
	file.next = octets_behind(file.time, name);
	if (is_plain(parsed)) {
		file.plain = true;
		file.letters = parsed->letters;
		file.size = (uint32_t)parsed->size;
		file.vsize = (uint32_t)parsed->vsize;
	}
	f->files[f->n++] = file;
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

void
found_parts(const struct found *f, const struct found_file *file, struct maildir_name *out)
{
	struct span name = found_next(f, file);

	if (file->plain)
		*out = (struct maildir_name){ .base = span_sub(name, 0, file->nbase), .letters = file->letters, .size = file->size, .vsize = file->vsize };
	else
		(void)maildir_name_parse(name, out); /* it was one when it was added */
}

/* ---- order ---- */

/* Of one time. */
static int
by_name(const void *a, const void *b, void *arg)
{
	const struct found *f = arg;
	const struct found_file *x = &f->files[((const struct radix_item *)a)->at], *y = &f->files[((const struct radix_item *)b)->at];

	if (x->next != y->next && x->next && y->next)
		return x->next < y->next ? -1 : 1;
	return span_cmp(found_name(f, x), found_name(f, y));
}

bool
found_sort(struct found *f)
{
	struct radix_item *items = malloc((f->n * 2 + 1) * sizeof *items), *order;
	struct found_file *files = malloc((f->n + 1) * sizeof *files);

	if (!items || !files) {
		free(items);
		free(files);
		return false;
	}
	for (size_t i = 0; i < f->n; i++)
		items[i] = (struct radix_item){ f->files[i].time, i };
	order = radix_sort(items, f->n);
	for (size_t i = 0, end; i < f->n; i = end) {
		for (end = i + 1; end < f->n && order[end].key == order[i].key; end++)
			__builtin_prefetch(&f->files[order[end + AHEAD < f->n ? end + AHEAD : end].at]);
		if (end - i > 1)
			qsort_r(order + i, end - i, sizeof *order, by_name, f);
		for (size_t k = i; k < end; k++)
			files[k] = f->files[order[k].at];
	}
	free(items);
	free(f->files);
	f->files = files;
	f->size = f->n;
	return true;
}
