/* SPDX-License-Identifier: ISC
 *
 * Mailboxes whose owners have mail sent on (queue/forward.c).
 */
#include <stdio.h>
#include <string.h>

#include "queue/export.h"
#include "queue/impl.h"
#include "sim/simtest.h"
#include "unit/no_memory.h"

enum { CHAIN = 30 };

static long until_it_fails = -1; /* allocations; below 0: none does */

static bool
memory_fails(void)
{
	return until_it_fails >= 0 && until_it_fails-- == 0;
}

static struct mailbox {
	const char *address, *forwards;
	bool kept;
	unsigned got, forwarded;
} mailboxes[] = {
	{ "both@local.test", "one@good.test\ntwo@later.test", true, 0, 0 },
	{ "away@local.test", "one@good.test", false, 0, 0 },
	{ "first@local.test", "second@local.test", false, 0, 0 },
	{ "second@local.test", "two@later.test", false, 0, 0 },
	{ "ping@local.test", "pong@local.test", false, 0, 0 },
	{ "pong@local.test", "ping@local.test", false, 0, 0 },
	{ "ding@local.test", "dong@local.test", true, 0, 0 },
	{ "dong@local.test", "ding@local.test", true, 0, 0 },
	{ "self@local.test", "self@local.test", false, 0, 0 },
	{ "wrong@local.test", "nobody", false, 0, 0 },
};
static unsigned one, two; /* how often these got it */
static char last_via[5000];
static struct span listed; /* whose reports one@good.test got it with */

static struct mailbox *
mailbox(struct span address)
{
	for (size_t i = 0; i < sizeof(mailboxes) / sizeof(*mailboxes); i++)
		if (span_eq(address, span_str(mailboxes[i].address)))
			return &mailboxes[i];
	return NULL;
}

static bool
counts(const struct queue_job *job, struct span address)
{
	for (uint32_t i = 0; i < job->nunits; i++)
		if (span_eq(unit_address(job->m, job->units[i]), address))
			return unit_may_forward(job->m, job->units[i]);
	return false;
}

/* link7-xxx...@local.test leads to link8. */
static const char *
next_link(struct span address)
{
	static char next[400];
	unsigned n;

	(void)span_cstr(address, next, sizeof(next));
	if (sscanf(next, "link%u", &n) != 1)
		return NULL;
	(void)snprintf(next, sizeof(next), "link%u-%0200d@local.test", n + 1, 0);
	return next;
}

static struct sim_answer
local(struct sim *s, const char *name, struct span address, const struct queue_job *job)
{
	struct sim_answer a = sim_good(s, name, address, job);
	struct mailbox *box = mailbox(address);

	a.forwards = !counts(job, address) ? NULL : box ? box->forwards : next_link(address);
	a.kept = box && box->kept;
	if (box) {
		box->forwarded += a.forwards != NULL;
		box->got += !a.forwards || a.kept;
	}
	(void)span_cstr(message_via(job->m, job->units[0]->recipient), last_via, sizeof(last_via));
	return a;
}

static struct sim_answer
later(struct sim *s, const char *name, struct span recipient, const struct queue_job *job)
{
	return s->hosts[sim_host_index(s, span_str(name))].count++ > 0 ? sim_good(s, name, recipient, job) : sim_dead(s, name, recipient, job);
}

static void
on_delivered(struct sim *s, const struct message *m, struct span address, struct span content)
{
	(void)s, (void)m, (void)content;
	one += span_eq(address, SPAN("one@good.test"));
	two += span_eq(address, SPAN("two@later.test"));
}

static struct sim_answer
good(struct sim *s, const char *name, struct span recipient, const struct queue_job *job)
{
	if (span_eq(recipient, SPAN("one@good.test"))) {
		listed = span_eq(job->sender, SPAN("owner-list@here.test")) ? SPAN("owner") : SPAN("sender");
		(void)span_cstr(message_via(job->m, job->units[0]->recipient), last_via, sizeof(last_via));
	}
	return sim_good(s, name, recipient, job);
}

/* A list whose one member forwards. */
static bool
route(struct sim *s, uint64_t ask, struct span address)
{
	struct queue_target t = { .agent = AGENT_LOCAL, .nexthop = SPAN("local.test"), .address = SPAN("away@local.test"), .uid = 1000,
		.sender = SPAN("owner-list@here.test") };

	return span_eq(address, SPAN("list@here.test")) && queue_target(s->queue, ask, &t);
}

