/* SPDX-License-Identifier: ISC
 *
 * Five days against destinations of every kind, and what each of them saw of
 * us: when it was tried, how often, by how many at once.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "log/log.h"
#include "sim/simtest.h"

enum { GOOD, OTHER }; /* hosts; a test's own come behind */

static void
limits(void *arg, struct span nexthop, struct destination_limits *l)
{
	(void)arg;
	if (span_eq(nexthop, SPAN("fixed.test")))
		l->minimal_backoff = l->maximal_backoff = 30 * MINUTE;
	if (span_eq(nexthop, SPAN("paced.test"))) {
		l->rate_delay = 36 * SECOND;
		l->concurrency = 2;
	}
}

static void
begin(void)
{
	sim.limits = limits;
	sim_host_add(&sim, "good.test", sim_good);
}

static void
post(unsigned n, const char *to)
{
	for (unsigned i = 0; i < n; i++)
		assert_true(sim_accept(&sim, "a@from.test", to));
}

/* Host h was tried again so many minutes after each try; takes_ms: how long a try lasts. */
static void
expect_gaps(unsigned h, unsigned from, const unsigned *minutes, unsigned n, int64_t takes_ms)
{
	assert_true(sim.hosts[h].n > from + n);
	for (unsigned i = 0; i < n; i++) {
		int64_t gap = sim.hosts[h].seen[from + i + 1].at_ms - sim.hosts[h].seen[from + i].at_ms - takes_ms, want = minutes[i] * MINUTE;

		if (gap < want * 95 / 100 || gap > want * 105 / 100 + 100)
			print_message("gap %u is %lld s\n", i, (long long)gap / 1000);
		assert_true(gap >= want * 95 / 100);
		assert_true(gap <= want * 105 / 100 + 100);
	}
}

static int64_t
smallest_gap(unsigned h, unsigned from)
{
	int64_t least = INT64_MAX;

	for (unsigned i = from; i + 1 < sim.hosts[h].n && i + 1 < SIM_SEEN; i++)
		if (sim.hosts[h].seen[i + 1].at_ms - sim.hosts[h].seen[i].at_ms < least)
			least = sim.hosts[h].seen[i + 1].at_ms - sim.hosts[h].seen[i].at_ms;
	return least;
}

static unsigned
refused(unsigned h)
{
	unsigned n = 0;

	for (unsigned i = 0; i < sim.hosts[h].n && i < SIM_SEEN; i++)
		n += sim.hosts[h].seen[i].outcome != OUTCOME_DELIVERED;
	return n;
}

static void
dead_is_probed_ever_more_rarely_and_given_up_after_five_days(void **state)
{
	static const unsigned minutes[] = { 5, 10, 20, 40 };
	int64_t start = sim.now;

	(void)state;
	sim_host_add(&sim, "dead.test", sim_dead);
	post(1, "b@dead.test");
	sim_run(&sim, start + 6 * DAY);
	expect_gaps(OTHER, 0, minutes, 4, 30 * SECOND);
	for (unsigned i = 4; i + 1 < sim.hosts[OTHER].n; i++) {
		int64_t gap = sim.hosts[OTHER].seen[i + 1].at_ms - sim.hosts[OTHER].seen[i].at_ms - 30 * SECOND;

		assert_in_range(gap, 3800 * SECOND, 4201 * SECOND);
	}
	assert_in_range(sim.hosts[OTHER].n, 105, 117);
	assert_int_equal(sim.reports, 1);
	assert_in_range(sim.reported_ms - start, 5 * DAY, 5 * DAY + 2 * MINUTE);
	assert_int_equal(queued(), 0);
}

static void
a_schedule_of_its_own_holds_for_one_destination(void **state)
{
	static const unsigned fixed[] = { 30, 30, 30, 30, 30, 30 }, usual[] = { 5, 10, 20, 40 };

	(void)state;
	sim_host_add(&sim, "fixed.test", sim_dead);
	sim_host_add(&sim, "dead.test", sim_dead);
	post(1, "b@fixed.test");
	post(1, "b@dead.test");
	sim_run(&sim, sim.now + 5 * DAY - HOUR);
	expect_gaps(OTHER, 0, fixed, 6, 30 * SECOND);
	expect_gaps(OTHER + 1, 0, usual, 4, 30 * SECOND);
	assert_in_range(sim.hosts[OTHER].n, 5 * 48 - 15, 5 * 48 + 2);
}

