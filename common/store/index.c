/* SPDX-License-Identifier: ISC */
#include "store/index.h"

#include <stdlib.h>
#include <string.h>

#include "store/maildir.h"

_Static_assert(sizeof(struct message) == 48, "snapshots hold this struct as it is");
_Static_assert((int)LETTER_ANSWERED == (int)FLAG_ANSWERED && (int)LETTER_DRAFT == (int)FLAG_DRAFT,
    "flags and letters share their bits");

void
index_init(struct index *ix)
{
	*ix = (struct index){ .uidnext = 1, .recent_from = 1 };
	buf_init(&ix->names, INDEX_POOL_MAX);
}

void
index_free(struct index *ix)
{
	if (ix->size)
		free(ix->messages);
	free(ix->doomed);
	free(ix->vanished);
	free(ix->intents);
	for (size_t i = 0; i < MAILBOX_KEYWORDS_MAX; i++)
		free(ix->keywords[i]);
	buf_free(&ix->names);
	index_init(ix);
}

static bool
out_of_memory(struct index *ix)
{
	ix->failed = true;
	return false;
}

/* ---- lookup ---- */

size_t
index_place(const struct index *ix, uint32_t uid)
{
	size_t lo = 0, hi = ix->n;

	/* At most as far from the first as its number: there, where nothing was expunged. */
	if (hi && uid >= ix->messages[0].uid && uid - ix->messages[0].uid < hi) {
		hi = uid - ix->messages[0].uid;
		if (ix->messages[hi].uid == uid)
			return hi;
	}
	while (lo < hi) {
		size_t mid = lo + (hi - lo) / 2;

		if (ix->messages[mid].uid < uid)
			lo = mid + 1;
		else
			hi = mid;
	}
	return lo;
}

struct message *
index_find(const struct index *ix, uint32_t uid)
{
	size_t at = index_place(ix, uid);

	return at < ix->n && ix->messages[at].uid == uid ? &ix->messages[at] : NULL;
}

static struct span
pool_at(const struct index *ix, size_t at, size_t n)
{
	if (at < ix->map_names.n)
		return span_sub(ix->map_names, at, n);
	return span_sub(buf_span(&ix->names), at - ix->map_names.n, n);
}

struct span
index_base(const struct index *ix, const struct message *m)
{
	return pool_at(ix, m->name, m->name_len);
}

struct span
index_odd(const struct index *ix, const struct message *m)
{
	return pool_at(ix, (size_t)m->name + m->name_len, m->odd_len);
}

struct span
index_uidl(const struct index *ix, const struct message *m)
{
	size_t at = (size_t)m->name + m->name_len + m->odd_len;
	struct span len;

	if (!(m->bits & MESSAGE_UIDL) || (len = pool_at(ix, at, 1)).n == 0)
		return SPAN_NONE;
	return pool_at(ix, at + 1, (unsigned char)len.p[0]);
}

uint32_t
index_letters(const struct message *m)
{
	return m->flags | (m->letters & LETTER_PASSED) | (uint32_t)m->keywords << LETTER_KEYWORD_SHIFT;
}

bool
index_intent(const struct index *ix, uint32_t uid, uint32_t *letters)
{
	for (size_t i = 0; i < ix->nintents; i++)
		if (ix->intents[i].uid == uid) {
			*letters = ix->intents[i].letters;
			return true;
		}
	return false;
}

bool
index_lags(const struct message *m)
{
	return (m->bits & MESSAGE_NEW) || m->letters != index_letters(m);
}

bool
index_path(const struct index *ix, const struct message *m, char *out)
{
	return maildir_path(out, index_base(ix, m), index_odd(ix, m), m->letters, m->bits & MESSAGE_NEW);
}

int
index_keyword(const struct index *ix, struct span name)
{
	for (int i = 0; i < MAILBOX_KEYWORDS_MAX; i++)
		if (ix->keywords[i] && span_caseeq(span_str(ix->keywords[i]), name))
			return i;
	return -1;
}

/* ---- change ---- */

static bool
grow(struct message **array, size_t *size, size_t n, bool mapped)
{
	size_t want = *size ? *size : 16;
	struct message *more;

	if (n < *size)
		return true;
	while (want <= n)
		want += want / 2 + 8;
	if (n >= INDEX_MESSAGES_MAX)
		return false;
	if (mapped) {
		if (!(more = malloc(want * sizeof(*more))))
			return false;
		if (n)
			memcpy(more, *array, n * sizeof(*more));
	} else if (!(more = realloc(*array, want * sizeof(*more)))) {
		return false;
	}
	*array = more;
	*size = want;
	return true;
}

static bool
grow_messages(struct index *ix)
{
	return grow(&ix->messages, &ix->size, ix->n, ix->size == 0) || out_of_memory(ix);
}

