/* SPDX-License-Identifier: ISC */
#include <stdlib.h>
#include <string.h>

#include "mail/mime.h"

static void
check(const struct mime_extent *e, struct span m)
{
	size_t lines = 0, bare = 0;

	if (e->at > m.n || e->n > m.n - e->at)
		abort();
	for (size_t i = e->at; i < e->at + e->n; i++) {
		lines += m.p[i] == '\n';
		bare += m.p[i] == '\n' && (i == 0 || m.p[i - 1] != '\r');
	}
	if (lines != e->lines || bare != e->bare)
		abort();
}

static void
visit(const struct mime_part *p, struct span m, struct buf *out)
{
	check(&p->header, m);
	check(&p->body, m);
	if ((p->kind == MIME_LEAF) != (p->children == NULL) || !p->type.n || !p->subtype.n)
		abort();
	(void)param_get(&p->params, SPAN("name"), out);
	(void)param_get(&p->disposition_params, SPAN("filename"), out);
	for (const struct mime_part *it = p->children; it; it = it->next)
		visit(it, m, out);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const unsigned path[] = { 1, 2, 1 };
	struct span in = span_of(data, size);
	struct arena arena;
	struct buf out;
	struct mime_part *root;

	arena_init(&arena, size > 3 && data[size - 1] == 'x' ? 2000 : 1 << 22);
	buf_init(&out, 1 << 20);
	root = mime_parse(in, &arena);
	if (root) {
		visit(root, in, &out);
		mime_describe(root, &out);
		for (size_t n = 0; n <= 3; n++)
			(void)mime_find(root, path, n);
	}
	buf_free(&out);
	arena_free(&arena);
	return 0;
}