static struct sim_answer
flapping(struct sim *s, const char *name, struct span recipient, const struct queue_job *job)
{
	return (s->now / HOUR) % 2 ? sim_good(s, name, recipient, job) : sim_dead(s, name, recipient, job);
}

/* Up and down by the hour: an hour of silence costs few tries, and the next good hour takes all. */
static void
flapping_is_tried_rarely_while_down_and_drained_when_up(void **state)
{
	unsigned tries[120] = { 0 };
	int64_t start = sim.now / HOUR * HOUR;

	(void)state;
	sim_host_add(&sim, "flap.test", flapping);
	for (int i = 0; i < 5 * 24 * 6; i++) {
		post(1, "b@flap.test");
		sim_run(&sim, sim.now + 10 * MINUTE);
	}
	sim_run(&sim, sim.now + 3 * HOUR);
	assert_int_equal(queued(), 0);
	assert_int_equal(sim.delivered, 5 * 24 * 6);
	assert_int_equal(sim.failed, 0);
	for (unsigned i = 0; i < sim.hosts[OTHER].n; i++) {
		const struct sim_try *t = &sim.hosts[OTHER].seen[i];
		size_t hour = (size_t)((t->at_ms - start) / HOUR);

		if (t->outcome != OUTCOME_DELIVERED && hour < 120)
			tries[hour]++;
	}
	for (unsigned i = 1; i < 120; i++)
		assert_true(tries[i] <= 6);
	assert_true(refused(OTHER) <= 60 * 6);
}

static struct sim_answer
greylisting(struct sim *s, const char *name, struct span recipient, const struct queue_job *job)
{
	int64_t age = s->now - message_arrival_ms(job->m);

	if (age >= 14 * MINUTE)
		return sim_good(s, name, recipient, job);
	return (struct sim_answer){ .outcome = OUTCOME_DEFERRED, .health = HEALTH_GOOD, .takes_ms = 50, .code = "4.7.1",
		.reply = "450 4.7.1 come back later" };
}

/* Each letter goes by its own schedule; the destination is in good health and takes others at once. */
static void
greylisting_is_a_matter_of_each_letter(void **state)
{
	static const unsigned minutes[] = { 5, 10 };

	(void)state;
	sim_host_add(&sim, "grey.test", greylisting);
	post(1, "b@grey.test");
	sim_run(&sim, sim.now + HOUR);
	assert_int_equal(sim.hosts[OTHER].n, 3);
	expect_gaps(OTHER, 0, minutes, 2, 50);
	for (int day = 0; day < 5; day++)
		for (int i = 0; i < 24; i++) {
			unsigned before = sim.hosts[OTHER].n;

			post(3, "b@grey.test");
			sim_run(&sim, sim.now + MINUTE);
			assert_int_equal(sim.hosts[OTHER].n, before + 3); /* at once, whatever happened to others */
			sim_run(&sim, sim.now + 59 * MINUTE);
			assert_int_equal(sim.hosts[OTHER].n, before + 9);
		}
	assert_int_equal(queued(), 0);
}

static struct sim_answer
busy(struct sim *s, const char *name, struct span recipient, const struct queue_job *job)
{
	(void)s, (void)name, (void)recipient, (void)job;
	return (struct sim_answer){ .outcome = OUTCOME_DEFERRED, .health = HEALTH_GOOD, .takes_ms = 50, .code = "4.7.1", .reply = "450 4.7.1 later" };
}

/* Each has a job of its own, and none of them counts for another. */
static void
a_letter_to_many_domains_is_tried_again_as_one_to_a_single_one(void **state)
{
	static const char *const names[] = { "b1.test", "b2.test", "b3.test", "b4.test", "b5.test", "b6.test", "b7.test", "b8.test" };
	static const unsigned minutes[] = { 5, 10, 20, 40 };

	(void)state;
	for (unsigned i = 0; i < 8; i++)
		sim_host_add(&sim, names[i], busy);
	post(1, "u@b1.test u@b2.test u@b3.test u@b4.test u@b5.test u@b6.test u@b7.test u@b8.test");
	sim_run(&sim, sim.now + 2 * HOUR);
	for (unsigned i = 0; i < 8; i++)
		expect_gaps(OTHER + i, 0, minutes, 4, 50);
}

