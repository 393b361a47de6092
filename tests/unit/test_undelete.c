/* SPDX-License-Identifier: ISC
 *
 * What the tools need of the queue: walks in slices, deletions that are
 * undone, and the history of what is gone.
 */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <string.h>
#include <cmocka.h>

#include "queue/history.h"
#include "queue/impl.h"
#include "sim/sim.h"

static struct sim_answer
refuse(struct sim *s, const char *name, struct span recipient, const struct queue_job *job)
{
	(void)s, (void)name, (void)recipient, (void)job;
	return (struct sim_answer){ .outcome = OUTCOME_DEFERRED, .health = HEALTH_UNREACHED, .takes_ms = 10, .code = "4.4.1", .reply = "refused" };
}

static struct sim_answer
take(struct sim *s, const char *name, struct span recipient, const struct queue_job *job)
{
	(void)s, (void)name, (void)recipient, (void)job;
	return (struct sim_answer){ .outcome = OUTCOME_DELIVERED, .health = HEALTH_GOOD, .takes_ms = 10, .code = "2.0.0", .reply = "ok" };
}

static void
begin(struct sim *s)
{
	sim_init(s);
	sim_open(s);
	sim_host_add(s, "dead", refuse);
	sim_host_add(s, "good", take);
}

static size_t
walk_all(struct queue *q)
{
	struct queue_walk w;
	size_t n = 0;

	queue_walk_begin(q, &w);
	while (queue_walk_next(&w))
		n++;
	queue_walk_end(&w);
	return n;
}

static void
test_walk_survives_changes(void **state)
{
	struct sim s;
	struct queue_walk w;
	uint64_t ids[10], last = 0;
	struct message *m;
	unsigned n = 0;

	(void)state;
	begin(&s);
	for (int i = 0; i < 10; i++)
		ids[i] = sim_accept(&s, i % 3 ? "a@x" : "", "b@dead");
	sim_run(&s, s.now + 1000);
	queue_walk_begin(s.queue, &w);
	while ((m = queue_walk_next(&w))) {
		assert_true(message_id(m) > last);
		last = message_id(m);
		if (++n == 3) { /* the one before, the next two, and one more at the end */
			for (int i = 2; i < 5; i++)
				assert_true(queue_act(s.queue, queue_find(s.queue, ids[i]), VERB_DELETE));
			sim_run(&s, s.now + 1000);
			(void)sim_accept(&s, "new@x", "b@dead");
		}
	}
	queue_walk_end(&w);
	assert_int_equal(n, 8);
	assert_int_equal(walk_all(s.queue), 8);
	sim_free(&s);
}

static void
note_done(void *arg, uint64_t id, const struct fail *why)
{
	(void)id;
	*(int *)arg = why ? -1 : 1;
}

static void
undelete(struct sim *s, uint64_t id)
{
	struct fail why = { .text = "" };
	int done = 0;

	if (!queue_undelete(s->queue, id, note_done, &done, &why))
		fail_msg("%s", why.text);
	(void)journal_sync(s->journal, NULL);
	assert_int_equal(done, 1);
}

/* As the deletion found it: who has it, and whether it was held; also over restarts before and after. */
static void
test_undelete(void **state)
{
	struct sim s;
	uint64_t id, held;
	struct message *m;

	(void)state;
	for (unsigned restarts = 0; restarts < 8; restarts++) {
		struct fail why;
		int done = 0;

		begin(&s);
		s.parts = restarts & 4 ? 20 : 0;
		id = sim_accept(&s, "a@x", "one@good two@dead three@good four@dead");
		held = sim_accept(&s, "a@x", "b@dead");
		sim_run(&s, s.now + 2000);
		assert_true(queue_act(s.queue, queue_find(s.queue, held), VERB_HOLD));
		assert_int_equal(queue_find(s.queue, id)->unsettled, 2);
		assert_true(queue_act(s.queue, queue_find(s.queue, id), VERB_DELETE));
		assert_true(queue_act(s.queue, queue_find(s.queue, held), VERB_DELETE));
		sim_run(&s, s.now + 2000);
		assert_null(queue_find(s.queue, id));
		if (restarts & 1)
			sim_restart(&s);
		undelete(&s, id);
		undelete(&s, held);
		assert_false(queue_undelete(s.queue, id, note_done, &done, &why));
		if (restarts & 2)
			sim_restart(&s);
		m = queue_find(s.queue, id);
		assert_non_null(m);
		assert_int_equal(m->unsettled, 2);
		assert_true(m->rcpts[0].settled && !m->rcpts[1].settled && m->rcpts[2].settled && !m->rcpts[3].settled);
		assert_string_equal(queue_state(queue_find(s.queue, held)), "hold");
		sim_free(&s);
	}
}

/* An alias of which one place has it, and that is a list whose owner is told. */
static void
test_undelete_delivers_nothing_twice(void **state)
{
	(void)state;
	for (unsigned restarts = 0; restarts < 8; restarts++) {
		struct sim s;
		struct message *m;
		uint64_t id;

		begin(&s);
		sim_host_add(&s, "good.test", take);
		sim_host_add(&s, "second.test", refuse);
		id = sim_accept(&s, "a@x", restarts & 4 ? "alias@here one@good" : "alias@here");
		sim_run(&s, s.now + 2000);
		m = queue_find(s.queue, id);
		m->rcpts[0].expanded = true;
		assert_true(message_set_owner(m, 0, SPAN("owner@x")));
		assert_true(queue_act(s.queue, m, VERB_DELETE));
		sim_run(&s, s.now + 2000);
		if (restarts & 1)
			sim_restart(&s);
		undelete(&s, id);
		if (restarts & 2)
			sim_restart(&s);
		m = queue_find(s.queue, id);
		assert_true(m->rcpts[0].expanded);
		assert_true(span_eq(message_owner(m, 0), SPAN("owner@x")));
		s.hosts[3].answer = take;
		sim_run(&s, s.now + 3600000);
		assert_int_equal(s.hosts[2].n, 1);
		assert_int_equal(s.hosts[3].seen[s.hosts[3].n - 1].outcome, OUTCOME_DELIVERED);
		assert_int_equal(queue_stats(s.queue).messages, 0);
		sim_free(&s);
	}
}

