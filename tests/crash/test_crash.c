/* SPDX-License-Identifier: ISC
 *
 * Laws 1 and 2 by enumeration: a workload runs once over a file system that
 * writes down every operation; then for every prefix of the operations the
 * power fails, with what was not synced dropped, torn at sectors or reordered,
 * the queue is recovered from what is left, and everything it has goes out.
 * Whatever was acknowledged before must have arrived, whole.
 *
 * CRASH_STATES=n asks for more random states (default 11 for each prefix).
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

#include "journal/blob.h"
#include "log/log.h"
#include "sim/sim.h"

enum { MESSAGES = 400, SEGMENT = 64 * 1024, INLINE = 8192, MINUTE = 60000, RANDOM_DEFAULT = 11 };

struct letter {
	uint64_t id;
	size_t acked;              /* operations when it was acknowledged; SIZE_MAX: never */
	size_t deleted;            /* operations when its deletion began */
	const char *targets[4];    /* where it has to arrive */
	size_t arrived[4];         /* operations when that was known; SIZE_MAX: never */
	bool arrived_after[4];     /* after the crash under test */
	bool must_report, reported_after;
	size_t reported;
	size_t size;
};

static struct letter letters[MESSAGES];
static unsigned nletters;
static struct sim *world; /* the one that is running */
static bool after_crash;
static bool broken;

static struct letter *
letter_of(uint64_t id)
{
	for (unsigned i = 0; i < nletters; i++)
		if (letters[i].id == id)
			return &letters[i];
	return NULL;
}

/* Content is made from the number in its first line, so that it can be checked. */
static void
make_content(struct buf *out, unsigned number, size_t size)
{
	buf_printf(out, "Subject: %u %zu\r\n\r\n", number, size);
	for (size_t i = 0; buf_len(out) < size; i++)
		buf_putc(out, (char)('a' + (number * 7 + i * 13 + i / 100) % 26));
}

static void
check_content(struct span content)
{
	unsigned number;
	size_t size;
	struct buf want;
	char head[64];

	if (!span_cstr(span_sub(content, 0, content.n < 60 ? content.n : 60), head, sizeof(head)) ||
	    sscanf(head, "Subject: %u %zu", &number, &size) != 2) {
		broken = true;
		return;
	}
	buf_init(&want, 1 << 20);
	make_content(&want, number, size);
	if (!span_eq(buf_span(&want), content))
		broken = true;
	buf_free(&want);
}

static void
on_delivered(struct sim *s, const struct message *m, struct span address, struct span content)
{
	struct letter *l = letter_of(message_id(m));
	unsigned number;
	char text[64];

	if (m->flags & MESSAGE_REPORT) { /* to sN@good.test */
		if (span_cstr(address, text, sizeof(text)) && sscanf(text, "s%u@", &number) == 1 && number < nletters) {
			letters[number].reported_after |= after_crash;
			if (!after_crash && letters[number].reported == SIZE_MAX)
				letters[number].reported = s->fs->nops;
		}
		return;
	}
	check_content(content);
	if (!l)
		return; /* never acknowledged, but whole */
	for (int i = 0; i < 4 && l->targets[i]; i++)
		if (span_eq(address, span_str(l->targets[i]))) {
			l->arrived_after[i] |= after_crash;
			if (!after_crash && l->arrived[i] == SIZE_MAX)
				l->arrived[i] = s->fs->nops;
		}
}

static void
on_acked(void *arg, uint64_t id, const struct fail *why)
{
	(void)id;
	if (!why)
		((struct letter *)arg)->acked = world->fs->nops;
}

static struct letter *
post(struct sim *s, const char *recipients, size_t size, const char *t0, const char *t1)
{
	struct letter *l = &letters[nletters];
	struct buf content;
	char sender[32];

	*l = (struct letter){ .acked = SIZE_MAX, .deleted = SIZE_MAX, .targets = { t0, t1 }, .reported = SIZE_MAX, .size = size };
	for (int i = 0; i < 4; i++)
		l->arrived[i] = SIZE_MAX;
	(void)snprintf(sender, sizeof(sender), "s%u@good.test", nletters);
	buf_init(&content, 1 << 20);
	make_content(&content, nletters, size);
	nletters++;
	l->id = sim_offer(s, sender, recipients, buf_span(&content), on_acked, l);
	buf_free(&content);
	assert_true(l->id != 0);
	return l;
}

static bool dead_up;

static struct sim_answer
sometimes(struct sim *s, const char *name, struct span recipient, const struct queue_job *job)
{
	return dead_up ? sim_good(s, name, recipient, job) : sim_dead(s, name, recipient, job);
}

static void
hosts(struct sim *s)
{
	sim_host_add(s, "good.test", sim_good);
	sim_host_add(s, "second.test", sometimes);
	sim_host_add(s, "dead.test", sometimes);
	s->on_delivered = on_delivered;
	s->segment = SEGMENT;
	s->p.inline_max = INLINE;
	s->p.content_cache = 20000; /* most contents are read back */
}

/* Accepts, deliveries, deferrals, failures, deletions, large messages,
 * recycling and compaction, in two lives of the process. */
