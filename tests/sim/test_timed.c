/* SPDX-License-Identifier: ISC
 *
 * What senders say of their messages' time and order (queue/timed.c, ranks of queue/destination.c).
 */
#include <string.h>

#include "ipc/bounds.h"
#include "sim/simtest.h"

static void
begin(void)
{
	sim_host_add(&sim, "good.test", sim_good);
	sim_host_add(&sim, "dead.test", sim_dead);
}

/* RFC 4865: each at its time, whatever the order they came in; others do not wait. */
static void
each_is_sent_at_its_time(void **state)
{
	int64_t start = sim.now;

	(void)state;
	sim.with.release_ms = start + 10 * DAY;
	assert_true(sim_accept(&sim, "a@from.test", "late@good.test"));
	sim.with.release_ms = start + HOUR;
	assert_true(sim_accept(&sim, "a@from.test", "soon@good.test"));
	sim.with.release_ms = start - 1;
	assert_true(sim_accept(&sim, "a@from.test", "past@good.test"));
	sim.with.release_ms = 0;
	assert_true(sim_accept(&sim, "a@from.test", "now@good.test"));
	sim_run(&sim, start + HOUR - 1);
	assert_int_equal(sim.hosts[0].n, 2);
	sim_run(&sim, start + HOUR + 1000);
	assert_int_equal(sim.hosts[0].n, 3);
	sim_run(&sim, start + 10 * DAY - 1);
	assert_int_equal(queued(), 1);
	sim_run(&sim, start + 10 * DAY + 1000);
	assert_int_equal(queued(), 0);
	assert_int_equal(sim.hosts[0].n, 4);
}

static void
a_restart_forgets_no_time(void **state)
{
	int64_t start = sim.now;

	(void)state;
	sim.with.release_ms = start + 10 * DAY;
	assert_true(sim_accept(&sim, "a@from.test", "b@good.test c@good.test"));
	sim_run(&sim, start + DAY);
	sim_restart(&sim);
	sim_run(&sim, start + 10 * DAY - 1);
	assert_int_equal(sim.hosts[0].n, 0);
	sim_restart(&sim);
	sim_run(&sim, start + 10 * DAY + 1000);
	assert_int_equal(sim.hosts[0].n, 1);
	assert_int_equal(queued(), 0);
}

/* Its lifetime begins when it is to be sent, and its waiting keeps no older one from its end. */
static void
lifetime_begins_with_the_release(void **state)
{
	int64_t start = sim.now;

	(void)state;
	sim.with.release_ms = start + 20 * DAY;
	assert_true(sim_accept(&sim, "a@from.test", "b@dead.test"));
	sim.with.release_ms = 0;
	assert_true(sim_accept(&sim, "a@from.test", "c@dead.test"));
	sim_run(&sim, start + 6 * DAY);
	assert_int_equal(queued(), 1);
	assert_int_equal(sim.reports, 1);
	sim_run(&sim, start + 24 * DAY);
	assert_int_equal(queued(), 1);
	sim_run(&sim, start + 26 * DAY);
	assert_int_equal(queued(), 0);
	assert_int_equal(sim.reports, 2);
}

/* A flush is about attempts that failed; hold, release and delete work on it as on others. */
static void
verbs_on_what_waits_for_its_time(void **state)
{
	int64_t start = sim.now;
	uint64_t id, other;

	(void)state;
	sim.with.release_ms = start + DAY;
	id = sim_accept(&sim, "a@from.test", "b@good.test");
	other = sim_accept(&sim, "a@from.test", "c@good.test");
	sim_run(&sim, start + HOUR);
	assert_false(queue_act(sim.queue, queue_find(sim.queue, id), VERB_FLUSH));
	assert_true(queue_act(sim.queue, queue_find(sim.queue, id), VERB_HOLD));
	assert_true(queue_act(sim.queue, queue_find(sim.queue, id), VERB_RELEASE));
	assert_true(queue_act(sim.queue, queue_find(sim.queue, id), VERB_REQUEUE));
	assert_true(queue_act(sim.queue, queue_find(sim.queue, other), VERB_DELETE));
	sim_run(&sim, start + DAY - 1);
	assert_int_equal(sim.hosts[0].n, 0);
	assert_int_equal(queued(), 1);
	assert_string_equal(queue_state(queue_find(sim.queue, id)), "deferred");
	sim_run(&sim, start + DAY + 1000);
	assert_int_equal(sim.hosts[0].n, 1);
	assert_int_equal(queued(), 0);
}

static void
held_beyond_its_time_it_goes_when_released(void **state)
{
	int64_t start = sim.now;
	uint64_t id;

	(void)state;
	sim.with.release_ms = start + DAY;
	id = sim_accept(&sim, "a@from.test", "b@good.test");
	assert_true(queue_act(sim.queue, queue_find(sim.queue, id), VERB_HOLD));
	sim_run(&sim, start + 2 * DAY);
	assert_int_equal(sim.hosts[0].n, 0);
	assert_true(queue_act(sim.queue, queue_find(sim.queue, id), VERB_RELEASE));
	sim_run(&sim, start + 2 * DAY + 1000);
	assert_int_equal(sim.hosts[0].n, 1);
}