static uint64_t
accept_many(struct sim *s, unsigned n)
{
	struct buf to;
	uint64_t id;

	buf_init(&to, 1 << 20);
	buf_puts(&to, "one@good");
	for (unsigned i = 0; i < n; i++)
		buf_printf(&to, " alias@here%u", i);
	buf_putc(&to, '\0');
	id = sim_accept(s, "a@x", buf_span(&to).p);
	buf_free(&to);
	return id;
}

/* More is known of those that are left than one record holds. */
static void
test_undelete_knows_all_of_a_long_list(void **state)
{
	enum { MANY = 3500, OWNER = 310 };
	char owner[OWNER];

	(void)state;
	memset(owner, 'o', OWNER);
	for (unsigned restarts = 0; restarts < 4; restarts++) {
		struct sim s;
		struct message *m;
		uint64_t id;

		begin(&s);
		s.segment = 16 << 20;
		sim_restart(&s);
		sim_host_add(&s, "good.test", take);
		sim_host_add(&s, "second.test", refuse);
		id = accept_many(&s, MANY);
		sim_run(&s, s.now + 20000);
		assert_int_equal(s.delivered, MANY + 1);
		m = queue_find(s.queue, id);
		for (uint32_t i = 1; i <= MANY; i++)
			m->rcpts[i].expanded = message_set_owner(m, i, span_of(owner, OWNER));
		assert_true(queue_act(s.queue, m, VERB_DELETE));
		sim_run(&s, s.now + 2000);
		if (restarts & 1)
			sim_restart(&s);
		undelete(&s, id);
		if (restarts & 2)
			sim_restart(&s);
		m = queue_find(s.queue, id);
		assert_int_equal(m->unsettled, MANY);
		assert_true(m->rcpts[0].settled && m->rcpts[MANY].expanded);
		assert_int_equal(message_owner(m, MANY).n, OWNER);
		s.hosts[3].answer = take;
		sim_run(&s, s.now + 3600000);
		assert_int_equal(s.delivered, 2 * MANY + 1);
		assert_int_equal(queue_stats(s.queue).messages, 0);
		sim_free(&s);
	}
}

/* What came back and was delivered is not there to be had again; what is deleted anew is. */
static void
test_undelete_once_for_each_deletion(void **state)
{
	(void)state;
	for (unsigned restarts = 0; restarts < 4; restarts++) {
		struct sim s;
		struct fail why;
		uint64_t id;
		int done = 0;

		begin(&s);
		id = sim_accept(&s, "a@x", "b@dead");
		for (int i = 0; i < 2; i++) {
			sim_run(&s, s.now + 1000);
			assert_true(queue_act(s.queue, queue_find(s.queue, id), VERB_DELETE));
			sim_run(&s, s.now + 1000);
			if (restarts & 1)
				sim_restart(&s);
			undelete(&s, id);
		}
		s.hosts[0].answer = take;
		sim_run(&s, s.now + 3600000);
		assert_int_equal(queue_stats(s.queue).messages, 0);
		if (restarts & 2)
			sim_restart(&s);
		assert_false(queue_undelete(s.queue, id, note_done, &done, &why));
		assert_false(queue_was_deleted(s.queue, id));
		sim_free(&s);
	}
}

/* Compaction carries the record of the old deletion behind the message that has come back. */
static void
test_an_old_deletion_removes_nothing(void **state)
{
	struct sim s;
	struct record_outcome o = { .removed = true, .why = SPAN("administrator") };
	struct fail why;
	journal_pos old;
	uint64_t id;

	(void)state;
	begin(&s);
	id = sim_accept(&s, "a@x", "b@dead");
	sim_run(&s, s.now + 1000);
	old = queue_find(s.queue, id)->pos;
	assert_true(queue_act(s.queue, queue_find(s.queue, id), VERB_DELETE));
	sim_run(&s, s.now + 1000);
	undelete(&s, id);
	o.id = id;
	o.about = old;
	assert_true(queue_append(s.queue, RECORD_outcome, &record_desc_outcome, &o, SPAN_NONE, 0, NULL, NULL, &why));
	sim_restart(&s);
	assert_non_null(queue_find(s.queue, id));
	sim_free(&s);
}

static void
test_frames(void **state)
{
	(void)state;
	for (unsigned final = 0; final < 2; final++) {
		struct record_event e = { .id = 1, .final = final, .why = SPAN("") };

		assert_string_equal(history_state(&e), final ? "delivered" : "partial");
		e.why = SPAN("administrator");
		assert_string_equal(history_state(&e), "deleted");
	}
	assert_string_equal(history_outcome(HISTORY_DELETED), "deleted");
	assert_string_equal(history_outcome(OUTCOME_FAILED), "bounced");
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_walk_survives_changes),
		cmocka_unit_test(test_undelete),
		cmocka_unit_test(test_undelete_delivers_nothing_twice),
		cmocka_unit_test(test_undelete_knows_all_of_a_long_list),
		cmocka_unit_test(test_undelete_once_for_each_deletion),
		cmocka_unit_test(test_an_old_deletion_removes_nothing),
		cmocka_unit_test(test_frames),
	};

	log_set_level(LOG_LEVEL_ERROR + 1); /* it would be 50 MB */
	return cmocka_run_group_tests_name("undelete", tests, NULL, NULL);
}
