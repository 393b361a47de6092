/* SPDX-License-Identifier: ISC
 *
 * Maildir delivery and the mailbox index under power cuts, by enumeration: a
 * workload runs once over a file system that writes down every operation; for every prefix
 * of them the power fails, with what was not synced dropped, torn or reordered.
 *
 * Delivery: what was acknowledged is there, and what is in new/ is whole.
 * Index: it comes back as it was at some moment not before the last one that
 * was durable; so a UID once told never names another message.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "crash/cut.h"
#include "store/delivery.h"
#include "store/indexfile.h"

enum { LETTERS = 12, STATES_MAX = 4000, RANDOM_STATES = 6 };

/* ---- delivery ---- */

struct letter {
	struct delivery delivery;
	char text[1400];
	size_t size, acked; /* operations when it was acknowledged */
};

static void
deliver_all(struct memfs *fs, struct letter *letters)
{
	struct maildir_namer namer;
	struct fail why;

	maildir_namer_init(&namer, SPAN("crash.test"));
	assert_true(maildir_make(&fs->vfs, "", &why));
	for (unsigned i = 0; i < LETTERS;) {
		struct list batch;
		unsigned first = i, n = 1 + i % 4;

		list_init(&batch);
		for (; i < LETTERS && i < first + n; i++) {
			struct letter *l = &letters[i];
			struct delivery *d = &l->delivery;

			l->size = (size_t)snprintf(l->text, sizeof(l->text), "Letter: %u\r\n\r\n%0*u\r\n", i, 100 + (int)i * 100, i);
			delivery_init(d, &fs->vfs, NULL);
			d->head = SPAN("Return-Path: <>\r\n");
			d->body = span_of(l->text, l->size);
			d->in_cur = i % 3 == 2;
			maildir_unique(&namer, d->base);
			list_push(&batch, &d->node);
		}
		delivery_write_now(&batch);
		for (unsigned k = first; k < i; k++) {
			assert_true(letters[k].delivery.ok);
			letters[k].acked = fs->nops;
		}
	}
}

struct check {
	struct memfs *fs;
	const struct letter *letters;
	const char *dir;
	bool found[LETTERS], ok;
};

static bool
each_file(void *arg, const char *name)
{
	struct check *c = arg;
	struct maildir_name parsed;
	char path[300];
	uint64_t size;
	char *bytes;

	(void)snprintf(path, sizeof(path), "%s/%s", c->dir, name);
	bytes = memfs_bytes(c->fs, path, &size);
	if (!maildir_name_parse(span_str(name), &parsed) || parsed.size != size)
		c->ok = false;
	for (unsigned i = 0; i < LETTERS && c->ok; i++) {
		const struct letter *l = &c->letters[i];

		if (!span_eq(parsed.base, span_str(l->delivery.base)))
			continue;
		c->found[i] = true;
		c->ok = size == 17 + l->size && memcmp(bytes, "Return-Path: <>\r\n", 17) == 0 && memcmp(bytes + 17, l->text, l->size) == 0;
	}
	return c->ok;
}

static void
check_deliveries(const struct memfs *fs, const struct letter *letters, size_t n, enum memfs_loss loss, uint64_t seed)
{
	struct check c = { .fs = memfs_crash(fs, n, loss, seed), .letters = letters, .ok = true };

	c.dir = "new";
	(void)c.fs->vfs.ops->list(&c.fs->vfs, "new", each_file, &c);
	c.dir = "cur";
	(void)c.fs->vfs.ops->list(&c.fs->vfs, "cur", each_file, &c);
	if (!c.ok)
		fail_msg("operation %zu, loss %d, seed %llu: a message is not whole", n, (int)loss, (unsigned long long)seed);
	for (unsigned i = 0; i < LETTERS; i++)
		if (letters[i].acked <= n && !c.found[i])
			fail_msg("operation %zu, loss %d, seed %llu: message %u was acknowledged and is lost", n, (int)loss,
			    (unsigned long long)seed, i);
	memfs_free(&c.fs);
}