static void
begin(void)
{
	for (size_t i = 0; i < sizeof(mailboxes) / sizeof(*mailboxes); i++)
		mailboxes[i].got = mailboxes[i].forwarded = 0;
	one = two = 0;
	sim.on_delivered = on_delivered;
	sim.route = route;
	sim_host_add(&sim, "local.test", local);
	sim_host_add(&sim, "good.test", good);
	sim_host_add(&sim, "later.test", later);
}

static void
settles(void)
{
	sim_run(&sim, sim.now + DAY);
	assert_int_equal(queued(), 0);
}

#define BOX(name) mailbox(SPAN(name "@local.test"))

/* ---- what becomes of it ---- */

static void
a_copy_stays_and_the_others_get_one_each(void **state)
{
	(void)state;
	assert_true(sim_accept(&sim, "a@from.test", "both@local.test"));
	settles();
	assert_int_equal(BOX("both")->got, 1);
	assert_int_equal(one, 1);
	assert_int_equal(two, 1);
	assert_int_equal(sim.reports, 0);
}

/* Who was added is in the journal by the time that the mailbox is settled. */
static void
a_restart_forgets_nobody(void **state)
{
	uint64_t id = sim_accept(&sim, "a@from.test", "both@local.test");
	const struct message *m;

	(void)state;
	sim_run(&sim, sim.now + MINUTE);
	sim_restart(&sim);
	m = queue_find(sim.queue, id);
	assert_non_null(m);
	assert_int_equal(m->nrcpts, 3);
	assert_int_equal(m->unsettled, 1);
	assert_int_equal(queue_stats(sim.queue).recipients, 1);
	assert_true(span_eq(message_via(m, 2), SPAN("both@local.test")));
	settles();
	assert_int_equal(BOX("both")->forwarded, 1);
	assert_int_equal(one, 1);
	assert_int_equal(two, 1);
}

static void
one_mailbox_behind_the_other(void **state)
{
	uint64_t id = sim_accept(&sim, "a@from.test", "first@local.test");

	(void)state;
	sim_run(&sim, sim.now + MINUTE);
	sim_restart(&sim);
	assert_true(span_eq(message_via(queue_find(sim.queue, id), 2), SPAN("second@local.test\tfirst@local.test")));
	settles();
	assert_int_equal(two, 1);
	assert_int_equal(BOX("first")->got + BOX("second")->got, 0);
}

/* ---- circles ---- */

static void
a_circle_ends_in_a_mailbox(void **state)
{
	(void)state;
	assert_true(sim_accept(&sim, "a@from.test", "ping@local.test"));
	settles();
	assert_int_equal(BOX("ping")->got, 1);
	assert_int_equal(BOX("ping")->forwarded, 1);
	assert_int_equal(BOX("pong")->got, 0);
	assert_int_equal(BOX("pong")->forwarded, 1);
	assert_true(sim_accept(&sim, "a@from.test", "self@local.test"));
	settles();
	assert_int_equal(BOX("self")->got, 1);
}

static void
a_circle_gives_nobody_a_second_copy(void **state)
{
	(void)state;
	assert_true(sim_accept(&sim, "a@from.test", "ding@local.test"));
	settles();
	assert_int_equal(BOX("ding")->got, 1);
	assert_int_equal(BOX("dong")->got, 1);
	assert_int_equal(sim.reports, 0);
}

static void
a_chain_without_end_ends_in_a_mailbox(void **state)
{
	char address[300];
	uint64_t id;

	(void)state;
	(void)snprintf(address, sizeof(address), "link0-%0200d@local.test", 0);
	id = sim_accept(&sim, "a@from.test", address);
	assert_true(id != 0);
	settles();
	assert_in_range(strlen(last_via), 3500, 4096);
	assert_in_range(sim.hosts[0].n, 10, CHAIN);
}

/* ---- who hears of it ---- */

static struct message *
with_success(const char *to, unsigned notify)
{
	uint64_t id = sim_accept(&sim, "a@good.test", to);
	struct message *m = queue_find(sim.queue, id);

	assert_non_null(m);
	m->rcpts[0].notify = notify & 0xfu;
	sim_run(&sim, sim.now + 40 * SECOND);
	return queue_find(sim.queue, id);
}

static void
several_are_told_as_expanded(void **state)
{
	const struct message *m = with_success("both@local.test", 3);

	(void)state;
	assert_int_equal(sim.reports, 1);
	assert_int_equal(m->rcpts[1].notify, 2);
	assert_true(span_eq(text_span(m->rcpts[2].orcpt), SPAN("rfc822;both@local.test")));
	settles();
	assert_int_equal(sim.reports, 1);
}