/* RFC 2852 4, R: nobody is tried behind the deadline, and the report is a failure of 5.4.7. */
static void
late_mail_comes_back(void **state)
{
	int64_t start = sim.now;

	(void)state;
	sim.with.by_ms = start + 2 * HOUR + 1;
	sim.with.by_mode = BY_RETURN;
	assert_true(sim_accept(&sim, "a@from.test", "b@dead.test c@good.test"));
	sim.with.by_mode = 0;
	sim_run(&sim, start + HOUR);
	assert_int_equal(queued(), 1);
	sim_restart(&sim);
	sim_run(&sim, start + 2 * HOUR);
	assert_int_equal(sim.reports, 0);
	sim_run(&sim, start + 2 * HOUR + MINUTE);
	assert_int_equal(sim.reports, 1);
	assert_int_equal(queued(), 0);
	for (unsigned i = 0; i < sim.hosts[1].n; i++)
		assert_true(sim.hosts[1].seen[i].at_ms <= start + 2 * HOUR + 1);
}

/* On hold it stays, and goes back when it is let go. */
static void
late_mail_on_hold_is_the_administrators(void **state)
{
	int64_t start = sim.now;
	uint64_t id;

	(void)state;
	sim.with.by_ms = start + HOUR;
	sim.with.by_mode = BY_RETURN;
	id = sim_accept(&sim, "a@from.test", "c@good.test");
	assert_true(queue_act(sim.queue, queue_find(sim.queue, id), VERB_HOLD));
	sim.with.by_mode = 0;
	sim_run(&sim, start + 2 * HOUR);
	sim_restart(&sim);
	sim_run(&sim, start + 3 * HOUR);
	assert_int_equal(queued(), 1);
	assert_int_equal(sim.reports, 0);
	assert_true(queue_act(sim.queue, queue_find(sim.queue, id), VERB_RELEASE));
	sim_run(&sim, start + 4 * HOUR);
	assert_int_equal(queued(), 0);
	assert_int_equal(sim.reports, 1);
	assert_int_equal(sim.hosts[0].n, 0);
}

/* What is with an agent when the time is over is let finish. */
static void
late_mail_under_way_is_let_finish(void **state)
{
	int64_t start = sim.now;

	(void)state;
	sim.with.by_ms = start + 10;
	sim.with.by_mode = BY_RETURN;
	assert_true(sim_accept(&sim, "a@from.test", "c@good.test"));
	sim_run(&sim, start + HOUR);
	assert_int_equal(sim.delivered, 1);
	assert_int_equal(sim.reports, 0);
	assert_int_equal(queued(), 0);
	sim.with.by_ms = sim.now + 10;
	assert_true(sim_accept(&sim, "a@from.test", "c@dead.test")); /* an attempt takes 30 s */
	sim_run(&sim, sim.now + 29000);
	assert_int_equal(sim.reports, 0);
	sim_run(&sim, sim.now + MINUTE);
	assert_int_equal(sim.reports, 1);
	assert_int_equal(queued(), 0);
}

/* RFC 2852 4, N: told once, over restarts, and tried on. */
static void
late_mail_is_told_of_once(void **state)
{
	int64_t start = sim.now;

	(void)state;
	sim.with.by_ms = start + HOUR;
	sim.with.by_mode = BY_NOTIFY;
	assert_true(sim_accept(&sim, "a@from.test", "b@dead.test"));
	sim_run(&sim, start + HOUR - 1);
	assert_int_equal(sim.reports, 0);
	sim_run(&sim, start + HOUR + MINUTE);
	assert_int_equal(sim.reports, 1);
	assert_int_equal(queued(), 1);
	sim_restart(&sim);
	sim_run(&sim, start + DAY);
	assert_int_equal(sim.reports, 1);
	sim.with.by_ms = sim.now - HOUR; /* late when it comes */
	assert_true(sim_accept(&sim, "a@from.test", "b@dead.test"));
	sim_run(&sim, sim.now + MINUTE);
	assert_int_equal(sim.reports, 2);
}

static char order[64];

static struct sim_answer
note_order(struct sim *s, const char *name, struct span recipient, const struct queue_job *job)
{
	size_t n = strlen(order);

	if (n + 1 < sizeof(order))
		order[n] = recipient.p[0];
	order[n + 1] = '\0';
	return sim_good(s, name, recipient, job);
}

/* RFC 6710 5.1: higher ones first, equal ones as they came; each eighth turn is the lowest's, so that none waits for ever. */
static void
priority_is_the_order(void **state)
{
	static const struct {
		char who[16];
		int priority;
	} mail[] = { { "n@one.test", 0 }, { "l@one.test", -9 }, { "m@one.test", -1 }, { "b@one.test", 4 }, { "a@one.test", 9 }, { "c@one.test", 4 },
		{ "d@one.test", 1 }, { "e@one.test", 1 }, { "f@one.test", 1 }, { "g@one.test", 1 }, { "h@one.test", 1 } };

	(void)state;
	order[0] = '\0';
	sim_host_add(&sim, "one.test", note_order);
	sim.capacity = 0;
	for (size_t i = 0; i < sizeof(mail) / sizeof(*mail); i++) {
		sim.with.priority = mail[i].priority ? (uint8_t)(10 + mail[i].priority) : 0;
		assert_true(sim_accept(&sim, "a@from.test", mail[i].who));
	}
	sim_run(&sim, sim.now + 1000);
	assert_string_equal(order, "");
	sim.capacity = 1;
	sim.soon = true;
	sim_run(&sim, sim.now + MINUTE);
	assert_string_equal(order, "abcdefgmhnl");
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		T(each_is_sent_at_its_time),
		T(a_restart_forgets_no_time),
		T(lifetime_begins_with_the_release),
		T(verbs_on_what_waits_for_its_time),
		T(late_mail_comes_back),
		T(late_mail_on_hold_is_the_administrators),
		T(late_mail_under_way_is_let_finish),
		T(late_mail_is_told_of_once),
		T(priority_is_the_order),
		T(held_beyond_its_time_it_goes_when_released),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
