/* SPDX-License-Identifier: ISC */
#include <stdlib.h>
#include <string.h>

#include "mail/charset.h"
#include "mail/downgrade.h"
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

/* What was converted has the same structure and nothing in it that was to go. */
static void
check_downgrade(struct span in, const struct mime_part *root, unsigned what)
{
	struct arena arena;
	struct buf to, before, after;
	struct mime_part *again;

	arena_init(&arena, 1 << 24);
	buf_init(&to, 1 << 22);
	buf_init(&before, 1 << 20);
	buf_init(&after, 1 << 20);
	if (downgrade(&to, in, what, &arena, NULL)) {
		again = mime_parse(buf_span(&to), &arena);
		if (!again)
			abort();
		mime_describe(root, &before);
		mime_describe(again, &after);
		if (!span_eq(buf_span(&before), buf_span(&after)))
			abort();
		for (const struct mime_part *it = again; it; it = it->children)
			if (what & DOWNGRADE_8BIT && it->kind == MIME_LEAF && utf8_has_8bit(mime_span(buf_span(&to), &it->body)))
				abort();
	}
	arena_free(&arena);
	buf_free(&to);
	buf_free(&before);
	buf_free(&after);
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
		for (unsigned what = DOWNGRADE_8BIT; arena.cap > 2000 && what <= (DOWNGRADE_8BIT | DOWNGRADE_BINARY); what++)
			check_downgrade(in, root, what);
		for (size_t n = 0; n <= 3; n++)
			(void)mime_find(root, path, n);
	}
	buf_free(&out);
	arena_free(&arena);
	return 0;
}
