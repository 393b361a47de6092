/* SPDX-License-Identifier: ISC
 *
 * Recipients that lead to many places, some of which are reached before others (queue/routing.c).
 */
#include <stdio.h>
#include <string.h>

#include "queue/impl.h"
#include "sim/simtest.h"

enum { MEMBERS = 1000, MEMBERS_MAX = 66000 };

static unsigned got[MEMBERS_MAX]; /* how often each member of list@ has it */
static unsigned members;
static unsigned asked;
static bool returned; /* a report said so */

static void
route_list(struct sim *s, uint64_t ask)
{
	char member[40];

	for (unsigned i = 0; i < members; i++) {
		(void)snprintf(member, sizeof(member), "%u@slow.test", i);
		sim_target(s, ask, AGENT_REMOTE, span_str(member));
	}
}

/* To itself and to another; but the second time nobody knows. */
static void
route_self(struct sim *s, uint64_t ask)
{
	if (asked == 2) {
		sim_target(s, ask, AGENT_DEFER, SPAN("self@good.test"));
		return;
	}
	sim_target(s, ask, AGENT_REMOTE, SPAN("self@good.test"));
	sim_target(s, ask, AGENT_REMOTE, SPAN("other@later.test"));
}

/* One of them fails at each attempt, at the same address as one that does not. */
static void
route_team(struct sim *s, uint64_t ask)
{
	sim_target(s, ask, AGENT_FAIL, SPAN("nosuch@good.test"));
	sim_target(s, ask, AGENT_FAIL, SPAN("team@later.test"));
	sim_target(s, ask, AGENT_REMOTE, SPAN("team@later.test"));
}

static bool
route(struct sim *s, uint64_t ask, struct span address)
{
	static const struct {
		const char *name;
		void (*route)(struct sim *s, uint64_t ask);
	} aliases[] = {
		{ "list@", route_list },
		{ "self@", route_self },
		{ "team@", route_team },
	};

	for (size_t i = 0; i < sizeof(aliases) / sizeof(*aliases); i++)
		if (span_starts(address, span_str(aliases[i].name))) {
			asked++;
			aliases[i].route(s, ask);
			return true;
		}
	return false;
}

static struct sim_answer
slow(struct sim *s, const char *name, struct span recipient, const struct queue_job *job)
{
	(void)s, (void)name, (void)recipient, (void)job;
	return (struct sim_answer){ .outcome = OUTCOME_DELIVERED, .health = HEALTH_GOOD, .takes_ms = 5 * SECOND };
}

/* Takes it at the second attempt. */
static struct sim_answer
later(struct sim *s, const char *name, struct span recipient, const struct queue_job *job)
{
	if (s->hosts[sim_host_index(s, span_str(name))].count++ > 0)
		return sim_good(s, name, recipient, job);
	return (struct sim_answer){ .outcome = OUTCOME_DEFERRED, .health = HEALTH_GOOD, .takes_ms = 50, .code = "4.7.1", .reply = "450 4.7.1 later" };
}

static void
on_delivered(struct sim *s, const struct message *m, struct span address, struct span content)
{
	char member[40];
	unsigned i;

	(void)s;
	returned |= !m->sender && span_find(content, SPAN("returned by the administrator")) != SIZE_MAX;
	if (span_cstr(address, member, sizeof(member)) && sscanf(member, "%u@slow.test", &i) == 1 && i < members)
		got[i]++;
}

static void
begin(void)
{
	sim.route = route;
	sim.on_delivered = on_delivered;
	memset(got, 0, sizeof(got));
	members = MEMBERS;
	asked = 0;
	returned = false;
	sim_host_add(&sim, "slow.test", slow);
	sim_host_add(&sim, "good.test", sim_good);
	sim_host_add(&sim, "later.test", later);
}

static unsigned
members_with_it(unsigned least)
{
	unsigned n = 0;

	for (unsigned i = 0; i < members; i++)
		n += got[i] >= least;
	return n;
}

static void
act(uint64_t id, enum queue_verb verb)
{
	assert_true(queue_act(sim.queue, queue_find(sim.queue, id), verb));
	sim.soon = true;
}

/* To a list of which some members have it, some are under way and most are ready. */
static uint64_t
partly_under_way(void)
{
	uint64_t id = sim_accept(&sim, "a@from.test", "list@here.test");

	sim_run(&sim, sim.now + 6 * SECOND);
	assert_in_range(members_with_it(1), 1, members - 1);
	assert_in_range(queue_find(sim.queue, id)->jobs, 1, MEMBERS);
	return id;
}

static void
assert_each_has_it_once(void)
{
	assert_int_equal(members_with_it(1), members);
	assert_int_equal(members_with_it(2), 0);
	assert_int_equal(queued(), 0);
	assert_int_equal(sim.reports, 0);
}