static void
workload(struct sim *s)
{
	for (unsigned i = 0; i < 120; i++) {
		struct letter *l;

		(void)post(s, "a@good.test", 300 + i * 37 % 3000, "a@good.test", NULL);
		if (i % 3 == 0)
			(void)post(s, "b@dead.test c@good.test", 1000, "b@dead.test", "c@good.test");
		if (i % 7 == 0)
			(void)post(s, "alias@x.test", 700, "one@good.test", "two@second.test");
		if (i % 11 == 0) {
			l = post(s, "unknown@x.test", 500, NULL, NULL);
			l->must_report = true;
		}
		if (i % 13 == 0)
			(void)post(s, "d@good.test", INLINE + 3000, "d@good.test", NULL);
		if (i % 2)
			assert_true(journal_sync(s->journal, NULL));
		if (i % 5 == 4) {
			sim_run(s, s->now + MINUTE);
		}
		if (i % 17 == 16) {
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

static bool
kept(const struct letter *l, size_t n)
{
	if (l->acked > n || l->deleted <= n)
		return true;
	for (int i = 0; i < 4 && l->targets[i]; i++)
		if (l->arrived[i] > n && !l->arrived_after[i])
			return false;
	return !l->must_report || l->reported <= n || l->reported_after;
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

/* One crash state: recover, let everything go out, look. */
static bool
survives(const struct sim *s, size_t n, enum memfs_loss loss, uint64_t seed)
{
	struct sim w;
	bool ok = true;

	for (unsigned i = 0; i < nletters; i++) {
		memset(letters[i].arrived_after, 0, sizeof(letters[i].arrived_after));
		letters[i].reported_after = false;
	}
	sim_init(&w);
	memfs_free(&w.fs);
	w.fs = memfs_crash(s->fs, n, loss, seed);
	(void)w.fs->vfs.ops->mkdir(&w.fs->vfs, "blob");
	hosts(&w);
	w.now = s->now;
	world = &w;
	after_crash = dead_up = true;
	broken = false;
	sim_open(&w);
	sim_run(&w, w.now + 300 * MINUTE);
	for (unsigned i = 0; i < nletters && ok; i++)
		if (!kept(&letters[i], n)) {
			print_message("crash behind operation %zu, loss %d, seed %llu: letter %u is lost\n", n, (int)loss,
			    (unsigned long long)seed, i);
			ok = false;
		}
	if (broken) {
		print_message("crash behind operation %zu, loss %d, seed %llu: a broken message came out\n", n, (int)loss,
		    (unsigned long long)seed);
		ok = false;
	}
	if (queue_stats(w.queue).messages > 0) {
		show_stuck(&w);
		print_message("crash behind operation %zu, loss %d, seed %llu: something is stuck\n", n, (int)loss, (unsigned long long)seed);
		ok = false;
	}
	sim_free(&w);
	return ok;
}

static void
nothing_acknowledged_is_lost_at_any_power_cut(void **state)
{
	struct sim s;
	const char *more = getenv("CRASH_STATES");
	unsigned random = more ? (unsigned)atoi(more) : RANDOM_DEFAULT, states = 0, bad = 0;

	(void)state;
	sim_init(&s);
	hosts(&s);
	s.fs->record = true;
	world = &s;
	sim_open(&s);
	workload(&s);
	print_message("%u letters, %zu file operations, %u segments in use, %u reports\n", nletters, s.fs->nops,
	    journal_stats(s.journal).segments, s.reports);
	for (size_t n = 0; n <= s.fs->nops && bad < 5; n++) {
		bad += !survives(&s, n, MEMFS_KEEP_ALL, 0);
		bad += !survives(&s, n, MEMFS_DROP_ALL, 0);
		states += 2;
		for (unsigned i = 0; i < random; i++, states++)
			bad += !survives(&s, n, i % 3 == 2 ? MEMFS_DROP_ONE : MEMFS_RANDOM, i % 3 == 2 ? i / 3 : n * 1000 + i);
	}
	print_message("%u crash states, %u violations\n", states, bad);
	assert_int_equal(bad, 0);
	assert_true(more || states >= 10000);
	world = &s;
	sim_free(&s);
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
		struct buf content;
		struct letter *l = &letters[nletters];
		bool large = i % 9 == 8;

		*l = (struct letter){ .acked = SIZE_MAX, .deleted = SIZE_MAX, .targets = { i % 3 ? "a@good.test" : "b@dead.test" },
			.reported = SIZE_MAX };
		for (int k = 0; k < 4; k++)
			l->arrived[k] = SIZE_MAX;
		(void)snprintf(sender, sizeof(sender), "s%u@good.test", nletters);
		buf_init(&content, 1 << 20);
		make_content(&content, nletters, large ? INLINE + 1000 : 3000);
		l->id = sim_offer(s, sender, l->targets[0], buf_span(&content), on_acked, l);
		buf_free(&content);
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
			after_crash = dead_up = broken = false;
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
				assert_true(letters[i].acked == SIZE_MAX || letters[i].arrived[0] != SIZE_MAX);
			}
			sim_free(&s);
			runs++;
		}
	print_message("%u runs with a fault, %u letters acknowledged\n", runs, acked);
	assert_true(acked > runs * 20);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(nothing_acknowledged_is_lost_at_any_power_cut),
		cmocka_unit_test(nothing_acknowledged_is_lost_when_an_operation_fails),
	};

	log_set_level(LOG_LEVEL_ERROR + 1);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
