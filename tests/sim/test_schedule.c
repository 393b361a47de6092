/* SPDX-License-Identifier: ISC */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "log/log.h"
#include "sim/simtest.h"

static void
begin(void)
{
	sim_host_add(&sim, "good.test", sim_good);
	sim_host_add(&sim, "second.test", sim_good);
	sim_host_add(&sim, "dead.test", sim_dead);
}

static void
a_letter_is_delivered_at_once_and_gone(void **state)
{
	(void)state;
	assert_true(sim_accept(&sim, "a@from.test", "b@good.test"));
	sim_run(&sim, sim.now + 1000);
	assert_int_equal(sim.hosts[0].n, 1);
	assert_int_equal(sim.delivered, 1);
	assert_int_equal(queued(), 0);
	sim_restart(&sim);
	sim_run(&sim, sim.now + DAY);
	assert_int_equal(sim.hosts[0].n, 1);
}

static void
one_dead_destination_sees_one_probe_an_interval(void **state)
{
	int64_t start = sim.now;

	(void)state;
	for (int i = 0; i < 500; i++)
		assert_true(sim_accept(&sim, i % 2 ? "a@from.test" : "c@from.test", "b@dead.test"));
	sim_run(&sim, start + 6 * DAY);
	assert_int_equal(queued(), 0);
	/* The first burst is the initial concurrency; then 5, 10, 20, 40, 66 2/3 minutes apart. */
	assert_in_range(sim.hosts[2].n, 5 + 100, 5 + 125);
	for (unsigned i = 5; i + 1 < sim.hosts[2].n; i++) {
		int64_t gap = sim.hosts[2].seen[i + 1].at_ms - sim.hosts[2].seen[i].at_ms;

		assert_true(gap >= 300000 * 95 / 100);
		assert_true(gap <= 4000000 * 106 / 100 + 30000);
		if (i > 12)
			assert_true(gap >= 4000000 * 95 / 100);
	}
	/* Every one came back to its sender. */
	assert_int_equal(sim.reports, 500);
}

static void
mail_to_others_does_not_wait_for_the_dead(void **state)
{
	int64_t start = sim.now;

	(void)state;
	for (int i = 0; i < 1000; i++)
		assert_true(sim_accept(&sim, "a@from.test", "b@dead.test"));
	sim_run(&sim, start + MINUTE);
	assert_true(sim_accept(&sim, "a@from.test", "b@good.test"));
	sim_run(&sim, sim.now + 1000);
	assert_int_equal(sim.hosts[0].n, 1);
}

static struct sim_answer
greylisting(struct sim *s, const char *name, struct span recipient, const struct queue_job *job)
{
	int64_t age = s->now - message_arrival_ms(job->m);

	(void)name, (void)recipient;
	if (age >= 5 * MINUTE)
		return sim_good(s, name, recipient, job);
	return (struct sim_answer){ .outcome = OUTCOME_DEFERRED, .health = HEALTH_GOOD, .takes_ms = 50, .code = "4.7.1",
		.reply = "450 4.7.1 come back later" };
}

static void
greylisting_delays_one_message_not_the_destination(void **state)
{
	(void)state;
	sim_host_add(&sim, "grey.test", greylisting);
	assert_true(sim_accept(&sim, "a@from.test", "b@grey.test"));
	sim_run(&sim, sim.now + MINUTE);
	assert_true(sim_accept(&sim, "a@from.test", "c@grey.test"));
	sim_run(&sim, sim.now + 1000);
	assert_int_equal(sim.hosts[3].n, 2); /* the second was tried at once */
	sim_run(&sim, sim.now + 20 * MINUTE);
	assert_int_equal(queued(), 0);
	assert_in_range(sim.hosts[3].n, 4, 6);
}

static struct sim_answer
flapping(struct sim *s, const char *name, struct span recipient, const struct queue_job *job)
{
	return (s->now / HOUR) % 2 ? sim_good(s, name, recipient, job) : sim_dead(s, name, recipient, job);
}

static void
flapping_host_gets_all_when_it_is_up(void **state)
{
	(void)state;
	sim_host_add(&sim, "flap.test", flapping);
	for (int i = 0; i < 300; i++)
		assert_true(sim_accept(&sim, "a@from.test", "b@flap.test"));
	sim_run(&sim, sim.now + 4 * HOUR);
	assert_int_equal(queued(), 0);
	assert_int_equal(sim.delivered, 300);
}