static void
a_shorter_wait_does_not_last_as_long_as_one_that_began_before(void **state)
{
	int64_t start = sim.now;
	uint64_t id;

	(void)state;
	sim_host_add(&sim, "busy.test", busy);
	post(1, "a@busy.test");
	sim_run(&sim, start + SECOND);
	sim.p.minimal_backoff_time = 270 * SECOND;
	queue_set_params(sim.queue, &sim.p);
	id = sim_accept(&sim, "a@from.test", "b@busy.test");
	sim_run(&sim, start + 6 * MINUTE);
	assert_int_equal(sim.hosts[OTHER].n, 4);
	assert_int_equal(sim.hosts[OTHER].seen[2].message, id);
	assert_in_range(sim.hosts[OTHER].seen[2].at_ms - start, 256 * SECOND, 285 * SECOND);
}

/* So many an hour, then refused until the hour is over. */
static struct sim_answer
quota(struct sim *s, const char *name, unsigned health, const char *reply)
{
	int i = sim_host_index(s, span_str(name));
	int64_t hour = s->now / HOUR;

	if (s->hosts[i].count / 1000 != hour)
		s->hosts[i].count = (long)hour * 1000;
	if (s->hosts[i].count % 1000 < 100) {
		s->hosts[i].count++;
		return (struct sim_answer){ .outcome = OUTCOME_DELIVERED, .health = HEALTH_GOOD, .takes_ms = 200 };
	}
	return (struct sim_answer){ .outcome = OUTCOME_DEFERRED, .health = health, .takes_ms = 100, .code = "4.7.0", .reply = reply };
}

static struct sim_answer
quota_450(struct sim *s, const char *name, struct span recipient, const struct queue_job *job)
{
	(void)recipient, (void)job;
	return quota(s, name, HEALTH_GOOD, "450 4.7.0 rate limit");
}

static struct sim_answer
quota_421(struct sim *s, const char *name, struct span recipient, const struct queue_job *job)
{
	(void)recipient, (void)job;
	return quota(s, name, HEALTH_OVERLOADED, "421 4.7.0 too much mail from you");
}

static void
what_closes_the_door_at_a_hundred_an_hour_gets_all_and_is_not_hammered(void **state)
{
	(void)state;
	sim_host_add(&sim, "door.test", quota_421);
	post(2000, "b@door.test");
	sim_run(&sim, sim.now + 5 * DAY);
	assert_int_equal(queued(), 0);
	assert_int_equal(sim.delivered, 2000);
	print_message("421 after 100 an hour: %u refused tries for 2000 letters\n", refused(OTHER));
	assert_true(refused(OTHER) < 20 * 24); /* a few at the end of each hour of the twenty, then probes */
}

static void
what_says_450_after_a_hundred_an_hour_gets_all_within_the_lifetime(void **state)
{
	(void)state;
	sim_host_add(&sim, "limit.test", quota_450);
	post(2000, "b@limit.test");
	sim_run(&sim, sim.now + 5 * DAY);
	assert_int_equal(queued(), 0);
	assert_int_equal(sim.delivered, 2000);
	assert_int_equal(sim.failed, 0);
	print_message("450 after 100 an hour: %u refused tries for 2000 letters\n", refused(OTHER));
	assert_true(refused(OTHER) < 2000 * 20); /* each letter by its own schedule */
}

static void
a_configured_pace_is_kept_and_nothing_is_refused(void **state)
{
	int64_t start = sim.now;

	(void)state;
	sim_host_add(&sim, "paced.test", quota_421);
	post(2000, "b@paced.test");
	sim_run(&sim, start + 5 * DAY);
	assert_int_equal(queued(), 0);
	assert_int_equal(sim.hosts[OTHER].n, 2000);
	assert_int_equal(refused(OTHER), 0);
	assert_true(smallest_gap(OTHER, 0) >= 36 * SECOND);
	assert_true(sim.hosts[OTHER].seen[1999].at_ms - start <= 2000 * 37 * SECOND);
}

static struct sim_answer
slow(struct sim *s, const char *name, struct span recipient, const struct queue_job *job)
{
	struct sim_answer a = sim_good(s, name, recipient, job);

	a.takes_ms = 10 * MINUTE;
	return a;
}

