/* SPDX-License-Identifier: ISC */
#include "memo.h"

#include <errno.h>
#include <sys/stat.h>

#include "log/log.h"

enum {
	COMMIT_MS = 1000,
	BATCH_MAX = 500, /* Berkeley DB locks pages until the end of it */
	SWEEP_MS = 10 * 60 * 1000,
	SWEEP_MAX = 2000, /* forgotten in one go */
	KEY_MAX = 1100,
};

/* ---- batches ---- */

static void
on_commit(struct timer *t)
{
	struct memo *m = OWNER_OF(t, struct memo, commit);
	struct fail why;

	if (!m->batched)
		return;
	m->batched = 0;
	if (!bdb_batch_commit(m->env, &why))
		log_put(LOG_failure, "%s: %s", m->name, why.text);
}

static bool
batch(struct memo *m, struct fail *why)
{
	if (m->batched >= BATCH_MAX)
		on_commit(&m->commit);
	if (!m->batched) {
		if (!bdb_batch_begin(m->env, why))
			return false;
		(void)timer_set(&m->commit, COMMIT_MS);
	}
	m->batched++;
	return true;
}

/* ---- what has been too long ---- */

struct sweep {
	struct memo *m;
	uint64_t now_s;
	struct arena mem;
	struct span old[SWEEP_MAX];
	size_t n, seen;
};

static bool
collect(void *arg, struct span key, struct span value)
{
	struct sweep *s = arg;

	s->seen++;
	if (s->m->outdated(s->m, value, s->now_s)) {
		s->old[s->n] = arena_dup(&s->mem, key);
		s->n += s->old[s->n].n > 0;
	}
	return s->n < SWEEP_MAX;
}

static void
on_sweep(struct timer *t)
{
	struct memo *m = OWNER_OF(t, struct memo, sweep);
	struct sweep s = { .m = m, .now_s = (uint64_t)(loop_wall_ms(m->loop) / 1000) };
	struct fail why = { .text = "" };
	bool ok;

	on_commit(&m->commit);
	arena_init(&s.mem, (size_t)SWEEP_MAX * (KEY_MAX + 64));
	ok = bdb_each(m->db, SPAN(""), collect, &s, &why);
	for (size_t i = 0; ok && i < s.n; i++)
		ok = batch(m, &why) && bdb_del(m->db, s.old[i], &why);
	on_commit(&m->commit);
	if (!ok || !bdb_env_checkpoint(m->env, &why))
		log_put(LOG_failure, "%s: %s", m->name, why.text);
	else if (s.n < SWEEP_MAX) /* it has been through all */
		m->entries = s.seen - s.n;
	arena_free(&s.mem);
	(void)timer_set(&m->sweep, SWEEP_MS);
}

/* ---- life ---- */

void
memo_init(struct memo *m, struct loop *loop, const char *name, bool (*outdated)(const struct memo *m, struct span value, uint64_t now_s))
{
	*m = (struct memo){ .loop = loop, .name = name, .outdated = outdated };
	timer_init(&m->commit, loop, on_commit);
	timer_init(&m->sweep, loop, on_sweep);
}

bool
memo_open(struct memo *m, const char *dir, struct fail *why)
{
	if (m->db)
		return true;
	if (mkdir(dir, 0700) < 0 && errno != EEXIST)
		return fail_errno(why, 0, "mkdir %s", dir);
	if (!bdb_env_open(dir, &m->env, why))
		return false;
	if (!bdb_open(m->env, m->name, BDB_BTREE, &m->db, why)) {
		bdb_env_close(&m->env);
		return false;
	}
	(void)timer_set(&m->sweep, SWEEP_MS);
	return true;
}

void
memo_close(struct memo *m)
{
	struct fail why;

	on_commit(&m->commit);
	timer_stop(&m->commit);
	timer_stop(&m->sweep);
	if (m->db)
		(void)bdb_close(&m->db, &why);
	if (m->env)
		bdb_env_close(&m->env);
}

/* ---- entries ---- */

enum bdb_found
memo_get(struct memo *m, struct span key, struct arena *arena, struct span *value, struct fail *why)
{
	return bdb_get(m->db, key, arena, value, why);
}

bool
memo_put(struct memo *m, struct span key, struct span value, bool is_new, struct fail *why)
{
	m->entries += is_new;
	return batch(m, why) && bdb_put(m->db, key, value, why);
}

bool
memo_each(struct memo *m, struct span prefix, bool (*visit)(void *arg, struct span key, struct span value), void *arg, struct fail *why)
{
	on_commit(&m->commit);
	return bdb_each(m->db, prefix, visit, arg, why);
}

bool
memo_forget(struct memo *m, struct span key, struct fail *why)
{
	m->entries -= m->entries > 0;
	return batch(m, why) && bdb_del(m->db, key, why);
}