static struct sim_answer
limited(struct sim *s, const char *name, struct span recipient, const struct queue_job *job)
{
	int i = sim_host_index(s, span_str(name));

	if (s->hosts[i].active < 3)
		return (struct sim_answer){ .outcome = OUTCOME_DELIVERED, .health = HEALTH_GOOD, .takes_ms = 500 };
	(void)recipient, (void)job;
	return (struct sim_answer){ .outcome = OUTCOME_DEFERRED, .health = HEALTH_OVERLOADED, .takes_ms = 10, .code = "4.7.0",
		.reply = "421 4.7.0 too many connections" };
}

static void
concurrency_settles_below_what_the_host_refuses(void **state)
{
	unsigned refused = 0;

	(void)state;
	sim_host_add(&sim, "limit.test", limited);
	for (int i = 0; i < 1000; i++)
		assert_true(sim_accept(&sim, "a@from.test", "b@limit.test"));
	sim_run(&sim, sim.now + 12 * HOUR);
	assert_int_equal(queued(), 0);
	assert_int_equal(sim.delivered, 1000);
	for (unsigned i = 0; i < sim.hosts[3].n; i++)
		refused += sim.hosts[3].seen[i].outcome == OUTCOME_DEFERRED;
	assert_true(refused < 300);
}

static void
concurrency_grows_with_success_up_to_its_limit(void **state)
{
	(void)state;
	for (int i = 0; i < 2000; i++)
		assert_true(sim_accept(&sim, "a@from.test", "b@good.test"));
	sim_run(&sim, sim.now + HOUR);
	assert_int_equal(sim.delivered, 2000);
	assert_int_equal(sim.hosts[0].most_active, 20);
	assert_int_equal(sim.hosts[0].seen[4].at_ms - sim.hosts[0].seen[0].at_ms, 0);
	assert_true(sim.hosts[0].seen[5].at_ms > sim.hosts[0].seen[0].at_ms);
}

static void
accept_list(int recipients)
{
	struct buf list;

	buf_init(&list, 8 * 1024 * 1024);
	for (int i = 0; i < recipients; i++)
		buf_printf(&list, "u%d@good.test ", i);
	buf_putc(&list, '\0');
	assert_true(sim_accept(&sim, "list@from.test", buf_span(&list).p));
	buf_free(&list);
}

static void
a_long_list_does_not_hold_up_a_letter(void **state)
{
	int64_t at;

	(void)state;
	accept_list(20000);
	sim_run(&sim, sim.now + 100);
	assert_int_not_equal(queued(), 0);
	at = sim.now;
	assert_true(sim_accept(&sim, "a@from.test", "b@good.test"));
	while (sim.now < at + MINUTE && queue_find(sim.queue, sim.next_id))
		sim_run(&sim, sim.now + 10);
	assert_true(sim.now - at <= 100);
	assert_int_not_equal(queued(), 0); /* while the list goes on */
	sim_run(&sim, sim.now + HOUR);
	assert_int_equal(queued(), 0);
	assert_int_equal(sim.delivered, 20001);
}

static struct sim_answer
quick(struct sim *s, const char *name, struct span recipient, const struct queue_job *job)
{
	struct sim_answer a = sim_good(s, name, recipient, job);

	a.takes_ms = 1;
	return a;
}

static void
a_long_list_goes_at_a_pace_while_letters_come(void **state)
{
	unsigned before;

	(void)state;
	sim.hosts[0].answer = quick;
	accept_list(5000);
	sim_run(&sim, sim.now + 200);
	assert_int_equal(queued(), 0); /* alone it goes as fast as it can */
	assert_true(sim_accept(&sim, "a@from.test", "b@second.test"));
	before = sim.delivered;
	accept_list(5000);
	sim_run(&sim, sim.now + 100);
	assert_in_range(sim.delivered - before, 400, (100 + 12) / 3 * 16);
	sim_run(&sim, sim.now + 1000);
	assert_int_equal(queued(), 0);
	sim.now -= DAY; /* it waits for no clock that was set back */
	assert_true(sim_accept(&sim, "a@from.test", "b@second.test"));
	accept_list(5000);
	sim_run(&sim, sim.now + 1100);
	assert_int_equal(queued(), 0);
	assert_int_equal(sim.delivered, 15002);
}

