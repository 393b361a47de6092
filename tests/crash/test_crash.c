/* SPDX-License-Identifier: ISC
 *
 * Laws 1 and 2 by enumeration: a workload runs once over a file system that
 * writes down every operation; then for every prefix of the operations the
 * power fails, with what was not synced dropped, torn at sectors or reordered,
 * the queue is recovered from what is left, and everything it has goes out.
 * Whatever was acknowledged before must have arrived, whole.
 *
 * The recovery may be cut as well.  That a missing sync is found is tested, too.
 */
#include <stdarg.h>
#include <setjmp.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "crash/cut.h"
#include "journal/blob.h"
#include "log/log.h"
#include "sim/sim.h"

enum { MESSAGES = 400, SEGMENT = 64 * 1024, INLINE = 8192, MINUTE = 60000, STATES_DEFAULT = 10000, WORKLOADS_MAX = 500,
	QUOTA = 16, QUOTA_LONG = 150, /* choices at each operation */
	DEEP = 300 };                 /* one recovery in so many is cut, too */

/* The lives of a message: before the cut, behind it, and behind a cut of that recovery. */
enum stage { BEFORE, AFTER, AGAIN, STAGES };

struct letter {
	uint64_t id;
	size_t acked;              /* operations when it was acknowledged; SIZE_MAX: never */
	size_t deleted;            /* operations when its deletion began */
	const char *targets[2];    /* where it has to arrive */
	size_t arrived[STAGES][2]; /* operations when that was known; SIZE_MAX: never */
	bool must_report;
	size_t reported[STAGES];
};

static struct letter letters[MESSAGES];
static unsigned nletters;
static struct sim *world; /* the one that is running */
static enum stage stage;
static bool broken, quiet;

static struct letter *
letter_of(uint64_t id)
{
	for (unsigned i = 0; i < nletters; i++)
		if (letters[i].id == id)
			return &letters[i];
	return NULL;
}

/* Content is made from the number in its first line, so that it can be checked; kept, for it is looked at often. */
static struct buf contents[MESSAGES];

static struct span
content_of(unsigned number, size_t size)
{
	struct buf *c = &contents[number];
	char head[64];
	int n = snprintf(head, sizeof(head), "Subject: %u %zu\r\n\r\n", number, size);

	if (span_starts(buf_span(c), span_of(head, (size_t)n)))
		return buf_span(c);
	buf_free(c);
	buf_init(c, 1 << 20);
	buf_puts(c, head);
	for (size_t i = 0; buf_len(c) < size; i++)
		buf_putc(c, (char)('a' + (number * 7 + i * 13 + i / 100) % 26));
	return buf_span(c);
}

static void
check_content(struct span content)
{
	unsigned number;
	size_t size;
	char head[64];

	if (!span_cstr(span_sub(content, 0, content.n < 60 ? content.n : 60), head, sizeof(head)) ||
	    sscanf(head, "Subject: %u %zu", &number, &size) != 2 || number >= MESSAGES ||
	    !span_eq(content_of(number, size), content))
		broken = true;
}

static void
forget_contents(void)
{
	for (unsigned i = 0; i < MESSAGES; i++)
		buf_free(&contents[i]);
}

static void
on_delivered(struct sim *s, const struct message *m, struct span address, struct span content)
{
	struct letter *l = letter_of(message_id(m));
	unsigned number;
	char text[64];

	if (m->flags & MESSAGE_REPORT) { /* to sN@good.test */
		if (span_cstr(address, text, sizeof(text)) && sscanf(text, "s%u@", &number) == 1 && number < nletters) {
			size_t *at = &letters[number].reported[stage];

			*at = *at == SIZE_MAX ? s->fs->nops : *at;
		}
		return;
	}
	check_content(content);
	if (!l)
		return; /* never acknowledged, but whole */
	for (int i = 0; i < 2 && l->targets[i]; i++)
		if (span_eq(address, span_str(l->targets[i])) && l->arrived[stage][i] == SIZE_MAX)
			l->arrived[stage][i] = s->fs->nops;
}

static void
on_acked(void *arg, uint64_t id, const struct fail *why)
{
	(void)id;
	if (!why)
		((struct letter *)arg)->acked = world->fs->nops;
}