static void
hold_loses_no_member(void **state)
{
	uint64_t id = partly_under_way();

	(void)state;
	act(id, VERB_HOLD);
	sim_run(&sim, sim.now + 10 * MINUTE);
	assert_int_equal(queued(), 1);
	assert_in_range(members_with_it(1), 1, MEMBERS - 1);
	sim_restart(&sim);
	act(id, VERB_RELEASE);
	sim_run(&sim, sim.now + HOUR);
	assert_each_has_it_once();
}

static void
release_with_jobs_under_way_loses_no_member(void **state)
{
	uint64_t id = partly_under_way();

	(void)state;
	act(id, VERB_HOLD);
	sim_run(&sim, sim.now + 10);
	act(id, VERB_RELEASE);
	sim_run(&sim, sim.now + HOUR);
	assert_each_has_it_once();
}

static void
requeue_loses_no_member(void **state)
{
	uint64_t id = partly_under_way();

	(void)state;
	act(id, VERB_REQUEUE);
	sim_run(&sim, sim.now + HOUR);
	assert_each_has_it_once();
}

/* All of it was ready: nothing is to be waited for. */
static void
requeue_before_the_first_job_starts_at_once(void **state)
{
	uint64_t id;

	(void)state;
	sim.capacity = 0;
	id = sim_accept(&sim, "a@from.test", "list@here.test");
	sim_run(&sim, sim.now + SECOND);
	act(id, VERB_REQUEUE);
	sim.capacity = 1000;
	sim_run(&sim, sim.now + 2 * MINUTE);
	assert_each_has_it_once();
}

/* What is under way may still succeed; of the rest the sender hears, once and soon. */
static void
given_up(enum queue_verb verb)
{
	uint64_t id = partly_under_way();

	act(id, verb);
	sim_run(&sim, sim.now + MINUTE);
	assert_int_equal(queued(), 0);
	assert_int_equal(sim.reports, 1);
	sim_run(&sim, sim.now + DAY);
	assert_int_equal(sim.reports, 1);
	assert_in_range(members_with_it(1), 1, MEMBERS - 1);
}

static void
bounce_tells_of_members_without_it(void **state)
{
	(void)state;
	given_up(VERB_BOUNCE);
	assert_true(returned);
}

static void
expire_tells_of_members_without_it(void **state)
{
	(void)state;
	given_up(VERB_EXPIRE);
}

/* It was delivered to its own address: what is not known yet has that address as well. */
static void
routing_put_off_is_no_delivery(void **state)
{
	(void)state;
	assert_true(sim_accept(&sim, "a@from.test", "self@good.test"));
	sim_run(&sim, sim.now + DAY);
	assert_int_equal(asked, 3);
	assert_int_equal(sim.hosts[1].n, 1);
	assert_int_equal(sim.hosts[2].n, 2);
	assert_int_equal(queued(), 0);
}

/* For as long as the others are tried, over a restart too. */
static void
failure_in_routing_is_told_once(void **state)
{
	uint64_t id;

	(void)state;
	sim.hosts[2].answer = sim_dead;
	id = sim_accept(&sim, "a@from.test", "team@later.test");
	sim_run(&sim, sim.now + HOUR);
	assert_int_equal(sim.reports, 1);
	assert_int_equal(queue_stats(sim.queue).failed, 2);
	sim_restart(&sim);
	sim_run(&sim, sim.now + DAY);
	assert_true(asked > 4);
	assert_int_equal(sim.reports, 1);
	assert_int_equal(queue_find(sim.queue, id)->unsettled, 1);
	sim.hosts[2].answer = sim_good;
	sim_run(&sim, sim.now + DAY);
	assert_int_equal(queued(), 0);
	assert_int_equal(sim.reports, 1);
	assert_int_equal(sim.hosts[2].seen[sim.hosts[2].n - 1].outcome, OUTCOME_DELIVERED);
}

/* More than 16 bits count. */
static void
long_list_loses_no_member(void **state)
{
	(void)state;
	members = MEMBERS_MAX;
	(void)partly_under_way();
	sim_run(&sim, sim.now + 6 * SECOND);
	sim_restart(&sim);
	sim_run(&sim, sim.now + DAY);
	assert_int_equal(members_with_it(1), members);
	assert_int_equal(queued(), 0);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		T(hold_loses_no_member),
		T(release_with_jobs_under_way_loses_no_member),
		T(requeue_loses_no_member),
		T(requeue_before_the_first_job_starts_at_once),
		T(bounce_tells_of_members_without_it),
		T(expire_tells_of_members_without_it),
		T(routing_put_off_is_no_delivery),
		T(failure_in_routing_is_told_once),
		T(long_list_loses_no_member),
	};

	return cmocka_run_group_tests_name("alias", tests, NULL, NULL);
}