static void
count(struct index *ix, const struct message *m, int by)
{
	ix->unseen += (m->flags & FLAG_SEEN) ? 0 : (uint32_t)by;
	ix->deleted += (m->flags & FLAG_DELETED) ? (uint32_t)by : 0;
	ix->total += (uint64_t)((int64_t)m->size * by);
}

static void
reach(struct index *ix, uint64_t modseq)
{
	if (modseq > ix->modseq)
		ix->modseq = modseq;
}

static bool
put_name(struct index *ix, struct message *m, struct span base, struct span odd, struct span uidl)
{
	size_t at = ix->map_names.n + buf_len(&ix->names), n = base.n + odd.n + (uidl.n ? uidl.n + 1 : 0);
	char entry[3 * UINT8_MAX + 1], *room; /* by way of a copy: the spans may lie in the pool, which moves */

	if (at >= INDEX_POOL_MAX || base.n > UINT8_MAX || odd.n > UINT8_MAX || uidl.n > UINT8_MAX)
		return false;
	memcpy(entry, base.p, base.n);
	if (odd.n)
		memcpy(entry + base.n, odd.p, odd.n);
	if (uidl.n) {
		entry[base.n + odd.n] = (char)uidl.n;
		memcpy(entry + base.n + odd.n + 1, uidl.p, uidl.n);
	}
	if (!(room = buf_room(&ix->names, n)))
		return out_of_memory(ix);
	memcpy(room, entry, n);
	buf_added(&ix->names, n);
	m->name = (uint32_t)at;
	m->name_len = (uint8_t)base.n;
	m->odd_len = (uint8_t)odd.n;
	m->bits = (uint8_t)((m->bits & ~MESSAGE_UIDL) | (uidl.n ? MESSAGE_UIDL : 0));
	return true;
}

static bool
apply_start(struct index *ix, const struct record_start *r)
{
	if (ix->n || ix->ndoomed || !r->uidvalidity || !r->uidnext)
		return false;
	ix->uidvalidity = r->uidvalidity;
	ix->uidnext = r->uidnext;
	ix->recent_from = 1;
	ix->vanished_floor = r->modseq;
	reach(ix, r->modseq);
	return true;
}

static bool
apply_message(struct index *ix, const struct record_message *r)
{
	struct message m = {
		.uid = r->uid,
		.size = r->size,
		.modseq = r->modseq,
		.keywords = r->keywords,
		.date = r->date,
		.saved = r->saved,
		.letters = r->letters,
		.flags = r->flags,
		.bits = (uint8_t)(r->bits & ~MESSAGE_UIDL),
	};

	if (r->uid == 0 || r->uid == UINT32_MAX || (ix->n && r->uid <= ix->messages[ix->n - 1].uid) || r->base.n == 0)
		return false;
	if (!grow_messages(ix) || !put_name(ix, &m, r->base, r->odd, r->uidl))
		return false;
	ix->messages[ix->n++] = m;
	count(ix, &m, 1);
	if (!(m.bits & MESSAGE_NEW))
		ix->stamp_cur = 0; /* its name may not have come over a crash (stock.h), and the directory's time be the old one */
	if (r->uid >= ix->uidnext)
		ix->uidnext = r->uid + 1;
	reach(ix, r->modseq);
	return true;
}

static void
change_flags(struct index *ix, struct message *m, const struct record_flags *r)
{
	count(ix, m, -1);
	if (r->op == FLAGS_ADD) {
		m->flags |= r->flags;
		m->keywords |= r->keywords;
	} else if (r->op == FLAGS_REMOVE) {
		m->flags &= (uint8_t)~r->flags;
		m->keywords &= ~r->keywords;
	} else {
		m->flags = r->flags;
		m->keywords = r->keywords;
	}
	m->modseq = r->modseq;
	count(ix, m, 1);
}

static bool
apply_flags(struct index *ix, const struct record_flags *r, const struct uidset *uids)
{
	for (size_t i = 0; i < uids->n; i++)
		for (size_t at = index_place(ix, uids->ranges[i].lo); at < ix->n && ix->messages[at].uid <= uids->ranges[i].hi; at++)
			change_flags(ix, &ix->messages[at], r);
	reach(ix, r->modseq);
	return true;
}

static bool
remember_vanished(struct index *ix, uint64_t modseq, uint32_t lo, uint32_t hi)
{
	if (ix->nvanished >= INDEX_VANISHED_MAX) { /* forget the older half */
		size_t half = ix->nvanished / 2;

		ix->vanished_floor = ix->vanished[half - 1].modseq;
		memmove(ix->vanished, ix->vanished + half, (ix->nvanished - half) * sizeof(*ix->vanished));
		ix->nvanished -= half;
	}
	if (ix->nvanished == ix->vanished_size) {
		size_t size = ix->vanished_size ? ix->vanished_size * 2 : 16;
		struct vanished *more = realloc(ix->vanished, size * sizeof(*more));

		if (!more)
			return out_of_memory(ix);
		ix->vanished = more;
		ix->vanished_size = size;
	}
	ix->vanished[ix->nvanished++] = (struct vanished){ modseq, lo, hi };
	return true;
}