static void
forget_arrivals(struct letter *l, enum stage from)
{
	for (unsigned i = from; i < STAGES; i++)
		l->arrived[i][0] = l->arrived[i][1] = l->reported[i] = SIZE_MAX;
}

static struct letter *
post(struct sim *s, const char *recipients, size_t size, const char *t0, const char *t1)
{
	struct letter *l = &letters[nletters];
	char sender[32];

	assert_true(nletters < MESSAGES);
	*l = (struct letter){ .acked = SIZE_MAX, .deleted = SIZE_MAX, .targets = { t0, t1 } };
	forget_arrivals(l, BEFORE);
	(void)snprintf(sender, sizeof(sender), "s%u@good.test", nletters);
	l->id = sim_offer(s, sender, recipients, content_of(nletters++, size), on_acked, l);
	assert_true(l->id != 0);
	return l;
}

static bool dead_up;

static struct sim_answer
sometimes(struct sim *s, const char *name, struct span recipient, const struct queue_job *job)
{
	return dead_up ? sim_good(s, name, recipient, job) : sim_dead(s, name, recipient, job);
}

/* Two mailboxes, one behind the other, whose owners forward. */
static struct sim_answer
forwarding(struct sim *s, const char *name, struct span recipient, const struct queue_job *job)
{
	struct sim_answer a = sim_good(s, name, recipient, job);

	a.forwards = span_starts(recipient, SPAN("ann@")) ? "bob@local.test\nf@good.test" : "g@dead.test";
	a.kept = span_starts(recipient, SPAN("ann@"));
	return a;
}

static void
hosts(struct sim *s)
{
	sim_host_add(s, "local.test", forwarding);
	sim_host_add(s, "good.test", sim_good);
	sim_host_add(s, "second.test", sometimes);
	sim_host_add(s, "dead.test", sometimes);
	s->on_delivered = on_delivered;
	s->segment = SEGMENT;
	s->p.inline_max = INLINE;
	s->p.content_cache = 20000; /* most contents are read back */
}

static uint32_t
draw(uint32_t *seed, uint32_t n)
{
	*seed = *seed * 1664525u + 1013904223u;
	return (*seed >> 8) % n;
}

/* Accepts, deliveries, deferrals, failures, deletions, large messages,
 * recycling and compaction, in several lives of the process. */
static void
workload(struct sim *s, uint32_t seed)
{
	struct letter *l;

	for (unsigned i = 0; i < 120; i++) {
		(void)post(s, "a@good.test", 300 + draw(&seed, 3000), "a@good.test", NULL);
		if (draw(&seed, 3) == 0)
			(void)post(s, "b@dead.test c@good.test", 1000, "b@dead.test", "c@good.test");
		if (draw(&seed, 7) == 0)
			(void)post(s, "alias@x.test", 700, "one@good.test", "two@second.test");
		if (draw(&seed, 11) == 0)
			post(s, "unknown@x.test", 500, NULL, NULL)->must_report = true;
		if (draw(&seed, 13) == 0)
			(void)post(s, "d@good.test", INLINE + 1000 + draw(&seed, 4000), "d@good.test", NULL);
		if (draw(&seed, 5) == 0) { /* a list that comes in bit by bit */
			s->parts = 60;
			(void)post(s, "p1@good.test b@dead.test p3@good.test p4@good.test c@good.test", 900, "b@dead.test", draw(&seed, 2) ? "p1@good.test" : "c@good.test");
			s->parts = 0;
		}
		if (draw(&seed, 6) == 0)
			(void)post(s, "ann@local.test", 600, "f@good.test", "g@dead.test");
		if (draw(&seed, 2))
			assert_true(journal_sync(s->journal, NULL));
		if (draw(&seed, 5) == 0)
			sim_run(s, s->now + MINUTE);
		if (draw(&seed, 17) == 0) {
			l = post(s, "e@dead.test", 400, "e@dead.test", NULL);
			assert_true(journal_sync(s->journal, NULL));
			l->deleted = s->fs->nops;
			assert_true(queue_act(s->queue, queue_find(s->queue, l->id), VERB_DELETE));
		}
		if (i == 60) {
			assert_true(journal_sync(s->journal, NULL));
			sim_restart(s);
		}
		if (i == 80) {
			dead_up = true;
			sim_run(s, s->now + 100 * MINUTE);
			dead_up = false;
		}
	}
	sim_run(s, s->now + MINUTE);
	assert_true(journal_sync(s->journal, NULL));
}