static void
only_success_becomes_never(void **state)
{
	const struct message *m = with_success("both@local.test", 1);

	(void)state;
	assert_int_equal(m->rcpts[1].notify, 8);
}

static void
one_address_carries_the_wish_on(void **state)
{
	const struct message *m = with_success("second@local.test", 1);

	(void)state;
	assert_int_equal(sim.reports, 0);
	assert_int_equal(m->rcpts[1].notify, 1);
	assert_true(span_eq(text_span(m->rcpts[1].orcpt), SPAN("rfc822;second@local.test")));
}

/* A member of a list: its owner hears of failures, the list's sender never. */
static void
behind_a_list_its_owner_is_the_sender(void **state)
{
	(void)state;
	assert_true(sim_accept(&sim, "a@from.test", "list@here.test"));
	settles();
	assert_int_equal(one, 1);
	assert_true(span_eq(listed, SPAN("owner")));
	assert_string_equal(last_via, "away@local.test");
}

/* ---- by hand ---- */

static void
act(uint64_t id, enum queue_verb verb)
{
	assert_true(queue_act(sim.queue, queue_find(sim.queue, id), verb));
	sim.soon = true;
}

static void
held_meanwhile_and_released(void **state)
{
	uint64_t id = sim_accept(&sim, "a@from.test", "both@local.test");

	(void)state;
	sim_run(&sim, sim.now + 10); /* with its agent */
	act(id, VERB_HOLD);
	sim_run(&sim, sim.now + HOUR);
	assert_int_equal(queue_find(sim.queue, id)->unsettled, 2);
	assert_int_equal(one, 0);
	act(id, VERB_RELEASE);
	settles();
	assert_int_equal(BOX("both")->got, 1);
	assert_int_equal(one, 1);
	assert_int_equal(two, 1);
}

static void
deleted_and_had_back(void **state)
{
	uint64_t id = sim_accept(&sim, "a@from.test", "both@local.test");
	struct fail why;

	(void)state;
	sim_run(&sim, sim.now + MINUTE);
	act(id, VERB_DELETE);
	sim_run(&sim, sim.now + MINUTE);
	assert_int_equal(queued(), 0);
	assert_true(queue_undelete(sim.queue, id, NULL, NULL, &why));
	assert_true(journal_sync(sim.journal, NULL));
	assert_int_equal(queue_find(sim.queue, id)->unsettled, 1);
	settles();
	assert_int_equal(BOX("both")->got, 1);
	assert_int_equal(one, 1);
	assert_int_equal(two, 1);
}

static void
goes_to_another_queue_as_it_stands(void **state)
{
	uint64_t id = sim_accept(&sim, "a@from.test", "first@local.test");
	struct export_message x, again;
	struct buf bytes, room, text;
	struct span content;
	struct fail why;

	(void)state;
	sim_run(&sim, sim.now + MINUTE);
	buf_init(&bytes, 1 << 20);
	buf_init(&room, 1 << 20);
	buf_init(&text, 1 << 20);
	assert_true(export_of(sim.queue, queue_find(sim.queue, id), &bytes, &room, &x, &content, &why));
	assert_int_equal(x.envelope.recipients, 3);
	assert_true(export_text(&x, &text));
	assert_true(span_find(buf_span(&text), SPAN("via: second@local.test\tfirst@local.test\n")) != SIZE_MAX);
	buf_reset(&room);
	assert_true(export_parse(buf_span(&text), &room, &again, &why));
	assert_int_equal(again.envelope.recipients, 3);
	buf_free(&bytes);
	buf_free(&room);
	buf_free(&text);
}

/* ---- what is no answer ---- */

static void
answers_that_break_the_rules(void **state)
{
	static const char *const wrong[] = { "a@b.test\n\nc@d.test", "a\tb@c.test", "a@b.test\r" };
	struct queue_job *job;
	struct buf many;

	(void)state;
	sim.hosts[0].answer = sim_good;
	sim.capacity = 1;
	assert_true(sim_accept(&sim, "a@from.test", "both@local.test"));
	sim_run(&sim, sim.now + 10);
	assert_false(list_empty(&sim.queue->job_list));
	job = OWNER_OF(sim.queue->job_list.next, struct queue_job, node);
	for (size_t i = 0; i < sizeof(wrong) / sizeof(*wrong); i++)
		assert_false(queue_job_result(sim.queue, queue_job_id(job), 0, &(struct queue_result){ .forwards = span_str(wrong[i]) }));
	buf_init(&many, 100000);
	for (int i = 0; i < 101; i++)
		buf_puts(&many, i ? "\na@b.test" : "a@b.test");
	assert_false(queue_job_result(sim.queue, queue_job_id(job), 0, &(struct queue_result){ .forwards = buf_span(&many) }));
	assert_false(queue_job_result(sim.queue, queue_job_id(job), 0, &(struct queue_result){ .outcome = OUTCOME_FAILED, .forwards = SPAN("a@b.test") }));
	job->units[0]->uid = 0; /* the common mailbox user's */
	assert_false(queue_job_result(sim.queue, queue_job_id(job), 0, &(struct queue_result){ .forwards = SPAN("a@b.test") }));
	buf_free(&many);
	settles();
	assert_int_equal(one + two, 0);
}

