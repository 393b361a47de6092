/* SPDX-License-Identifier: ISC
 *
 * Keys: "g" guest NUL owner, whose value is the version; "o" owner, whose value
 * is the version and how many rows name it.
 */
#include "table/shares.h"

#include <string.h>

#include "table/userdb.h"

enum { KEY_MAX = 2 * USERDB_NAME + 2, SCRATCH = 4096, KEYS_MAX = 64 << 20 };

struct key {
	char text[KEY_MAX];
	size_t n;
};

static void
add(struct key *k, struct span s)
{
	if (s.n > sizeof(k->text) - k->n)
		s.n = sizeof(k->text) - k->n;
	memcpy(k->text + k->n, s.p, s.n);
	k->n += s.n;
}

static struct span
row_key(struct key *k, struct span guest, struct span owner)
{
	k->n = 0;
	add(k, SPAN("g"));
	add(k, guest);
	add(k, span_of("", 1));
	add(k, owner);
	return span_of(k->text, k->n);
}

static struct span
count_key(struct key *k, struct span owner)
{
	k->n = 0;
	add(k, SPAN("o"));
	add(k, owner);
	return span_of(k->text, k->n);
}

/* False: the database cannot be read. */
static bool
count_of(const struct shares *s, struct span owner, uint64_t *n, struct fail *why)
{
	struct arena mem;
	struct span value;
	struct key k;
	enum bdb_found found;

	arena_init(&mem, SCRATCH);
	found = bdb_get(s->db, count_key(&k, owner), &mem, &value, why);
	*n = 0;
	if (found == BDB_FOUND && value.n > 1)
		(void)span_u64(span_from(value, 1), UINT32_MAX, n);
	arena_free(&mem);
	return found != BDB_FAILED;
}

static bool
put_count(const struct shares *s, struct span owner, uint64_t n, struct fail *why)
{
	struct key k;
	struct buf value;
	bool ok;

	if (!n)
		return bdb_del(s->db, count_key(&k, owner), why);
	buf_init(&value, 32);
	buf_putc(&value, SHARES_VERSION);
	buf_put_u64(&value, n);
	ok = bdb_put(s->db, count_key(&k, owner), buf_span(&value), why);
	buf_free(&value);
	return ok;
}

enum bdb_found
shares_has(const struct shares *s, struct span owner, struct span guest, struct fail *why)
{
	struct arena mem;
	struct span value;
	struct key k;
	enum bdb_found found;

	if (owner.n > USERDB_NAME || guest.n > USERDB_NAME)
		return BDB_NONE;
	arena_init(&mem, SCRATCH);
	found = bdb_get(s->db, row_key(&k, guest, owner), &mem, &value, why);
	arena_free(&mem);
	return found;
}

bool
shares_set(const struct shares *s, struct span owner, struct span guest, bool on, struct fail *why)
{
	const char version = SHARES_VERSION;
	enum bdb_found found = shares_has(s, owner, guest, why);
	uint64_t n;
	struct key k;
	bool ok;

	if (owner.n > USERDB_NAME || guest.n > USERDB_NAME)
		return fail_set(why, FAIL_PERM, 0, "a name is too long");
	if (found == BDB_FAILED || !count_of(s, owner, &n, why))
		return false;
	if (on == (found == BDB_FOUND))
		return true;
	if (on && n >= USERDB_SHARES_MAX)
		return fail_set(why, FAIL_LIMIT, 0, "mailboxes are shared with too many users");
	if (!bdb_batch_begin(s->env, why))
		return false;
	if (on)
		ok = bdb_put(s->db, row_key(&k, guest, owner), span_of(&version, 1), why);
	else
		ok = bdb_del(s->db, row_key(&k, guest, owner), why);
	ok = ok && put_count(s, owner, on ? n + 1 : n ? n - 1 : 0, why);
	if (ok)
		return bdb_batch_commit(s->env, why);
	bdb_batch_abort(s->env);
	return false;
}

struct each {
	size_t skip;
	bool (*visit)(void *, struct span);
	void *arg;
};

static bool
each_row(void *arg, struct span key, struct span value)
{
	const struct each *e = arg;

	(void)value;
	return e->visit(e->arg, span_from(key, e->skip));
}

bool
shares_each(const struct shares *s, struct span guest, bool (*visit)(void *, struct span), void *arg, struct fail *why)
{
	struct each e = { .visit = visit, .arg = arg };
	struct span prefix;
	struct key k;

	if (guest.n > USERDB_NAME)
		return true;
	prefix = row_key(&k, guest, SPAN(""));
	e.skip = prefix.n;
	return bdb_each(s->db, prefix, each_row, &e, why);
}

/* ---- a user who goes ---- */

struct leaving {
	struct span user;
	struct buf keys; /* "guest NUL owner NUL" each */
};

static bool
each_of_all(void *arg, struct span key, struct span value)
{
	struct leaving *l = arg;
	struct span owner = span_from(key, 1), guest = span_cut(&owner, '\0');

	(void)value;
	if (span_eq(owner, l->user) || span_eq(guest, l->user)) {
		buf_put(&l->keys, span_from(key, 1));
		buf_putc(&l->keys, '\0');
	}
	return true;
}

bool
shares_forget(const struct shares *s, struct span user, struct fail *why)
{
	struct leaving l = { .user = user };
	struct span rest;
	bool ok;

	buf_init(&l.keys, KEYS_MAX);
	ok = bdb_each(s->db, SPAN("g"), each_of_all, &l, why);
	rest = buf_span(&l.keys);
	while (ok && rest.n) {
		struct span guest = span_cut(&rest, '\0'), owner = span_cut(&rest, '\0');

		ok = shares_set(s, owner, guest, false, why);
	}
	buf_free(&l.keys);
	return ok;
}