/* Those of the range leave for doomed; returns the place where the gap is closed. */
static bool
doom(struct index *ix, const struct message *m)
{
	if (!grow(&ix->doomed, &ix->doomed_size, ix->ndoomed, false))
		return out_of_memory(ix);
	ix->doomed[ix->ndoomed++] = *m;
	count(ix, m, -1);
	return true;
}

static bool
apply_expunge(struct index *ix, const struct record_expunge *r, const struct uidset *uids)
{
	size_t from, to, range = 0;

	if (uidset_empty(uids))
		return true;
	from = to = index_place(ix, uids->ranges[0].lo);
	for (; from < ix->n; from++) {
		uint32_t uid = ix->messages[from].uid;

		while (range < uids->n && uids->ranges[range].hi < uid)
			range++;
		if (range < uids->n && uids->ranges[range].lo <= uid) {
			if (!doom(ix, &ix->messages[from]))
				return false;
			continue;
		}
		if (from != to)
			ix->messages[to] = ix->messages[from];
		to++;
	}
	ix->n = to;
	for (range = 0; range < uids->n; range++)
		if (!remember_vanished(ix, r->modseq, uids->ranges[range].lo, uids->ranges[range].hi))
			return false;
	reach(ix, r->modseq);
	return true;
}

static bool
apply_removed(struct index *ix, const struct uidset *uids)
{
	size_t to = 0;

	for (size_t from = 0; from < ix->ndoomed; from++)
		if (!uidset_has(uids, ix->doomed[from].uid))
			ix->doomed[to++] = ix->doomed[from];
	ix->ndoomed = to;
	return true;
}

static bool
apply_naming(struct index *ix, const struct record_naming *r, const struct uidset *uids)
{
	if (r->first)
		ix->nintents = 0;
	for (size_t i = 0; i < uids->n; i++)
		for (size_t at = index_place(ix, uids->ranges[i].lo); at < ix->n && ix->messages[at].uid <= uids->ranges[i].hi; at++) {
			if (ix->nintents == ix->intents_size) {
				size_t size = ix->intents_size ? ix->intents_size * 2 : 16;
				struct intent *more = realloc(ix->intents, size * sizeof(*more));

				if (!more)
					return out_of_memory(ix);
				ix->intents = more;
				ix->intents_size = size;
			}
			ix->intents[ix->nintents++] = (struct intent){ ix->messages[at].uid, r->letters };
		}
	return true;
}

static void
set_name(struct message *m, uint32_t letters, uint8_t bits)
{
	m->letters = letters;
	m->bits = (uint8_t)((m->bits & ~MESSAGE_NEW) | (bits & MESSAGE_NEW));
}

static void
forget_intents(struct index *ix, const struct uidset *uids)
{
	size_t to = 0;

	for (size_t from = 0; from < ix->nintents; from++)
		if (!uidset_has(uids, ix->intents[from].uid))
			ix->intents[to++] = ix->intents[from];
	ix->nintents = to;
}

static bool
apply_named(struct index *ix, const struct record_named *r, const struct uidset *uids)
{
	for (size_t i = 0; i < uids->n; i++)
		for (size_t at = index_place(ix, uids->ranges[i].lo); at < ix->n && ix->messages[at].uid <= uids->ranges[i].hi; at++) {
			struct message *m = &ix->messages[at];

			set_name(m, r->letters, r->bits);
			/* The UIDL stands behind the odd part and would be lost with its length. */
			if (m->odd_len && !put_name(ix, m, index_base(ix, m), SPAN_NONE, index_uidl(ix, m)))
				return false;
		}
	for (size_t at = 0; at < ix->ndoomed; at++)
		if (uidset_has(uids, ix->doomed[at].uid))
			set_name(&ix->doomed[at], r->letters, r->bits);
	forget_intents(ix, uids);
	return true;
}

static bool
apply_renamed(struct index *ix, const struct record_renamed *r)
{
	struct message *m = index_find(ix, r->uid);

	if (!m)
		return true; /* expunged since */
	if ((r->odd.n || m->odd_len) && !put_name(ix, m, index_base(ix, m), r->odd, index_uidl(ix, m)))
		return false;
	set_name(m, r->letters, r->bits);
	return true;
}