static void
deferred_mail_does_not_hold_up_fresh_mail_nor_starve(void **state)
{
	int64_t at;
	unsigned fresh = 0;

	(void)state;
	sim.hosts[0].answer = sim_dead;
	for (int i = 0; i < 2000; i++)
		assert_true(sim_accept(&sim, "a@from.test", "b@good.test"));
	sim_run(&sim, sim.now + 2 * MINUTE);
	sim.hosts[0].answer = sim_good;
	sim_run(&sim, sim.now + 5 * MINUTE); /* the probe has opened it */
	assert_true(sim.delivered > 0);
	at = sim.now;
	while (queued() > 0 && sim.now < at + HOUR) {
		assert_true(sim_accept(&sim, "f@from.test", "b@good.test"));
		fresh++;
		sim_run(&sim, sim.now + 10);
	}
	sim_run(&sim, sim.now + HOUR);
	assert_int_equal(queued(), 0);
	assert_int_equal(sim.delivered, 2000 + fresh);
}

static bool second_up;

static struct sim_answer
second(struct sim *s, const char *name, struct span recipient, const struct queue_job *job)
{
	return second_up ? sim_good(s, name, recipient, job) : sim_dead(s, name, recipient, job);
}

static void
an_alias_target_is_not_delivered_twice(void **state)
{
	(void)state;
	second_up = false;
	sim.hosts[1].answer = second;
	assert_true(sim_accept(&sim, "a@from.test", "alias@x.test"));
	sim_run(&sim, sim.now + 30 * MINUTE);
	assert_int_equal(sim.hosts[0].n, 1);
	sim_restart(&sim);
	sim_run(&sim, sim.now + 30 * MINUTE);
	assert_int_equal(sim.hosts[0].n, 1);
	second_up = true;
	sim_run(&sim, sim.now + 3 * HOUR);
	assert_int_equal(sim.hosts[0].n, 1);
	assert_true(sim.hosts[1].n > 1);
	assert_int_equal(queued(), 0);
}

static void
restart_keeps_schedule_and_health(void **state)
{
	unsigned before;

	(void)state;
	for (int i = 0; i < 50; i++)
		assert_true(sim_accept(&sim, "a@from.test", "b@dead.test"));
	sim_run(&sim, sim.now + 3 * HOUR);
	before = sim.hosts[2].n;
	sim_restart(&sim);
	assert_int_equal(queued(), 50);
	sim_run(&sim, sim.now + 2 * MINUTE);
	assert_true(sim.hosts[2].n <= before + 1);
	sim_run(&sim, sim.now + 6 * DAY);
	assert_int_equal(queued(), 0);
	assert_int_equal(sim.reports, 50);
}

static void
unknown_recipient_comes_back_and_no_report_about_a_report(void **state)
{
	(void)state;
	assert_true(sim_accept(&sim, "a@from.test", "unknown@x.test b@good.test"));
	sim_run(&sim, sim.now + MINUTE);
	assert_int_equal(sim.reports, 1);
	assert_int_equal(queued(), 0);
	assert_true(sim_accept(&sim, "", "unknown@x.test"));
	sim_run(&sim, sim.now + MINUTE);
	assert_int_equal(sim.reports, 1);
	assert_int_equal(queued(), 0);
	/* a report that cannot be delivered is the end of it */
	assert_true(sim_accept(&sim, "unknown@x.test", "unknown@y.test"));
	sim_run(&sim, sim.now + MINUTE);
	assert_int_equal(sim.reports, 1);
	assert_int_equal(queued(), 0);
}

static struct sim_answer
refusing(struct sim *s, const char *name, struct span recipient, const struct queue_job *job)
{
	(void)s, (void)name, (void)recipient, (void)job;
	return (struct sim_answer){ .outcome = OUTCOME_FAILED, .health = HEALTH_GOOD, .takes_ms = 50, .code = "5.1.1", .reply = "550 5.1.1 no" };
}

static void
no_new_files(bool none)
{
	sim.fs->fail_kinds = none ? 1u << MEMFS_CREATE : 0;
	sim.fs->fail_at = none ? 0 : -1;
	sim.fs->fail_forever = none;
	sim.fs->fail_errno = ENOSPC;
}

static void
a_report_that_could_not_be_written_is_tried_again(void **state)
{
	uint64_t id;

	(void)state;
	sim.p.inline_max = 1; /* a report is a file */
	sim_restart(&sim);
	sim.hosts[0].answer = refusing;
	assert_true(sim_accept(&sim, "a@from.test", "b@good.test"));
	no_new_files(true);
	sim_run(&sim, sim.now + 30 * MINUTE);
	assert_int_equal(queued(), 1);
	no_new_files(false);
	sim_run(&sim, sim.now + 6 * MINUTE);
	assert_int_equal(sim.reports, 1);
	assert_int_equal(queued(), 0);
	id = sim_accept(&sim, "a@from.test", "b@good.test");
	no_new_files(true);
	sim_run(&sim, sim.now + SECOND);
	no_new_files(false);
	assert_true(queue_act(sim.queue, queue_find(sim.queue, id), VERB_FLUSH));
	sim_run(&sim, sim.now + SECOND);
	assert_int_equal(sim.reports, 2);
	assert_int_equal(queued(), 0);
}