static void
slow_fills_its_own_window_only(void **state)
{
	int64_t start = sim.now;

	(void)state;
	sim.capacity = 100;
	sim_host_add(&sim, "slow.test", slow);
	post(500, "b@slow.test");
	sim_run(&sim, start + MINUTE);
	for (int i = 0; i < 200; i++) {
		unsigned before = sim.hosts[GOOD].n;

		post(1, "b@good.test");
		sim_run(&sim, sim.now + SECOND);
		assert_int_equal(sim.hosts[GOOD].n, before + 1);
	}
	sim_run(&sim, start + 8 * HOUR);
	assert_int_equal(queued(), 0);
	assert_int_equal(sim.hosts[OTHER].n, 500);
	assert_int_equal(sim.hosts[OTHER].most_active, 20);
	/* Windows of 5 that grow to 20: 500 letters take at most 35 rounds of ten minutes. */
	assert_true(sim.hosts[OTHER].seen[499].at_ms - start <= 35 * 10 * MINUTE);
}

static struct sim_answer
half_open(struct sim *s, const char *name, struct span recipient, const struct queue_job *job)
{
	(void)s, (void)name, (void)recipient, (void)job;
	return (struct sim_answer){ .outcome = OUTCOME_DEFERRED, .health = HEALTH_UNREACHED, .takes_ms = 5 * MINUTE, .code = "4.4.2",
		.reply = "timed out while waiting for the greeting" };
}

/* It takes the connection and then says nothing. */
static void
half_open_holds_few_connections_and_then_one(void **state)
{
	static const unsigned minutes[] = { 5, 10, 20, 40 };
	int64_t start = sim.now;

	(void)state;
	sim_host_add(&sim, "half.test", half_open);
	post(300, "b@half.test");
	sim_run(&sim, start + 6 * DAY);
	assert_int_equal(sim.hosts[OTHER].most_active, 5);
	expect_gaps(OTHER, 4, minutes, 4, 5 * MINUTE);
	assert_true(smallest_gap(OTHER, 5) >= 5 * MINUTE);
	assert_in_range(sim.hosts[OTHER].n, 5 + 90, 5 + 112);
	assert_int_equal(sim.reports, 300);
	assert_int_equal(queued(), 0);
}

static void
health_survives_a_restart(void **state)
{
	static const unsigned minutes[] = { 40 };
	unsigned before;

	(void)state;
	sim_host_add(&sim, "dead.test", sim_dead);
	post(20, "b@dead.test");
	sim_run(&sim, sim.now + 37 * MINUTE); /* tried at 0, 5, 15, 35 */
	before = sim.hosts[OTHER].n;
	sim_restart(&sim);
	sim_run(&sim, sim.now + 30 * MINUTE);
	assert_int_equal(sim.hosts[OTHER].n, before);
	sim_run(&sim, sim.now + HOUR);
	assert_true(sim.hosts[OTHER].n > before);
	expect_gaps(OTHER, before - 1, minutes, 1, 30 * SECOND);
	/* What comes meanwhile does not wake it. */
	before = sim.hosts[OTHER].n;
	post(20, "c@dead.test");
	sim_run(&sim, sim.now + 5 * MINUTE);
	assert_true(sim.hosts[OTHER].n <= before + 1);
}

static void
a_sender_of_ten_thousand_does_not_hold_up_one_of_ten(void **state)
{
	int64_t start;

	(void)state;
	sim.p.concurrency_limit = sim.p.initial_concurrency = 1;
	queue_set_params(sim.queue, &sim.p);
	post(10000, "b@good.test"); /* 20 ms each, one at a time: 200 s */
	sim_run(&sim, sim.now + SECOND);
	start = sim.now;
	for (int i = 0; i < 10; i++)
		assert_true(sim_accept(&sim, "few@other.test", "b@good.test"));
	while (queue_find(sim.queue, sim.next_id) && sim.now < start + HOUR)
		sim_run(&sim, sim.now + 20);
	assert_true(sim.now - start <= 2 * SECOND);
	assert_true(queued() > 9000);
}

static void
list_of(struct buf *out, unsigned n, const char *prefix, const char *domain)
{
	buf_init(out, 8 * 1024 * 1024);
	for (unsigned i = 0; i < n; i++)
		buf_printf(out, "%s%u@%s ", prefix, i, domain);
	buf_putc(out, '\0');
}