static void
acknowledged_deliveries_survive(void **state)
{
	struct letter *letters = calloc(LETTERS, sizeof(*letters));
	struct memfs *fs = memfs_new();

	(void)state;
	fs->record = true;
	deliver_all(fs, letters);
	for (size_t n = 0; n <= fs->nops; n++) {
		check_deliveries(fs, letters, n, MEMFS_KEEP_ALL, 0);
		check_deliveries(fs, letters, n, MEMFS_DROP_ALL, 0);
		for (uint64_t seed = 1; seed <= RANDOM_STATES; seed++)
			check_deliveries(fs, letters, n, seed % 2 ? MEMFS_RANDOM : MEMFS_DROP_ONE, seed + n * 100);
	}
	print_message("%zu file operations\n", fs->nops);
	memfs_free(&fs);
	free(letters);
}

/* A sync that fails is no acknowledgement, and the half message does not stay. */
static void
failing_disk_acknowledges_nothing(void **state)
{
	static const enum memfs_kind kinds[] = { MEMFS_CREATE, MEMFS_WRITE, MEMFS_SYNC, MEMFS_SYNC_DIR, MEMFS_RENAME };
	struct maildir_namer namer;

	(void)state;
	maildir_namer_init(&namer, SPAN("crash.test"));
	for (size_t k = 0; k < sizeof(kinds) / sizeof(*kinds); k++) {
		struct memfs *fs = memfs_new();
		struct delivery d;
		struct list batch;
		struct fail why;
		struct check c = { .fs = fs, .ok = true, .dir = "new" };

		assert_true(maildir_make(&fs->vfs, "", &why));
		fs->fail_kinds = 1u << kinds[k];
		fs->fail_at = 0;
		fs->fail_forever = true;
		fs->fail_errno = 28; /* ENOSPC */
		list_init(&batch);
		delivery_init(&d, &fs->vfs, NULL);
		d.body = SPAN("A: b\r\n\r\n");
		maildir_unique(&namer, d.base);
		list_push(&batch, &d.node);
		delivery_write_now(&batch);
		assert_false(d.ok);
		assert_int_equal(d.why.err, 28);
		(void)fs->vfs.ops->list(&fs->vfs, "new", each_file, &c);
		for (unsigned i = 0; i < LETTERS; i++)
			assert_false(c.found[i]);
		memfs_free(&fs);
	}
}

/* ---- index ---- */

struct moment {
	uint64_t digest;
	size_t began, durable; /* operations when it was put; when it was known to be durable */
	uint32_t uidnext;
};

struct history {
	struct moment moments[STATES_MAX];
	size_t n;
};

static uint64_t
mix(uint64_t h, uint64_t v)
{
	h ^= v + 0x9e3779b97f4a7c15u + (h << 6) + (h >> 2);
	return h * 0x100000001b3u;
}

static uint64_t
digest(const struct index *ix)
{
	uint64_t h = mix(ix->uidvalidity, ix->uidnext);

	for (size_t i = 0; i < ix->n; i++) {
		const struct message *m = &ix->messages[i];
		struct span base = index_base(ix, m);

		h = mix(mix(mix(h, m->uid), m->flags), m->letters);
		for (size_t k = 0; k < base.n; k++)
			h = mix(h, (unsigned char)base.p[k]);
	}
	return mix(h, ix->ndoomed);
}

static void
remember(struct history *h, const struct indexfile *f, const struct memfs *fs)
{
	assert_true(h->n < STATES_MAX);
	h->moments[h->n++] = (struct moment){ digest(&f->ix), fs->nops, SIZE_MAX, f->ix.uidnext };
}

static void
durable(struct history *h, const struct memfs *fs)
{
	for (size_t i = 0; i < h->n; i++)
		if (h->moments[i].durable == SIZE_MAX)
			h->moments[i].durable = fs->nops;
}

static void
put_range(struct indexfile *f, unsigned type, union record *r, struct span *field, uint32_t lo, uint32_t hi)
{
	struct uid_range range = { lo, hi };
	struct uidset uids = { .ranges = &range, .n = 1 };

	assert_true(indexfile_put_uids(f, type, r, field, &uids, NULL));
}