static void
held_mail_stays_until_released(void **state)
{
	uint64_t id;

	(void)state;
	id = sim_accept(&sim, "a@from.test", "b@dead.test");
	sim_run(&sim, sim.now + MINUTE);
	assert_true(queue_act(sim.queue, queue_find(sim.queue, id), VERB_HOLD));
	sim_run(&sim, sim.now + 10 * DAY);
	assert_int_equal(queued(), 1);
	sim_restart(&sim);
	assert_string_equal(queue_state(queue_find(sim.queue, id)), "hold");
	sim.hosts[2].answer = sim_good;
	assert_true(queue_act(sim.queue, queue_find(sim.queue, id), VERB_RELEASE));
	sim_run(&sim, sim.now + 5000000);
	assert_int_equal(queued(), 0);
	assert_int_equal(sim.delivered, 1);
}

static void
flushed_mail_is_tried_at_once(void **state)
{
	unsigned before;
	uint64_t id;

	(void)state;
	id = sim_accept(&sim, "a@from.test", "b@dead.test");
	sim_run(&sim, sim.now + 2 * HOUR);
	before = sim.hosts[2].n;
	sim.hosts[2].answer = sim_good;
	assert_true(queue_act(sim.queue, queue_find(sim.queue, id), VERB_FLUSH));
	sim_run(&sim, sim.now + 1000);
	assert_int_equal(sim.hosts[2].n, before + 1);
	assert_int_equal(queued(), 0);
}

static void
deleted_mail_is_gone_for_good(void **state)
{
	uint64_t id;

	(void)state;
	id = sim_accept(&sim, "a@from.test", "b@dead.test");
	sim_run(&sim, sim.now + MINUTE);
	assert_true(queue_act(sim.queue, queue_find(sim.queue, id), VERB_DELETE));
	sim_run(&sim, sim.now + MINUTE);
	assert_int_equal(queued(), 0);
	sim_restart(&sim);
	assert_int_equal(queued(), 0);
	assert_int_equal(sim.reports, 0);
}

static void
delay_is_warned_of_once(void **state)
{
	(void)state;
	sim.p.delay_warning_time = 4 * HOUR;
	queue_set_params(sim.queue, &sim.p);
	assert_true(sim_accept(&sim, "a@from.test", "b@dead.test"));
	sim_run(&sim, sim.now + 3 * HOUR);
	assert_int_equal(sim.reports, 0);
	sim_run(&sim, sim.now + 2 * HOUR);
	assert_int_equal(sim.reports, 1);
	sim_restart(&sim);
	sim_run(&sim, sim.now + DAY);
	assert_int_equal(sim.reports, 1);
}

static void
routing_that_is_away_only_delays(void **state)
{
	(void)state;
	sim.routing_down = true;
	assert_true(sim_accept(&sim, "a@from.test", "b@good.test"));
	sim_run(&sim, sim.now + MINUTE);
	assert_int_equal(queued(), 1);
	sim.routing_down = false;
	queue_run(sim.queue);
	sim_run(&sim, sim.now + MINUTE);
	assert_int_equal(queued(), 0);
	assert_true(sim_accept(&sim, "a@from.test", "norouting@good.test"));
	sim_run(&sim, sim.now + 6 * DAY);
	assert_int_equal(queued(), 0);
	assert_int_equal(sim.reports, 1);
}

static void
a_clock_that_jumps_neither_loses_nor_hangs(void **state)
{
	unsigned before;

	(void)state;
	assert_true(sim_accept(&sim, "a@from.test", "b@dead.test"));
	sim_run(&sim, sim.now + 10 * MINUTE);
	before = sim.hosts[2].n;
	sim.now -= DAY;
	assert_true(sim_accept(&sim, "a@from.test", "b@good.test"));
	sim_run(&sim, sim.now + 1000);
	assert_int_equal(sim.hosts[0].n, 1);
	sim_run(&sim, sim.now + 90 * MINUTE);
	assert_true(sim.hosts[2].n > before);
	before = sim.hosts[2].n;
	sim.now += 2 * DAY;
	sim_run(&sim, sim.now + 90 * MINUTE);
	assert_true(sim.hosts[2].n > before);
	assert_int_equal(queued(), 1);
	sim_restart(&sim);
	assert_int_equal(queued(), 1);
}