/* ---- what a replay meets ---- */

/* Compaction copies an outcome behind later ones: what became of those who were added may come before they do. */
static void
outcomes_in_any_order(void **state)
{
	uint64_t id = sim_accept(&sim, "a@from.test", "x@local.test");
	struct message *m = queue_find(sim.queue, id);
	struct record_recipient to = { .address = SPAN("one@good.test") };
	struct record_result added = { .first = 1, .settled = true }, result = { .index = 2, .settled = true };
	struct buf list;

	(void)state;
	buf_init(&list, 10000);
	assert_true(record_list_put(&list, &record_desc_recipient, &to));
	to.address = SPAN("two@later.test");
	assert_true(record_list_put(&list, &record_desc_recipient, &to));
	added.added = buf_span(&list);
	assert_true(queue_apply_to(m, &result, 1));
	assert_int_equal(m->nrcpts, 3);
	assert_int_equal(m->unsettled, 1);
	assert_true(queue_apply_to(m, &added, 1));
	assert_true(queue_apply_to(m, &added, 1)); /* twice is once */
	assert_int_equal(m->nrcpts, 3);
	assert_int_equal(m->unsettled, 1); /* one@ */
	assert_false(m->rcpts[1].settled);
	assert_true(m->rcpts[2].settled);
	assert_true(span_eq(text_span(m->rcpts[2].address), SPAN("two@later.test")));
	buf_free(&list);
}

/* All of them, or none. */
static void
added_or_not(const struct message *m, bool added)
{
	assert_int_equal(m->nrcpts, added ? 201 : 1);
	assert_int_equal(m->unsettled, m->nrcpts);
	assert_true(span_eq(text_span(m->rcpts[0].address), SPAN("x@local.test")));
	for (uint32_t i = 1; i < m->nrcpts; i++) {
		assert_true(span_ends(text_span(m->rcpts[i].address), SPAN("@good.test")));
		assert_true(span_eq(message_via(m, i), SPAN("x@local.test")) && span_eq(message_owner(m, i), SPAN("owner@here.test")));
	}
}

static void
without_memory_nobody_is_added(void **state)
{
	struct record_recipient to = { .orcpt = SPAN("rfc822;x"), .owner = SPAN("owner@here.test") };
	struct record_result result = { .first = 1, .settled = true };
	struct buf list;
	char address[40];
	unsigned failed = 0;
	bool through = false;

	(void)state;
	buf_init(&list, 100000);
	for (int i = 0; i < 200; i++) {
		(void)snprintf(address, sizeof(address), "%d@good.test", i);
		to.address = span_str(address);
		assert_true(record_list_put(&list, &record_desc_recipient, &to));
	}
	result.added = buf_span(&list);
	for (long n = 0; !through; n++) {
		struct message *m = queue_find(sim.queue, sim_accept(&sim, "a@from.test", "x@local.test"));
		bool added;

		until_it_fails = n;
		added = message_add_forwarded(m, &result);
		through = until_it_fails >= 0;
		until_it_fails = -1;
		added_or_not(m, added);
		assert_true(added || !through);
		failed += !added;
	}
	assert_in_range(failed, 800, 3000);
	buf_free(&list);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		T(a_copy_stays_and_the_others_get_one_each),
		T(a_restart_forgets_nobody),
		T(one_mailbox_behind_the_other),
		T(a_circle_ends_in_a_mailbox),
		T(a_circle_gives_nobody_a_second_copy),
		T(a_chain_without_end_ends_in_a_mailbox),
		T(several_are_told_as_expanded),
		T(only_success_becomes_never),
		T(one_address_carries_the_wish_on),
		T(behind_a_list_its_owner_is_the_sender),
		T(held_meanwhile_and_released),
		T(deleted_and_had_back),
		T(goes_to_another_queue_as_it_stands),
		T(answers_that_break_the_rules),
		T(outcomes_in_any_order),
		T(without_memory_nobody_is_added),
	};

	return cmocka_run_group_tests_name("forward", tests, NULL, NULL);
}