static void
index_step(struct indexfile *f, unsigned step)
{
	uint32_t last = f->ix.uidnext - 1, first = last > 20 ? last - 20 : 1;
	char base[200];
	union record r;

	switch (step % 8) {
	case 5:
		r.flags = (struct record_flags){ .op = (uint8_t)(step / 8 % 3), .flags = (uint8_t)(1u << step / 8 % 5), .modseq = f->ix.modseq + 1 };
		put_range(f, RECORD_flags, &r, &r.flags.uids, first, last);
		return;
	case 6:
		r.named.letters = step % 5;
		r.named.bits = 0;
		put_range(f, RECORD_named, &r, &r.named.uids, last, last);
		return;
	case 7:
		if (step / 8 % 2) {
			r.removed.uids = SPAN_NONE;
			put_range(f, RECORD_removed, &r, &r.removed.uids, 1, last);
			return;
		}
		r.expunge.modseq = f->ix.modseq + 1;
		put_range(f, RECORD_expunge, &r, &r.expunge.uids, first, first + 3);
		return;
	default:
		(void)snprintf(base, sizeof(base), "file%u.%0*u", step, 120, step);
		r.message = (struct record_message){ .uid = f->ix.uidnext, .modseq = f->ix.modseq + 1, .base = span_str(base), .size = 100 };
		assert_true(indexfile_put(f, RECORD_message, &r, NULL, NULL));
	}
}

static void
index_workload(struct memfs *fs, struct history *h)
{
	union record r = { .start = { .uidvalidity = 4711, .uidnext = 1, .modseq = 1 } };
	struct indexfile f = { .vfs = NULL };
	enum indexfile_found found;
	struct fail why;

	assert_true(indexfile_open(&f, &fs->vfs, NULL, NULL, &found, &why));
	assert_int_equal(found, INDEXFILE_NONE);
	assert_true(index_apply(&f.ix, RECORD_start, &r));
	remember(h, &f, fs);
	assert_true(indexfile_start(&f, &why));
	durable(h, fs);
	for (unsigned step = 0; step < 1500; step++) {
		index_step(&f, step);
		remember(h, &f, fs);
		if (step % 11 == 10) {
			assert_true(indexfile_sync(&f, &why));
			durable(h, fs);
			indexfile_tidy(&f);
		}
		if (step == 700) { /* an orderly end, and on */
			indexfile_close(&f);
			durable(h, fs);
			assert_true(indexfile_open(&f, &fs->vfs, NULL, NULL, &found, &why));
			assert_int_equal(found, INDEXFILE_GOOD);
		}
	}
	indexfile_close(&f);
	durable(h, fs);
}

static void
check_index(const struct memfs *fs, const struct history *h, size_t n, enum memfs_loss loss, uint64_t seed)
{
	struct memfs *after = memfs_crash(fs, n, loss, seed);
	struct indexfile f = { .vfs = NULL };
	enum indexfile_found found;
	struct fail why = { .text = "" };
	bool must = false, ok = false;
	uint64_t now;

	if (!indexfile_open(&f, &after->vfs, NULL, NULL, &found, &why))
		fail_msg("operation %zu, loss %d, seed %llu: %s", n, (int)loss, (unsigned long long)seed, why.text);
	now = digest(&f.ix);
	for (size_t i = 0; i < h->n; i++) {
		const struct moment *m = &h->moments[i];

		if (m->durable <= n) {
			must = true;
			ok = false; /* everything before this one is too old */
		}
		ok |= m->began <= n && m->digest == now;
	}
	if (must && (!ok || found != INDEXFILE_GOOD))
		fail_msg("operation %zu, loss %d, seed %llu: the index came back as it never was (%s, %zu messages)", n, (int)loss,
		    (unsigned long long)seed, found == INDEXFILE_GOOD ? "good" : "lost", f.ix.n);
	/* It is usable: one more message, one more open. */
	if (found == INDEXFILE_GOOD) {
		index_step(&f, 0);
		now = digest(&f.ix);
		indexfile_close(&f);
		assert_true(indexfile_open(&f, &after->vfs, NULL, NULL, &found, &why));
		assert_int_equal(found, INDEXFILE_GOOD);
		assert_true(digest(&f.ix) == now);
	}
	indexfile_close(&f);
	memfs_free(&after);
}

