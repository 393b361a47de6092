/* SPDX-License-Identifier: ISC */
#include "store/signature.h"

#include <stdlib.h>
#include <string.h>

enum {
	HASH_BITS = 22, /* of which the lowest tells a short run from a long one */
	BITS_EACH = 3,  /* of the signature, for each that is set */
	RUNS_MAX = 1 << 20,
};

_Static_assert(SIGNATURE_MAX * 8 == 1 << HASH_BITS, "a bit for each hash is as much as the largest signature");

bool
signature_init(struct signature_maker *m)
{
	*m = (struct signature_maker){ .seen = calloc(1, SIGNATURE_MAX) };
	return m->seen != NULL;
}

void
signature_free(struct signature_maker *m)
{
	free(m->seen);
	free(m->runs);
	*m = (struct signature_maker){ .seen = NULL };
}

void
signature_reset(struct signature_maker *m)
{
	if (m->n < RUNS_MAX / 16 && !m->failed) /* else not all that were seen are in the list */
		for (size_t i = 0; i < m->n; i++)
			m->seen[m->runs[i] >> 3] = 0;
	else
		memset(m->seen, 0, SIGNATURE_MAX);
	m->n = m->bits = 0;
	m->failed = false;
}

/* The high bits of a product depend on all of the run. */
static uint32_t
hash_short(uint32_t last4)
{
	return ((last4 & 0xffffff) * UINT32_C(0x9e3779b1)) >> (32 - HASH_BITS) | 1;
}

static uint32_t
hash_long(uint32_t last4)
{
	return (last4 * UINT32_C(0x85ebca6b)) >> (32 - HASH_BITS) & ~UINT32_C(1);
}

static bool
grow(struct signature_maker *m)
{
	size_t size = m->size ? m->size * 2 : 8192;
	uint32_t *more = realloc(m->runs, size * sizeof(*more));

	if (!more) {
		m->failed = true;
		return false;
	}
	m->runs = more;
	m->size = size;
	return true;
}

static inline void
add_run(struct signature_maker *m, uint32_t hash)
{
	unsigned char bit = (unsigned char)(1 << (hash & 7));

	if (m->seen[hash >> 3] & bit)
		return;
	m->seen[hash >> 3] |= bit;
	m->bits += 1 + (hash & 1);
	if (m->n < RUNS_MAX && (m->n < m->size || grow(m)))
		m->runs[m->n++] = hash;
}

void
signature_add(struct signature_maker *m, struct span text)
{
	uint32_t last4 = 0;

	for (size_t i = 0; i < text.n; i++) {
		last4 = last4 << 8 | (unsigned char)text.p[i];
		if (i >= 2)
			add_run(m, hash_short(last4));
		if (i >= 3)
			add_run(m, hash_long(last4));
	}
}

/* The places of a run's bits, which are others for another salt: what happens to
 * share a place with a frequent run does so in few messages only. */
static inline size_t
place(uint32_t hash, uint32_t salt, size_t bits)
{
	return (size_t)((uint64_t)(uint32_t)(hash * (salt | 1)) * bits >> 32);
}

/* Numbers that follow each other become ones that have nothing in common. */
static uint32_t
mix(uint32_t x, uint32_t with)
{
	x = (x ^ with) * UINT32_C(0x9e3779b1);
	x = (x ^ x >> 15) * UINT32_C(0x85ebca6b);
	return x ^ x >> 16;
}

static uint32_t
first_salt(uint32_t salt)
{
	return mix(salt, 0x5bd1e995);
}

static uint32_t
second_salt(uint32_t salt)
{
	return mix(salt, 0xc2b2ae35);
}

static void
set(unsigned char *bits, size_t at)
{
	bits[at >> 3] |= (unsigned char)(1 << (at & 7));
}

static inline void
set_run(unsigned char *bits, size_t n, uint32_t hash, uint32_t first, uint32_t second)
{
	set(bits, place(hash, first, n));
	if (hash & 1)
		set(bits, place(hash, second, n));
}

static size_t
size_for(const struct signature_maker *m, size_t most)
{
	size_t n = m->bits * BITS_EACH / 8 + 1;

	if (n > most)
		n = most;
	if (n > SIGNATURE_MAX)
		n = SIGNATURE_MAX;
	return n < SIGNATURE_UNIT ? SIGNATURE_UNIT : n / SIGNATURE_UNIT * SIGNATURE_UNIT;
}

bool
signature_put(struct signature_maker *m, uint32_t salt, size_t most, struct buf *out)
{
	size_t n = size_for(m, most);
	uint32_t first = first_salt(salt), second = second_salt(salt);
	char *room = m->failed ? NULL : buf_room(out, n);

	if (!room)
		return false;
	memset(room, 0, n);
	for (size_t i = 0; m->n < RUNS_MAX && i < m->n; i++)
		set_run((unsigned char *)room, n * 8, m->runs[i], first, second);
	for (uint32_t hash = 0; m->n == RUNS_MAX && hash < 1 << HASH_BITS; hash++)
		if (m->seen[hash >> 3] >> (hash & 7) & 1)
			set_run((unsigned char *)room, n * 8, hash, first, second);
	buf_added(out, n);
	return true;
}

/* count runs of len octets, spread over the needle. */
static unsigned
take_runs(struct span needle, size_t len, size_t count, uint32_t *out)
{
	size_t all = needle.n < len ? 0 : needle.n - len + 1;

	if (count > all)
		count = all;
	for (size_t i = 0; i < count; i++) {
		size_t at = i * all / count;
		uint32_t v = 0;

		for (size_t k = 0; k < len; k++)
			v = v << 8 | (unsigned char)needle.p[at + k];
		out[i] = len == 3 ? hash_short(v) : hash_long(v);
	}
	return (unsigned)count;
}

void
signature_query(struct signature_query *q, struct span needle)
{
	q->nlong = take_runs(needle, 4, SIGNATURE_LONG, q->longs);
	q->nshort = take_runs(needle, 3, SIGNATURE_SHORT, q->shorts);
}

static inline bool
is_set(struct span bits, size_t at)
{
	return (unsigned char)bits.p[at >> 3] >> (at & 7) & 1;
}

bool
signature_may_have(struct span signature, uint32_t salt, const struct signature_query *q)
{
	uint32_t first = first_salt(salt), second = second_salt(salt);
	size_t n = signature.n * 8;

	for (unsigned i = 0; i < q->nlong; i++)
		if (!is_set(signature, place(q->longs[i], first, n)))
			return false;
	for (unsigned i = 0; i < q->nshort; i++)
		if (!is_set(signature, place(q->shorts[i], first, n)) || !is_set(signature, place(q->shorts[i], second, n)))
			return false;
	return true;
}