static bool
apply_keyword(struct index *ix, const struct record_keyword *r)
{
	char *name;

	if (r->name.n == 0 || ix->keywords[r->bit])
		return false;
	if (!(name = malloc(r->name.n + 1)))
		return out_of_memory(ix);
	memcpy(name, r->name.p, r->name.n);
	name[r->name.n] = '\0';
	ix->keywords[r->bit] = name;
	return true;
}

static bool
apply_uids(struct index *ix, unsigned type, const union record *r, const struct uidset *uids)
{
	switch (type) {
	case RECORD_flags:
		return apply_flags(ix, &r->flags, uids);
	case RECORD_expunge:
		return apply_expunge(ix, &r->expunge, uids);
	case RECORD_removed:
		return apply_removed(ix, uids);
	case RECORD_naming:
		return apply_naming(ix, &r->naming, uids);
	default:
		return apply_named(ix, &r->named, uids);
	}
}

static struct span
uids_of(unsigned type, const union record *r)
{
	switch (type) {
	case RECORD_flags:
		return r->flags.uids;
	case RECORD_expunge:
		return r->expunge.uids;
	case RECORD_removed:
		return r->removed.uids;
	case RECORD_named:
		return r->named.uids;
	case RECORD_naming:
		return r->naming.uids;
	default:
		return SPAN_NONE;
	}
}

bool
index_apply(struct index *ix, unsigned type, const union record *r)
{
	struct span packed = uids_of(type, r);
	struct uidset uids;
	bool ok;

	switch (type) {
	case RECORD_start:
		return apply_start(ix, &r->start);
	case RECORD_message:
		return apply_message(ix, &r->message);
	case RECORD_renamed:
		return apply_renamed(ix, &r->renamed);
	case RECORD_keyword:
		return apply_keyword(ix, &r->keyword);
	case RECORD_recent:
		ix->recent_from = r->recent.uid > ix->recent_from ? r->recent.uid : ix->recent_from;
		return true;
	case RECORD_snapshot:
		return true;
	case RECORD_objectid:
		ix->objectid = r->objectid.id;
		return true;
	case RECORD_stamps:
		ix->stamp_new = r->stamps.new_ns;
		ix->stamp_cur = r->stamps.cur_ns;
		return true;
	case RECORD_flags:
	case RECORD_expunge:
	case RECORD_removed:
	case RECORD_named:
	case RECORD_naming:
		break;
	default:
		return false;
	}
	uidset_init(&uids);
	ok = record_take_uids(packed, &uids) && apply_uids(ix, type, r, &uids);
	if (uids.failed)
		ok = out_of_memory(ix);
	uidset_free(&uids);
	return ok;
}

/* ---- by name ---- */

/* FNV-1a is enough here: who chooses names is the user whose CPU it is. */
static size_t
name_hash(struct span s)
{
	uint64_t h = 0xcbf29ce484222325u;

	for (size_t i = 0; i < s.n; i++)
		h = (h ^ (unsigned char)s.p[i]) * 0x100000001b3u;
	return (size_t)(h ^ h >> 29);
}

static void
slot_put(struct index_names *t, struct span name, uint32_t slot)
{
	size_t at = name_hash(name) & (t->nslots - 1);

	while (t->slots[at])
		at = (at + 1) & (t->nslots - 1);
	t->slots[at] = slot;
	t->used++;
}

bool
index_names_build(struct index_names *t, const struct index *ix, bool doomed)
{
	const struct message *all = doomed ? ix->doomed : ix->messages;
	size_t n = doomed ? ix->ndoomed : ix->n;

	*t = (struct index_names){ .doomed = doomed, .nslots = 64 };
	while (t->nslots < n * 2)
		t->nslots *= 2;
	if (!(t->slots = calloc(t->nslots, sizeof(*t->slots))))
		return false;
	for (size_t i = 0; i < n; i++)
		slot_put(t, index_base(ix, &all[i]), doomed ? (uint32_t)i + 1 : all[i].uid);
	return true;
}

void
index_names_free(struct index_names *t)
{
	free(t->slots);
	*t = (struct index_names){ .slots = NULL };
}

bool
index_names_add(struct index_names *t, const struct index *ix, const struct message *m)
{
	if (t->used + t->used / 2 >= t->nslots) { /* full, perhaps of expunged ones */
		index_names_free(t);
		return index_names_build(t, ix, false);
	}
	slot_put(t, index_base(ix, m), m->uid);
	return true;
}

struct message *
index_names_find(const struct index_names *t, const struct index *ix, struct span base)
{
	for (size_t at = name_hash(base) & (t->nslots - 1); t->slots[at]; at = (at + 1) & (t->nslots - 1)) {
		struct message *m = t->doomed ? &ix->doomed[t->slots[at] - 1] : index_find(ix, t->slots[at]);

		if (m && span_eq(index_base(ix, m), base))
			return m;
	}
	return NULL;
}
