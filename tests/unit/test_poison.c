/* SPDX-License-Identifier: ISC
 *
 * Messages whose agent crashes: suspects go out one at a time, the one that is
 * alone at the second crash is held, the innocent go on; also over a restart.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "queue/impl.h"
#include "sim/sim.h"

enum { MINUTE = 60000, HOUR = 60 * MINUTE };

static struct sim sim;
static const char agent[] = "the agent";
static int64_t takes_ms;
static size_t most; /* jobs at a time */

/* All jobs are with one agent. */
static struct sim_answer
at_agent(struct sim *s, const char *name, struct span recipient, const struct queue_job *job)
{
	struct sim_answer a = sim_good(s, name, recipient, job);

	((struct queue_job *)(uintptr_t)job)->agent = (void *)(uintptr_t)agent;
	a.takes_ms = takes_ms;
	if (s->queue->jobs.count > most)
		most = s->queue->jobs.count;
	return a;
}

static int
setup(void **state)
{
	(void)state;
	takes_ms = HOUR;
	sim_init(&sim);
	sim_host_add(&sim, "one.test", at_agent);
	sim_host_add(&sim, "two.test", at_agent);
	sim_open(&sim);
	return 0;
}

static int
teardown(void **state)
{
	(void)state;
	sim_free(&sim);
	return 0;
}

static void
wait_for_jobs(size_t n)
{
	int64_t end = sim.now + 30 * MINUTE;

	while (queue_stats(sim.queue).jobs != n && sim.now < end)
		sim_run(&sim, sim.now + 1000);
	assert_int_equal(queue_stats(sim.queue).jobs, n);
}

/* As queued does it; the number of messages that the agent had. */
static size_t
crash(void)
{
	struct queue_doubt *doubts;
	size_t n = queue_agent_doubts(sim.queue, agent, &doubts);

	queue_agent_lost(sim.queue, agent);
	queue_agent_crashed(sim.queue, doubts, n, "remoted");
	sim.soon = true;
	free(doubts);
	return n;
}

static const struct message *
the(uint64_t id)
{
	const struct message *m = queue_find(sim.queue, id);

	assert_non_null(m);
	return m;
}

static void
after_a_crash_all_are_suspects_and_go_alone(void **state)
{
	uint64_t ids[3];

	(void)state;
	for (int i = 0; i < 3; i++)
		ids[i] = sim_accept(&sim, "a@from.test", i ? "b@one.test" : "b@two.test");
	wait_for_jobs(3);
	assert_int_equal(crash(), 3);
	for (int i = 0; i < 3; i++)
		assert_true(the(ids[i])->suspect);
	takes_ms = 20;
	most = 0;
	sim_run(&sim, sim.now + 2 * HOUR);
	assert_int_equal(most, 1);
	assert_int_equal(queue_stats(sim.queue).messages, 0);
}

static void
who_was_alone_is_held_and_the_others_are_cleared(void **state)
{
	uint64_t ids[2], fresh;
	const struct message *m, *other;

	(void)state;
	ids[0] = sim_accept(&sim, "a@from.test", "b@one.test");
	ids[1] = sim_accept(&sim, "a@from.test", "b@two.test");
	wait_for_jobs(2);
	assert_int_equal(crash(), 2);
	wait_for_jobs(1); /* the other one waits for its turn */
	fresh = sim_accept(&sim, "a@from.test", "c@two.test");
	wait_for_jobs(2); /* who is no suspect does not */
	assert_int_equal(crash(), 2);
	m = the(ids[0])->flags & MESSAGE_HELD ? the(ids[0]) : the(ids[1]);
	other = m == the(ids[0]) ? the(ids[1]) : the(ids[0]);
	assert_true(m->flags & MESSAGE_HELD);
	assert_false(m->suspect);
	assert_true(span_starts(word_span(m->reason), SPAN(QUEUE_QUARANTINE "remoted crashed twice")));
	assert_false(other->flags & MESSAGE_HELD);
	assert_false(the(fresh)->suspect); /* one that was alone has done it */
	takes_ms = 20;
	sim_run(&sim, sim.now + 2 * HOUR);
	assert_int_equal(queue_stats(sim.queue).messages, 1);
	assert_true(queue_act(sim.queue, queue_find(sim.queue, message_id(m)), VERB_RELEASE));
	sim_run(&sim, sim.now + 2 * HOUR);
	assert_int_equal(queue_stats(sim.queue).messages, 0);
}

static void
an_agent_that_only_goes_away_makes_no_suspects(void **state)
{
	uint64_t id = sim_accept(&sim, "a@from.test", "b@one.test");

	(void)state;
	wait_for_jobs(1);
	queue_agent_lost(sim.queue, agent);
	assert_false(the(id)->suspect);
}

static void
a_restart_forgets_neither_suspects_nor_the_held(void **state)
{
	uint64_t ids[2];

	(void)state;
	ids[0] = sim_accept(&sim, "a@from.test", "b@one.test");
	ids[1] = sim_accept(&sim, "a@from.test", "b@two.test");
	wait_for_jobs(2);
	assert_int_equal(crash(), 2);
	sim_restart(&sim);
	assert_true(the(ids[0])->suspect);
	assert_true(the(ids[1])->suspect);
	wait_for_jobs(1);
	assert_int_equal(crash(), 1); /* for the second time, and alone */
	sim_restart(&sim);
	assert_int_equal(((the(ids[0])->flags & MESSAGE_HELD) != 0) + ((the(ids[1])->flags & MESSAGE_HELD) != 0), 1);
}

static void
what_was_delivered_or_deleted_meanwhile_is_not_blamed(void **state)
{
	struct queue_doubt doubts[2] = { { .message = 12345, .alone = true }, { .alone = true } };

	(void)state;
	doubts[1].message = sim_accept(&sim, "a@from.test", "b@one.test");
	wait_for_jobs(1);
	assert_true(queue_act(sim.queue, queue_find(sim.queue, doubts[1].message), VERB_DELETE));
	queue_agent_crashed(sim.queue, doubts, 2, "remoted");
	assert_false(the(doubts[1].message)->flags & MESSAGE_HELD);
}

static void
a_job_that_its_agent_blames_is_suspect_when_it_ends(void **state)
{
	uint64_t id = sim_accept(&sim, "a@from.test", "b@one.test"), job;

	(void)state;
	wait_for_jobs(1);
	job = queue_job_id(OWNER_OF(sim.queue->job_list.next, struct queue_job, node));
	queue_job_crashed(sim.queue, job + 1, "deliverd"); /* there is none */
	queue_job_crashed(sim.queue, job, "deliverd");
	assert_false(the(id)->suspect);
	queue_job_lost(sim.queue, job);
	assert_true(the(id)->suspect);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(after_a_crash_all_are_suspects_and_go_alone, setup, teardown),
		cmocka_unit_test_setup_teardown(who_was_alone_is_held_and_the_others_are_cleared, setup, teardown),
		cmocka_unit_test_setup_teardown(an_agent_that_only_goes_away_makes_no_suspects, setup, teardown),
		cmocka_unit_test_setup_teardown(a_restart_forgets_neither_suspects_nor_the_held, setup, teardown),
		cmocka_unit_test_setup_teardown(what_was_delivered_or_deleted_meanwhile_is_not_blamed, setup, teardown),
		cmocka_unit_test_setup_teardown(a_job_that_its_agent_blames_is_suspect_when_it_ends, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
