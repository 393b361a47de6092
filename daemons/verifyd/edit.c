/* SPDX-License-Identifier: ISC */
#include "edit.h"

#include "mail/header.h"

static struct field *
field_of(struct list *node)
{
	return OWNER_OF(node, struct field, node);
}

bool
edit_init(struct edit *e, struct span header, size_t hidden, size_t cap)
{
	struct header_walk walk = header_walk(header);
	struct header_field f;

	*e = (struct edit){ .count = 0 };
	list_init(&e->fields);
	arena_init(&e->mem, cap);
	while (header_next(&walk, &f)) {
		struct field *field = e->count < EDIT_FIELDS_MAX ? ARENA_NEW(&e->mem, struct field) : NULL;

		if (!field)
			return false;
		field->name = f.name;
		field->value = f.value;
		field->whole = f.whole;
		field->hidden = f.whole.p < header.p + hidden;
		list_push(&e->fields, &field->node);
		e->count++;
	}
	return walk.at == header.n; /* what no filter would see must not pass */
}

void
edit_free(struct edit *e)
{
	arena_free(&e->mem);
	*e = (struct edit){ .count = 0 };
}

/* name: value, its lines made continuation lines. */
static bool
put_field(struct buf *out, struct span name, struct span value)
{
	bool eightbit = false;

	buf_put(out, name);
	buf_putc(out, ':');
	if (!value.n || !ascii_blank(value.p[0]))
		buf_putc(out, ' ');
	while (value.n && (value.p[value.n - 1] == '\n' || value.p[value.n - 1] == '\r'))
		value.n--;
	while (value.p) {
		struct span line = span_cut(&value, '\n');

		for (size_t i = 0; i < line.n; i++) {
			eightbit |= (unsigned char)line.p[i] > 127;
			if (line.p[i] != '\r' && line.p[i] != '\0')
				buf_putc(out, line.p[i]);
		}
		buf_puts(out, "\r\n");
		if (value.p && (!value.n || !ascii_blank(value.p[0])))
			buf_putc(out, '\t');
	}
	return eightbit;
}

/* A list node's fields, made of name and value. NULL: no room. */
static struct field *
make(struct edit *e, struct span name, struct span value)
{
	struct field *f = e->count < EDIT_FIELDS_MAX ? ARENA_NEW(&e->mem, struct field) : NULL;
	struct buf text;
	bool eightbit;

	if (!f)
		return NULL;
	buf_init(&text, name.n + value.n * 2 + 16);
	eightbit = put_field(&text, name, value.p ? value : SPAN(""));
	f->whole = buf_ok(&text) ? arena_dup(&e->mem, buf_span(&text)) : SPAN_NONE;
	buf_free(&text);
	if (!f->whole.n)
		return NULL;
	f->name = span_sub(f->whole, 0, name.n);
	f->value = span_sub(f->whole, name.n + 1, f->whole.n - name.n - 3);
	e->changed = true;
	e->eightbit |= eightbit;
	e->count++;
	return f;
}

bool
edit_add(struct edit *e, struct span name, struct span value)
{
	struct field *f = make(e, name, value);

	if (f)
		list_push(&e->fields, &f->node);
	return f != NULL;
}

bool
edit_insert(struct edit *e, uint32_t index, struct span name, struct span value)
{
	struct list *before = e->fields.next;
	struct field *f = make(e, name, value);

	if (!f)
		return false;
	for (uint32_t at = 0; at < index && before != &e->fields; at++)
		before = before->next;
	list_push(before, &f->node); /* in front of it */
	return true;
}

static void
drop(struct edit *e, struct field *f)
{
	list_remove(&f->node);
	e->count--;
	e->changed = true;
}

bool
edit_change(struct edit *e, uint32_t nth, struct span name, struct span value)
{
	uint32_t seen = 0;

	LIST_EACH(&e->fields, it) {
		struct field *f = field_of(it), *fresh;

		if (f->hidden || !span_caseeq(f->name, name) || ++seen < nth)
			continue;
		if (!value.n) {
			drop(e, f);
			return true;
		}
		fresh = make(e, name, value);
		if (!fresh)
			return false;
		list_insert(&f->node, &fresh->node);
		drop(e, f);
		return true;
	}
	return !value.n || edit_add(e, name, value);
}

const struct field *
edit_next(const struct edit *e, const struct field *f)
{
	const struct list *it = f ? f->node.next : e->fields.next;

	while (it != &e->fields && OWNER_OF(it, const struct field, node)->hidden)
		it = it->next;
	return it == &e->fields ? NULL : OWNER_OF(it, const struct field, node);
}

void
edit_put(const struct edit *e, struct buf *out)
{
	for (const struct list *it = e->fields.next; it != &e->fields; it = it->next)
		buf_put(out, OWNER_OF(it, const struct field, node)->whole);
}

void
edit_lines_put(struct edit_lines *l, struct buf *out, struct span bytes)
{
	for (size_t i = 0; i < bytes.n;) {
		size_t n = i;
		char c;

		while (n < bytes.n && bytes.p[n] != '\r' && bytes.p[n] != '\n' && bytes.p[n] != '\0') {
			l->eightbit |= (unsigned char)bytes.p[n] > 127;
			n++;
		}
		if (n > i) {
			if (l->cr)
				buf_puts(out, "\r\n"); /* a CR alone ended a line */
			l->cr = false;
			l->last = bytes.p[n - 1];
			buf_put(out, span_sub(bytes, i, n - i));
		}
		if (n == bytes.n)
			return;
		c = bytes.p[n];
		if (c == '\r') {
			if (l->cr)
				buf_puts(out, "\r\n");
			l->cr = true;
			l->last = '\n';
		} else if (c == '\n') {
			buf_puts(out, "\r\n");
			l->cr = false;
			l->last = '\n';
		}
		i = n + 1;
	}
}

void
edit_lines_end(struct edit_lines *l, struct buf *out)
{
	if (l->cr || (l->last && l->last != '\n'))
		buf_puts(out, "\r\n");
	l->cr = false;
}