/* Power failed behind operation n, and behind operation m of the recovery. */
struct cuts {
	size_t n, m;
};

static bool
before_cut(const size_t at[STAGES], const struct cuts *at_cuts)
{
	return at[BEFORE] <= at_cuts->n || at[AFTER] <= at_cuts->m || at[AGAIN] != SIZE_MAX;
}

static bool
kept(const struct letter *l, const struct cuts *c)
{
	if (l->acked > c->n || l->deleted <= c->n)
		return true;
	for (int i = 0; i < 2 && l->targets[i]; i++) {
		size_t at[STAGES] = { l->arrived[BEFORE][i], l->arrived[AFTER][i], l->arrived[AGAIN][i] };

		if (!before_cut(at, c))
			return false;
	}
	return !l->must_report || before_cut(l->reported, c);
}

static void
show_stuck(const struct sim *w)
{
	uint64_t *ids;
	size_t count = queue_ids(w->queue, &ids);

	for (size_t i = 0; i < count; i++) {
		const struct message *m = queue_find(w->queue, ids[i]);

		print_message("stuck: flags %x unsettled %u asks %u jobs %u entry state %u size %u: %.*s\n", m->flags, m->unsettled,
		    m->asks, m->jobs, m->first.state, (unsigned)m->size, SPAN_ARG(word_span(m->reason)));
	}
	free(ids);
}

/* Everything that the disk has goes out; then what was acknowledged must have arrived. */
static bool
recovers(struct sim *w, const struct cuts *c)
{
	const char *wrong = NULL;
	unsigned i = 0;

	world = w;
	dead_up = true;
	broken = false;
	sim_open(w);
	sim_run(w, w->now + 300 * MINUTE);
	while (i < nletters && kept(&letters[i], c))
		i++;
	if (i < nletters)
		wrong = "an acknowledged letter is lost";
	else if (broken)
		wrong = "a broken message came out";
	else if (queue_stats(w->queue).messages > 0)
		wrong = "something is stuck";
	if (wrong && !quiet) {
		print_message("cut behind operation %zu (recovery: %zd): %s (%u)\n", c->n, (ssize_t)c->m, wrong, i);
		show_stuck(w);
	}
	return !wrong;
}

static void
take_disk(struct sim *w, struct memfs *disk, int64_t now)
{
	sim_init(w);
	memfs_free(&w->fs);
	w->fs = disk;
	(void)disk->vfs.ops->mkdir(&disk->vfs, "blob");
	hosts(w);
	w->now = now;
}

/* ---- which disks were seen: a set of hashes ---- */

struct seen {
	uint64_t *hashes;
	size_t n, max;
};

static bool
seen_add(struct seen *s, uint64_t hash)
{
	size_t i;

	if (2 * s->n >= s->max) {
		struct seen bigger = { calloc(s->max ? 2 * s->max : 1024, sizeof(uint64_t)), 0, s->max ? 2 * s->max : 1024 };

		for (i = 0; i < s->max; i++)
			if (s->hashes[i])
				(void)seen_add(&bigger, s->hashes[i]);
		free(s->hashes);
		*s = bigger;
	}
	hash |= hash == 0;
	for (i = hash % s->max; s->hashes[i]; i = (i + 1) % s->max)
		if (s->hashes[i] == hash)
			return false;
	s->hashes[i] = hash;
	s->n++;
	return true;
}

/* ---- the enumeration ---- */

struct search {
	struct seen seen;      /* all disks */
	uint64_t quota;        /* choices at each operation */
	unsigned deep;         /* one recovery in so many is cut, too; 0: none */
	uint64_t states, bad, recoveries;
	unsigned bad_max;
};

