/* SPDX-License-Identifier: ISC
 *
 * Keys are users and peers; a value is the version, then words: count, time, and why, which is the rest; in version 2 up to
 * a line feed, and behind it the input.
 */
#include "table/crashes.h"

#include <string.h>

#include "base/buf.h"
#include "table/userdb.h"

enum { VALUE_MAX = 256 + CRASHES_INPUT };

static bool
decode(struct span key, struct span value, struct crash_row *row)
{
	struct span rest = span_from(value, 1), count, last;
	uint64_t n = 0;

	if (value.n == 0 || (value.p[0] != CRASHES_VERSION && value.p[0] != CRASHES_VERSION_INPUT) || key.n == 0 || key.n > USERDB_NAME)
		return false;
	count = span_cut(&rest, ' ');
	last = span_cut(&rest, ' ');
	row->user = key;
	if (value.p[0] == CRASHES_VERSION_INPUT) {
		row->why = span_sub(span_cut(&rest, '\n'), 0, CRASHES_WHY);
		row->input = span_sub(rest, 0, CRASHES_INPUT);
	} else {
		row->why = span_sub(rest, 0, CRASHES_WHY);
	}
	if (!span_u64(count, UINT32_MAX, &n) || n == 0 || !span_u64(last, UINT64_MAX, &row->last_ms))
		return false;
	row->count = (uint32_t)n;
	return true;
}

static bool
count_one(void *arg, struct span key, struct span value)
{
	(void)key, (void)value;
	return ++*(size_t *)arg < USERDB_CRASHES_MAX;
}

/* 1: the value is there as it is to be; 0: another is, or none; -1: it cannot be read. */
static int
have(const struct crashes *c, struct span user, struct span value, bool *any, struct fail *why)
{
	struct arena mem;
	struct span now;
	enum bdb_found found;
	bool same;

	arena_init(&mem, VALUE_MAX * 2);
	found = bdb_get(c->db, user, &mem, &now, why);
	*any = found == BDB_FOUND;
	same = found == BDB_FOUND && span_eq(now, value);
	arena_free(&mem);
	return found == BDB_FAILED ? -1 : same;
}

bool
crashes_set(const struct crashes *c, const struct crash_row *row, struct fail *why)
{
	struct buf value;
	size_t all = 0;
	bool any = false, ok = true;
	int is;

	if (row->user.n == 0 || row->user.n > USERDB_NAME)
		return fail_set(why, FAIL_PERM, 0, "a name is too long");
	if (row->count == 0)
		return bdb_del(c->db, row->user, why);
	buf_init(&value, VALUE_MAX);
	buf_putc(&value, row->input.n ? CRASHES_VERSION_INPUT : CRASHES_VERSION); /* what older releases know is as they know it */
	buf_put_u64(&value, row->count);
	buf_putc(&value, ' ');
	buf_put_u64(&value, row->last_ms);
	buf_putc(&value, ' ');
	buf_put(&value, span_sub(row->why, 0, CRASHES_WHY));
	if (row->input.n)
		buf_putc(&value, '\n');
	buf_put(&value, span_sub(row->input, 0, CRASHES_INPUT));
	is = have(c, row->user, buf_span(&value), &any, why);
	ok = is >= 0 && (any || bdb_each(c->db, SPAN(""), count_one, &all, why));
	if (ok && !any && all >= USERDB_CRASHES_MAX)
		ok = fail_set(why, FAIL_LIMIT, 0, "too many mailboxes and peers have crashed");
	ok = ok && (is == 1 || bdb_put(c->db, row->user, buf_span(&value), why));
	buf_free(&value);
	return ok;
}

struct each {
	bool (*visit)(void *, const struct crash_row *);
	void *arg;
};

static bool
each_row(void *arg, struct span key, struct span value)
{
	const struct each *e = arg;
	struct crash_row row = { .count = 0 };

	return !decode(key, value, &row) || e->visit(e->arg, &row);
}

bool
crashes_each(const struct crashes *c, bool (*visit)(void *, const struct crash_row *), void *arg, struct fail *why)
{
	struct each e = { visit, arg };

	return bdb_each(c->db, SPAN(""), each_row, &e, why);
}
