/* SPDX-License-Identifier: ISC */
#include "daemons/stsd/store.h"

#include <string.h>

enum { VERSION = 1, HEAD = 19, SWEEP_MAX = 2000 /* forgotten in one go */ };

static uint64_t
number(const char *p, size_t bytes)
{
	uint64_t v = 0;

	while (bytes--)
		v = v << 8 | (unsigned char)p[bytes];
	return v;
}

void
store_encode(struct buf *out, const struct entry *e)
{
	size_t n = strlen(e->id);

	buf_putc(out, VERSION);
	buf_putc(out, (char)e->mode);
	buf_le64(out, (uint64_t)e->fetched_s);
	buf_le64(out, (uint64_t)e->expires_s);
	buf_putc(out, (char)n);
	buf_put(out, span_of(e->id, n));
	buf_put(out, e->patterns);
}

bool
store_decode(struct span value, struct entry *out)
{
	size_t n;

	if (value.n < HEAD || value.p[0] != VERSION || (unsigned char)value.p[1] > POLICY_ENFORCE)
		return false;
	*out = (struct entry){ .mode = (enum policy_mode)value.p[1], .fetched_s = (int64_t)number(value.p + 2, 8),
		.expires_s = (int64_t)number(value.p + 10, 8) };
	n = (unsigned char)value.p[18];
	value = span_from(value, HEAD);
	if (n > value.n || !span_cstr(span_sub(value, 0, n), out->id, sizeof(out->id)))
		return false;
	out->patterns = span_from(value, n);
	return true;
}

bool
store_open(struct store *s, const char *dir, struct fail *why)
{
	if (s->db)
		return true;
	if (!bdb_env_open(dir, &s->env, why))
		return false;
	if (bdb_open(s->env, "policies", BDB_BTREE, &s->db, why))
		return true;
	bdb_env_close(&s->env);
	return false;
}

void
store_close(struct store *s)
{
	struct fail why;

	if (s->db)
		(void)bdb_close(&s->db, &why);
	if (s->env)
		bdb_env_close(&s->env);
}

bool
store_get(struct store *s, struct span domain, struct arena *arena, struct entry *out)
{
	struct fail why;
	struct span value;

	return s->db && bdb_get(s->db, domain, arena, &value, &why) == BDB_FOUND && store_decode(value, out);
}

bool
store_put(struct store *s, struct span domain, const struct entry *e, struct fail *why)
{
	struct buf value;
	bool ok;

	if (!s->db)
		return true;
	buf_init(&value, HEAD + POLICY_ID + POLICY_PATTERNS_MAX);
	store_encode(&value, e);
	ok = buf_ok(&value) ? bdb_put(s->db, domain, buf_span(&value), why) : fail_set(why, FAIL_LIMIT, 0, "the policy is too long to be kept");
	buf_free(&value);
	return ok;
}

struct visit {
	bool (*visit)(void *arg, struct span domain, const struct entry *e);
	void *arg;
};

static bool
on_pair(void *arg, struct span key, struct span value)
{
	const struct visit *v = arg;
	struct entry e;

	return !store_decode(value, &e) || v->visit(v->arg, key, &e);
}

bool
store_each(struct store *s, bool (*visit)(void *arg, struct span domain, const struct entry *e), void *arg, struct fail *why)
{
	struct visit v = { visit, arg };

	return !s->db || bdb_each(s->db, SPAN(""), on_pair, &v, why);
}

struct sweep {
	int64_t now_s;
	struct arena mem;
	struct span old[SWEEP_MAX];
	size_t n;
};

static bool
collect(void *arg, struct span key, struct span value)
{
	struct sweep *w = arg;
	struct entry e;

	if (!store_decode(value, &e) || e.expires_s < w->now_s) {
		w->old[w->n] = arena_dup(&w->mem, key);
		w->n += w->old[w->n].n > 0;
	}
	return w->n < SWEEP_MAX;
}

bool
store_sweep(struct store *s, int64_t now_s, struct fail *why)
{
	struct sweep w = { .now_s = now_s };
	bool ok;

	if (!s->db)
		return true;
	arena_init(&w.mem, (size_t)SWEEP_MAX * 512);
	ok = bdb_each(s->db, SPAN(""), collect, &w, why);
	for (size_t i = 0; ok && i < w.n; i++)
		ok = bdb_del(s->db, w.old[i], why);
	ok = ok && bdb_env_checkpoint(s->env, why);
	arena_free(&w.mem);
	return ok;
}