static unsigned share[2];

static void
count_share(struct sim *s, const struct message *m, struct span address, struct span content)
{
	(void)s, (void)m, (void)content;
	share[span_starts(address, SPAN("y"))]++;
}

static void
two_lists_to_one_host_share_it(void **state)
{
	struct buf list;

	(void)state;
	sim.on_delivered = count_share;
	for (int i = 0; i < 2; i++) {
		list_of(&list, 10000, i ? "y" : "x", "good.test");
		assert_true(sim_accept(&sim, i ? "second@from.test" : "first@else.test", buf_span(&list).p));
		buf_free(&list);
	}
	while (share[0] + share[1] < 10000)
		sim_run(&sim, sim.now + 10);
	assert_in_range(share[0], 4000, 6000);
	sim_run(&sim, sim.now + HOUR);
	assert_int_equal(share[0] + share[1], 20000);
}

/* 2,000 that were deferred once and a steady stream of fresh ones that alone would fill the host. */
static void
fresh_goes_first_and_deferred_does_not_starve(void **state)
{
	unsigned fresh_waits = 0;
	size_t before;
	int64_t start;

	(void)state;
	sim.p.concurrency_limit = sim.p.initial_concurrency = 1;
	queue_set_params(sim.queue, &sim.p);
	sim.hosts[GOOD].answer = sim_dead;
	post(500, "b@good.test");
	sim_run(&sim, sim.now + 2 * MINUTE);
	sim.hosts[GOOD].answer = sim_good;
	while (sim.delivered == 0) /* the probe opens it */
		sim_run(&sim, sim.now + SECOND);
	start = sim.now;
	while (queued() > 0 && sim.now < start + HOUR) {
		before = queued();
		assert_true(sim_accept(&sim, "f@from.test", "b@good.test"));
		sim_run(&sim, sim.now + 30); /* 20 ms each */
		fresh_waits += queued() > before;
	}
	/* A letter each 30 ms leaves a third of the host: 500 take at most four times 500 * 20 ms of that. */
	assert_true(sim.now - start <= 60 * SECOND);
	assert_true(fresh_waits < 500);
}

static void
a_hundred_thousand_recipients_expire_once(void **state)
{
	struct buf list;
	unsigned reports;

	(void)state;
	sim_host_add(&sim, "dead.test", sim_dead);
	sim.segment = 32 * 1024 * 1024;
	sim_restart(&sim);
	sim.p.maximal_queue_lifetime = HOUR;
	queue_set_params(sim.queue, &sim.p);
	list_of(&list, 100000, "recipient", "dead.test");
	assert_true(sim_accept(&sim, "a@good.test", buf_span(&list).p));
	buf_free(&list);
	sim_run(&sim, sim.now + 2 * HOUR);
	assert_int_equal(queued(), 0);
	reports = sim.reports;
	assert_true(reports > 0);
	sim_restart(&sim);
	sim_run(&sim, sim.now + 2 * HOUR);
	assert_int_equal(queued(), 0);
	assert_int_equal(sim.reports, reports);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		T(dead_is_probed_ever_more_rarely_and_given_up_after_five_days),
		T(a_schedule_of_its_own_holds_for_one_destination),
		T(flapping_is_tried_rarely_while_down_and_drained_when_up),
		T(greylisting_is_a_matter_of_each_letter),
		T(a_letter_to_many_domains_is_tried_again_as_one_to_a_single_one),
		T(a_shorter_wait_does_not_last_as_long_as_one_that_began_before),
		T(what_closes_the_door_at_a_hundred_an_hour_gets_all_and_is_not_hammered),
		T(what_says_450_after_a_hundred_an_hour_gets_all_within_the_lifetime),
		T(a_configured_pace_is_kept_and_nothing_is_refused),
		T(slow_fills_its_own_window_only),
		T(half_open_holds_few_connections_and_then_one),
		T(health_survives_a_restart),
		T(a_sender_of_ten_thousand_does_not_hold_up_one_of_ten),
		T(two_lists_to_one_host_share_it),
		T(fresh_goes_first_and_deferred_does_not_starve),
		T(a_hundred_thousand_recipients_expire_once),
	};

	log_set_level(LOG_LEVEL_ERROR + 1);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