static void
index_comes_back_as_it_was(void **state)
{
	struct history *h = calloc(1, sizeof(*h));
	struct memfs *fs = memfs_new();

	(void)state;
	fs->record = true;
	index_workload(fs, h);
	print_message("%zu file operations, %zu moments\n", fs->nops, h->n);
	for (size_t n = 0; n <= fs->nops; n++) {
		check_index(fs, h, n, MEMFS_KEEP_ALL, 0);
		check_index(fs, h, n, MEMFS_DROP_ALL, 0);
		for (uint64_t seed = 1; seed <= 3; seed++)
			check_index(fs, h, n, seed % 2 ? MEMFS_RANDOM : MEMFS_DROP_ONE, seed + n * 100);
	}
	memfs_free(&fs);
	free(h);
}

/* ---- an index that begins in two halves ---- */

enum { FOUND = 50 };

struct beginning {
	size_t told, settled; /* operations when UIDNEXT was told, and when all was durable */
};

static void
begin_workload(struct memfs *fs, struct beginning *b)
{
	union record r = { .start = { .uidvalidity = 4711, .uidnext = 1, .modseq = 1 } };
	struct indexfile f = { .vfs = NULL };
	enum indexfile_found found;
	struct fail why;

	assert_true(indexfile_open(&f, &fs->vfs, NULL, NULL, &found, &why));
	assert_true(index_apply(&f.ix, RECORD_start, &r));
	r.objectid.id = 12;
	assert_true(index_apply(&f.ix, RECORD_objectid, &r));
	r.keyword.bit = 3;
	r.keyword.name = SPAN("word");
	assert_true(index_apply(&f.ix, RECORD_keyword, &r));
	for (unsigned i = 1; i <= FOUND; i++) {
		r.message = (struct record_message){ .uid = i, .modseq = 1, .base = SPAN("1.file"), .size = 100 };
		assert_true(index_apply(&f.ix, RECORD_message, &r));
	}
	assert_true(indexfile_begin(&f, &why));
	assert_true(f.begun);
	b->told = fs->nops;
	r.recent.uid = FOUND + 1;
	assert_true(indexfile_put(&f, RECORD_recent, &r, NULL, &why)); /* as SELECT does, which is no change that settles */
	assert_true(f.begun);
	assert_true(indexfile_settle(&f, &why));
	assert_false(f.begun);
	b->settled = fs->nops;
	indexfile_close(&f);
}

static void
check_beginning(const struct memfs *fs, const struct beginning *b, size_t n, enum memfs_loss loss, uint64_t seed)
{
	struct memfs *after = memfs_crash(fs, n, loss, seed);
	struct indexfile f = { .vfs = NULL };
	enum indexfile_found found;
	struct fail why = { .text = "" };
	const struct index *ix = &f.ix;
	bool ok = indexfile_open(&f, &after->vfs, NULL, NULL, &found, &why);

	if (ok && n >= b->told)
		ok = found == INDEXFILE_GOOD && ix->uidvalidity == 4711 && ix->objectid == 12 && index_keyword(ix, SPAN("word")) == 3 && ix->uidnext == FOUND + 1 &&
		    (ix->n == FOUND || (ix->n == 0 && n < b->settled));
	if (!ok)
		fail_msg("operation %zu, loss %d, seed %llu: what was told does not hold: %s, %zu messages, UIDNEXT %u", n, (int)loss, (unsigned long long)seed,
		    why.text, ix->n, (unsigned)ix->uidnext);
	indexfile_close(&f);
	memfs_free(&after);
}

static void
what_the_first_answer_told_holds(void **state)
{
	struct memfs *fs = memfs_new();
	struct beginning b;

	(void)state;
	fs->record = true;
	begin_workload(fs, &b);
	print_message("%zu file operations\n", fs->nops);
	for (size_t n = 0; n <= fs->nops; n++) {
		check_beginning(fs, &b, n, MEMFS_KEEP_ALL, 0);
		check_beginning(fs, &b, n, MEMFS_DROP_ALL, 0);
		for (uint64_t seed = 1; seed <= 20; seed++)
			check_beginning(fs, &b, n, seed % 2 ? MEMFS_RANDOM : MEMFS_DROP_ONE, seed + n * 100);
	}
	memfs_free(&fs);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(acknowledged_deliveries_survive),
		cmocka_unit_test(failing_disk_acknowledges_nothing),
		cmocka_unit_test(index_comes_back_as_it_was),
		cmocka_unit_test(what_the_first_answer_told_holds),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