/* The recovery itself is cut at some places. */
static void
cut_recovery(struct search *f, const struct sim *w, const struct memfs *base, size_t n)
{
	struct cut c;

	cut_init(&c, w->fs, base);
	while (cut_forward(&c)) {
		unsigned char *reached = malloc(c.units + 1);
		struct cuts at = { n, c.n };
		struct sim again;

		cut_choose(&c, reached, c.n % 7, 7, f->states + c.n);
		take_disk(&again, cut_make(&c, reached), w->now);
		free(reached);
		if (seen_add(&f->seen, memfs_hash(again.fs))) {
			for (unsigned i = 0; i < nletters; i++)
				forget_arrivals(&letters[i], AGAIN);
			stage = AGAIN;
			f->states++;
			f->recoveries++;
			f->bad += !recovers(&again, &at);
		} else {
			sim_open(&again);
		}
		sim_free(&again);
	}
	cut_free(&c);
}

static void
try_disk(struct search *f, const struct sim *s, struct memfs *disk, size_t n)
{
	bool deep = f->deep && f->states % f->deep == f->deep - 1;
	struct memfs *base = deep ? memfs_clone(disk) : NULL;
	struct cuts c = { n, SIZE_MAX - 1 };
	struct sim w;

	for (unsigned i = 0; i < nletters; i++)
		forget_arrivals(&letters[i], AFTER);
	take_disk(&w, disk, s->now);
	w.fs->record = deep;
	stage = AFTER;
	f->states++;
	f->bad += !recovers(&w, &c);
	if (deep)
		cut_recovery(f, &w, base, n);
	sim_free(&w);
	if (base)
		memfs_free(&base);
}

static void
enumerate(struct search *f, const struct sim *s, uint64_t seed)
{
	struct cut c;

	cut_init(&c, s->fs, NULL);
	do {
		uint64_t count = c.units < 30 && 1u << c.units < f->quota ? 1u << c.units : f->quota;
		unsigned char *reached = malloc(c.units + 1);
		struct seen here = { NULL, 0, 0 };

		for (uint64_t i = 0; i < count && f->bad <= f->bad_max; i++) {
			struct memfs *disk;
			uint64_t hash;

			cut_choose(&c, reached, i, count, seed * 1000003 + c.n);
			disk = cut_make(&c, reached);
			hash = memfs_hash(disk);
			(void)seen_add(&f->seen, hash);
			if (seen_add(&here, hash)) /* with another n other letters have been acknowledged */
				try_disk(f, s, disk, c.n);
			else
				memfs_free(&disk);
		}
		free(here.hashes);
		free(reached);
	} while (cut_forward(&c) && f->bad <= f->bad_max);
	cut_free(&c);
}

static void
run_workload(struct sim *s, uint32_t seed, const char *lie)
{
	nletters = 0;
	stage = BEFORE;
	dead_up = false;
	sim_init(s);
	hosts(s);
	s->fs->record = true;
	s->fs->lie = lie;
	world = s;
	sim_open(s);
	workload(s, seed);
}

/* CRASH_STATES: how many different disks to try (default 10,000). */
static void
nothing_acknowledged_is_lost_at_any_power_cut(void **state)
{
	const char *more = getenv("CRASH_STATES");
	size_t want = more ? strtoul(more, NULL, 10) : STATES_DEFAULT;
	struct search f = { .quota = more ? QUOTA_LONG : QUOTA, .deep = DEEP, .bad_max = 5 };
	uint32_t seed = 0;

	(void)state;
	for (; f.seen.n < want && f.bad == 0 && seed < WORKLOADS_MAX; seed++) {
		struct sim s;

		run_workload(&s, seed, NULL);
		enumerate(&f, &s, seed);
		print_message("workload %u: %u letters, %zu file operations, %u compactions, %u reports: %llu cuts so far, %zu distinct disks\n", seed,
		    nletters, s.fs->nops, s.compactions, s.reports, (unsigned long long)f.states, f.seen.n);
		assert_true(s.compactions > 0);
		sim_free(&s);
	}
	print_message("%zu distinct crash states (goal %zu), %llu of them of a recovery, %llu violations\n", f.seen.n, want,
	    (unsigned long long)f.recoveries, (unsigned long long)f.bad);
	free(f.seen.hashes);
	forget_contents();
	assert_int_equal(f.bad, 0);
	assert_true(f.seen.n >= want);
}