static void
the_journal_does_not_grow_with_what_is_done(void **state)
{
	(void)state;
	assert_true(sim_accept(&sim, "old@from.test", "b@dead.test"));
	for (int i = 0; i < 30000; i++) {
		assert_true(sim_accept(&sim, "a@from.test", "b@good.test"));
		if (i % 100 == 0)
			sim_run(&sim, sim.now + 100);
	}
	sim_run(&sim, sim.now + HOUR);
	assert_int_equal(queued(), 1);
	assert_true(journal_stats(sim.journal).segments <= 6);
	sim_restart(&sim);
	assert_int_equal(queued(), 1);
}

static size_t
destinations(void)
{
	return queue_stats(sim.queue).destinations;
}

static void
destinations_that_nobody_writes_to_are_forgotten(void **state)
{
	char to[60];

	(void)state;
	for (int i = 0; i < 2000; i++) {
		(void)snprintf(to, sizeof(to), "b@d%d.test", i);
		assert_true(sim_accept(&sim, "a@from.test", to));
	}
	assert_true(sim_accept(&sim, "", "b@dead.test"));
	sim_run(&sim, sim.now + HOUR);
	assert_int_equal(destinations(), 2001);
	sim_run(&sim, sim.now + HOUR);
	assert_int_equal(destinations(), 1); /* something waits for it */
	sim_run(&sim, sim.now + 6 * DAY);
	assert_int_equal(destinations(), 0);
	sim_restart(&sim); /* some may still be known from the journal */
	sim_run(&sim, sim.now + 2 * HOUR);
	assert_int_equal(destinations(), 0);
}

/* Its letter is not ready as long as another recipient of it is being routed. */
static void
a_destination_that_was_named_by_routing_is_kept(void **state)
{
	uint64_t id;

	(void)state;
	assert_true(sim_accept(&sim, "a@from.test", "b@good.test slow@second.test"));
	sim_run(&sim, sim.now + 150 * MINUTE);
	assert_int_equal(destinations(), 1);
	sim_run(&sim, sim.now + HOUR);
	assert_int_equal(sim.delivered, 2);
	assert_int_equal(sim.hosts[0].n, 1);
	id = sim_accept(&sim, "a@from.test", "b@good.test slow@second.test");
	sim_run(&sim, sim.now + MINUTE);
	assert_true(queue_act(sim.queue, queue_find(sim.queue, id), VERB_HOLD));
	sim_run(&sim, sim.now + 3 * HOUR);
	assert_int_equal(destinations(), 0);
	assert_true(queue_act(sim.queue, queue_find(sim.queue, id), VERB_RELEASE));
	sim_run(&sim, sim.now + 4 * HOUR);
	assert_int_equal(sim.delivered, 4);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		T(a_letter_is_delivered_at_once_and_gone),
		T(one_dead_destination_sees_one_probe_an_interval),
		T(mail_to_others_does_not_wait_for_the_dead),
		T(greylisting_delays_one_message_not_the_destination),
		T(flapping_host_gets_all_when_it_is_up),
		T(concurrency_settles_below_what_the_host_refuses),
		T(concurrency_grows_with_success_up_to_its_limit),
		T(a_long_list_does_not_hold_up_a_letter),
		T(a_long_list_goes_at_a_pace_while_letters_come),
		T(deferred_mail_does_not_hold_up_fresh_mail_nor_starve),
		T(an_alias_target_is_not_delivered_twice),
		T(restart_keeps_schedule_and_health),
		T(unknown_recipient_comes_back_and_no_report_about_a_report),
		T(a_report_that_could_not_be_written_is_tried_again),
		T(held_mail_stays_until_released),
		T(flushed_mail_is_tried_at_once),
		T(deleted_mail_is_gone_for_good),
		T(delay_is_warned_of_once),
		T(routing_that_is_away_only_delays),
		T(a_clock_that_jumps_neither_loses_nor_hangs),
		T(the_journal_does_not_grow_with_what_is_done),
		T(destinations_that_nobody_writes_to_are_forgotten),
		T(a_destination_that_was_named_by_routing_is_kept),
	};

	log_set_level(LOG_LEVEL_ERROR);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
