/* SPDX-License-Identifier: ISC
 *
 * The facts of messages made on threads: ahead of a command that goes through a
 * folder, and in the background for what arrives, so that they are there when
 * somebody asks.  Nothing of it needs to be durable.
 */
#include "store/state.h"

enum {
	LATER_MS = 1000,          /* after the last arrival: several are one, and who delivers much is not disturbed */
	LATER_MOST_MS = 10 * 1000, /* but not for ever */
	NEWEST = 2000,            /* messages looked at when a folder is entered: what came while nobody had it open */
	WASTE_MIN = 1 << 20,      /* octets of facts that never matter */
	WASTE_EACH = 16 << 10,    /* for each message: with more, most of them are of expunged ones */
	WEIGHT = 64,              /* octets of the journal that finding facts again is worth */
	KEEP_MIN = 64,            /* facts worth a snapshot when the folder is closed */
};

/* ---- what was made ---- */

static void
note(struct mailbox *mb, size_t n)
{
	mb->making.unkept += n;
	indexfile_weigh(&mb->file, n * WEIGHT);
	change_tidy(mb);
	if (mb->file.job) /* that has them */
		mb->making.unkept = 0;
}

static void
limit_waste(struct mailbox *mb)
{
	struct index *ix = mailbox_index(mb);

	if (mb->facts.end < WASTE_MIN + (uint64_t)ix->n * WASTE_EACH)
		return;
	facts_drop(&mb->facts);
	for (size_t i = 0; i < ix->n; i++)
		ix->messages[i].facts = 0;
}

struct span
mailbox_facts(struct mailbox *mb, uint32_t uid)
{
	const struct message *m = index_find(mailbox_index(mb), uid);

	return m ? facts_get(&mb->facts, uid, m->facts) : SPAN_NONE;
}

void
mailbox_facts_put(struct mailbox *mb, uint32_t uid, struct span facts)
{
	struct message *m;

	limit_waste(mb);
	if (!(m = index_find(mailbox_index(mb), uid)))
		return;
	m->facts = facts_put(&mb->facts, uid, facts);
	if (m->facts)
		note(mb, 1);
}

static bool
wants(void *arg, const struct message *m)
{
	const struct mailbox *mb = arg;

	return !m->facts && !uidset_has(&mb->making.failed, m->uid);
}

static bool
look(const void *arg, struct span message, struct arena *arena, struct buf *out)
{
	const struct mailbox *mb = arg;

	return mb->store->parse.make(message, arena, out);
}

/* All in one write. */
static void
put_all(struct mailbox *mb, const struct read_message *all, size_t n)
{
	uint32_t distance[READING_BATCH], at;
	struct buf entries;
	size_t put = 0;

	buf_init(&entries, 64 << 20);
	for (size_t i = 0; i < n; i++)
		if ((distance[i] = facts_pack(&entries, all[i].uid, all[i].said)) == UINT32_MAX)
			uidset_add(&mb->making.failed, all[i].uid, all[i].uid);
	limit_waste(mb);
	at = buf_ok(&entries) ? facts_append(&mb->facts, &entries) : 0;
	for (size_t i = 0; i < n; i++) {
		struct message *m = at && distance[i] != UINT32_MAX ? index_find(mailbox_index(mb), all[i].uid) : NULL;

		if (m && !m->facts) {
			m->facts = at + distance[i];
			put++;
		}
		if (!at)
			uidset_add(&mb->making.failed, all[i].uid, all[i].uid);
	}
	buf_free(&entries);
	if (put)
		note(mb, put);
}

static void
on_batch(void *arg, const struct read_message *all, size_t n)
{
	struct mailbox *mb = arg;

	put_all(mb, all, n);
	LIST_EACH(&mb->making.waits, it) {
		struct facts_wait *w = OWNER_OF(it, struct facts_wait, node);

		if (reading_under_way(&mb->making.reading, w->uid))
			continue;
		list_remove(&w->node);
		w->on_facts(w);
	}
}

/* ---- for a command ---- */

bool
mailbox_facts_wait(struct mailbox *mb, uint32_t uid, uint32_t hi, struct facts_wait *w)
{
	const struct message *m = index_find(mailbox_index(mb), uid);

	if (!mb->store->parse.make || mb->failed || !m || !wants(mb, m) || !reading_ask(&mb->making.reading, uid, hi))
		return false;
	w->uid = uid;
	list_push(&mb->making.waits, &w->node);
	return true;
}

/* ---- in the background ---- */

static void
on_timer(struct timer *t)
{
	struct mailbox *mb = OWNER_OF(t, struct mailbox, making.timer);
	const struct index *ix = mailbox_index(mb);
	size_t n = index_place(ix, mb->visible + 1), at = n > NEWEST ? n - NEWEST : 0;

	while (at < n && !wants(mb, &ix->messages[at]))
		at++;
	if (at < n && !mb->failed)
		(void)reading_ask(&mb->making.reading, ix->messages[at].uid, mb->visible);
}

void
making_later(struct mailbox *mb)
{
	struct making *k = &mb->making;
	int64_t now = loop_now_ms(mb->store->loop);

	if (!k->wanted || !mb->store->parse.make)
		return;
	if (!timer_running(&k->timer))
		k->since = now;
	if (now - k->since < LATER_MOST_MS)
		(void)timer_set(&k->timer, LATER_MS);
}

void
mailbox_facts_later(struct mailbox *mb)
{
	mb->making.wanted = true;
	making_later(mb);
}

void
store_set_facts(struct store *store, const struct store_facts *facts)
{
	store->parse = *facts;
}

/* ---- life ---- */

void
making_init(struct mailbox *mb)
{
	struct making *k = &mb->making;

	reading_init(&k->reading, mb, &(struct reading_use){ wants, look, on_batch, mb });
	timer_init(&k->timer, mb->store->loop, on_timer);
	list_init(&k->waits);
	uidset_init(&k->failed);
}

/* Where the facts lie is not in the journal: it goes with a snapshot. */
static bool
worth_keeping(const struct mailbox *mb)
{
	size_t n = mb->making.unkept;

	return n >= KEEP_MIN && n >= mb->file.ix.n / 16;
}

void
making_stop(struct mailbox *mb)
{
	timer_stop(&mb->making.timer);
	reading_stop(&mb->making.reading);
	uidset_free(&mb->making.failed);
	if (worth_keeping(mb) && !mb->failed && !mb->file.ix.failed)
		(void)indexfile_start(&mb->file, NULL);
}