/* The search must find what it is for: each sync that is left out costs mail. */
static void
a_sync_that_is_left_out_is_found(void **state)
{
	static const char *const lies[] = { "journal/", "journal", "blob/", "blob" };

	(void)state;
	quiet = true;
	for (size_t i = 0; i < sizeof(lies) / sizeof(*lies); i++) {
		struct search f = { .quota = 3, .bad_max = 0 };
		struct sim s;

		run_workload(&s, 0, lies[i]);
		enumerate(&f, &s, 0);
		sim_free(&s);
		free(f.seen.hashes);
		if (f.bad == 0)
			print_message("without the syncs of %s nothing was found\n", lies[i]);
		assert_true(f.bad > 0);
	}
	quiet = false;
	forget_contents();
}

/* As queued does: a journal that died is given up, and the next process begins. */
static void
revive(struct sim *s)
{
	if (!journal_alive(s->journal))
		sim_restart(s);
}

static void
faulty_workload(struct sim *s)
{
	for (unsigned i = 0; i < 40; i++) {
		char sender[32];
		struct letter *l = &letters[nletters];
		bool large = i % 9 == 8;

		*l = (struct letter){ .acked = SIZE_MAX, .deleted = SIZE_MAX, .targets = { i % 3 ? "a@good.test" : "b@dead.test" } };
		forget_arrivals(l, BEFORE);
		(void)snprintf(sender, sizeof(sender), "s%u@good.test", nletters);
		l->id = sim_offer(s, sender, l->targets[0], content_of(nletters, large ? INLINE + 1000 : 3000), on_acked, l);
		nletters++;
		(void)journal_sync(s->journal, NULL);
		revive(s);
		if (i % 4 == 3)
			sim_run(s, s->now + MINUTE);
		revive(s);
	}
}

static void
nothing_acknowledged_is_lost_when_an_operation_fails(void **state)
{
	static const struct {
		unsigned kinds;
		int error;
		bool forever;
	} faults[] = {
		{ 1u << MEMFS_WRITE, EIO, false },
		{ 1u << MEMFS_SYNC, EIO, false },
		{ 1u << MEMFS_CREATE | 1u << MEMFS_SIZE, ENOSPC, false },
		{ 1u << MEMFS_CREATE | 1u << MEMFS_SIZE, ENOSPC, true },
		{ 1u << MEMFS_CREATE | 1u << MEMFS_RENAME | 1u << MEMFS_SYNC_DIR, EMFILE, false },
	};
	unsigned runs = 0, acked = 0;

	(void)state;
	for (size_t f = 0; f < sizeof(faults) / sizeof(*faults); f++)
		for (long at = 0; at < 60; at++) {
			struct sim s;

			nletters = 0;
			dead_up = broken = false;
			stage = BEFORE;
			sim_init(&s);
			hosts(&s);
			world = &s;
			sim_open(&s);
			s.fs->record = true;
			s.fs->fail_kinds = faults[f].kinds;
			s.fs->fail_errno = faults[f].error;
			s.fs->fail_forever = faults[f].forever;
			s.fs->fail_at = at;
			faulty_workload(&s);
			s.fs->fail_kinds = 0;
			sim_restart(&s);
			dead_up = true;
			sim_run(&s, s.now + 300 * MINUTE);
			if (queue_stats(s.queue).messages > 0) {
				print_message("fault %zu at %ld\n", f, at);
				show_stuck(&s);
			}
			assert_int_equal(queue_stats(s.queue).messages, 0);
			assert_false(broken);
			for (unsigned i = 0; i < nletters; i++) {
				acked += letters[i].acked != SIZE_MAX;
				assert_true(letters[i].acked == SIZE_MAX || letters[i].arrived[BEFORE][0] != SIZE_MAX);
			}
			sim_free(&s);
			runs++;
		}
	forget_contents();
	print_message("%u runs with a fault, %u letters acknowledged\n", runs, acked);
	assert_true(acked > runs * 20);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(nothing_acknowledged_is_lost_at_any_power_cut),
		cmocka_unit_test(a_sync_that_is_left_out_is_found),
		cmocka_unit_test(nothing_acknowledged_is_lost_when_an_operation_fails),
	};

	log_set_level(LOG_LEVEL_ERROR + 1);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
