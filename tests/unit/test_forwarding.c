/* SPDX-License-Identifier: ISC
 *
 * What locald and deliverd make of an owner's forward file: which copies there are, and what queued hears of them.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tests/unit/locald_fixture.h"

static const struct span nearby[] = { SPAN_INIT("../.forward"), SPAN_INIT(".forward") };

static int
setup_forward(void **state)
{
	struct fixture *f;

	if (setup(state) < 0)
		return -1;
	f = *state;
	f->conf.forward_path = (struct conf_list){ .items = nearby, .n = 2 };
	f->conf.recipient_delimiter = SPAN("+");
	return 0;
}

/* bob's, whose mailbox is home/bob/Maildir. */
static void
write_forward(const struct fixture *f, const char *text)
{
	char path[200];
	FILE *out;

	(void)snprintf(path, sizeof(path), "%s/home", f->dir);
	(void)mkdir(path, 0755);
	(void)snprintf(path, sizeof(path), "%s/home/bob", f->dir);
	(void)mkdir(path, 0755);
	(void)snprintf(path, sizeof(path), "%s/home/bob/.forward", f->dir);
	out = fopen(path, "w");
	assert_non_null(out);
	(void)fputs(text, out);
	assert_int_equal(fclose(out), 0);
}

static bool
has_maildir(const struct fixture *f)
{
	char path[200];

	(void)snprintf(path, sizeof(path), "%s/home/bob/Maildir", f->dir);
	return access(path, F_OK) == 0;
}

static const struct ipc_deliver_rcpt to_bob = { .address = SPAN_INIT("bob@example.test"), .home = SPAN_INIT("home/bob/Maildir"), .forward = true };
static const char letter[] = "Subject: hi\r\n\r\nhello\r\n";

static void
deliver(struct fixture *f, const struct ipc_deliver_rcpt *to, struct span via)
{
	static uint64_t id;
	struct ipc_deliver_job job = { .id = ++id, .sender = SPAN("alice@example.test"), .size = sizeof(letter) - 1, .via = via };
	struct ipc_deliver_rcpt rcpt = *to;

	rcpt.id = id;
	assert_true(ipc_send_deliver_job(f->queue, &job));
	assert_true(ipc_send_deliver_rcpt(f->queue, &rcpt));
	assert_true(ipc_send_deliver_content(f->queue, &(struct ipc_deliver_content){ .id = id, .bytes = span_str(letter) }));
}

/* The one result of a delivery. */
static const struct result *
outcome(struct fixture *f, const struct ipc_deliver_rcpt *to)
{
	f->nresults = 0;
	deliver(f, to, SPAN_NONE);
	turn_until(f, f->done + 1);
	assert_int_equal(f->nresults, 1);
	return &f->results[0];
}

static void
test_without_a_file_mail_is_kept(void **state)
{
	struct fixture *f = *state;
	const struct result *r = outcome(f, &to_bob);

	assert_int_equal(r->outcome, DELIVER_DELIVERED);
	assert_true(r->kept);
	assert_string_equal(r->forwards, "");
	assert_non_null(strstr(r->reply, "delivered to mailbox as "));
	assert_true(has_maildir(f));
}

static void
test_a_file_that_does_not_count_is_not_read(void **state)
{
	struct fixture *f = *state;
	struct ipc_deliver_rcpt to = to_bob;
	const struct result *r;

	write_forward(f, "carol@example.org\n");
	to.forward = false;
	r = outcome(f, &to);
	assert_int_equal(r->outcome, DELIVER_DELIVERED);
	assert_true(r->kept);
	assert_string_equal(r->forwards, "");
	to.forward = true;
	to.address = SPAN("");
	r = outcome(f, &to);
	assert_true(r->kept);
	assert_string_equal(r->forwards, "");
}

static void
test_what_is_sent_on_needs_no_mailbox(void **state)
{
	struct fixture *f = *state;
	struct ipc_deliver_rcpt to = to_bob;
	const struct result *r;

	write_forward(f, "carol@example.org, dave\n");
	to.quota = to.messages = 1; /* nobody asks for room */
	r = outcome(f, &to);
	assert_int_equal(r->outcome, DELIVER_DELIVERED);
	assert_false(r->kept);
	assert_string_equal(r->forwards, "carol@example.org\ndave@example.test");
	assert_string_equal(r->reply, "forwarded to <carol@example.org>, <dave@example.test>");
	assert_string_equal(r->code, "2.0.0");
	assert_false(has_maildir(f));
}

static void
test_a_copy_is_kept(void **state)
{
	struct fixture *f = *state;
	const struct result *r;
	char text[1000];

	write_forward(f, "\\bob, carol@example.org\n");
	r = outcome(f, &to_bob);
	assert_int_equal(r->outcome, DELIVER_DELIVERED);
	assert_true(r->kept);
	assert_string_equal(r->forwards, "carol@example.org");
	assert_memory_equal(r->reply, "forwarded to <carol@example.org>, and delivered to mailbox as ", 62);
	read_new(f, "home/bob/Maildir", text, sizeof(text));
	assert_string_equal(text, "Return-Path: <alice@example.test>\r\nDelivered-To: bob@example.test\r\nSubject: hi\r\n\r\nhello\r\n");
}

static void
test_nothing_is_sent_on_when_no_copy_can_be_kept(void **state)
{
	struct fixture *f = *state;
	struct ipc_deliver_rcpt to = to_bob;
	const struct result *r;

	write_forward(f, "bob, carol@example.org\n");
	to.quota = 1;
	r = outcome(f, &to);
	assert_int_equal(r->outcome, DELIVER_DEFERRED);
	assert_string_equal(r->code, "4.2.2");
	assert_string_equal(r->forwards, "");
	assert_false(r->kept);
}

static void
test_mail_is_thrown_away(void **state)
{
	struct fixture *f = *state;
	const struct result *r;

	write_forward(f, "/dev/null\n");
	r = outcome(f, &to_bob);
	assert_int_equal(r->outcome, DELIVER_DELIVERED);
	assert_false(r->kept);
	assert_string_equal(r->forwards, "");
	assert_string_equal(r->reply, "thrown away by its owner's forward file");
	assert_false(has_maildir(f));
}

static void
test_content_by_descriptor_is_sent_on(void **state)
{
	struct fixture *f = *state;
	struct ipc_deliver_rcpt to = to_bob;
	int fd = memfd_create("content", MFD_CLOEXEC);

	to.id = 1 << 20;
	write_forward(f, "carol@example.org");
	assert_int_equal(write(fd, letter, sizeof(letter) - 1), sizeof(letter) - 1);
	assert_true(ipc_send_deliver_job(f->queue, &(struct ipc_deliver_job){ .id = to.id, .size = sizeof(letter) - 1 }));
	assert_true(ipc_send_deliver_rcpt(f->queue, &to));
	assert_true(ipc_send_deliver_content_fd(f->queue, &(struct ipc_deliver_content_fd){ .id = to.id, .size = sizeof(letter) - 1 }, fd));
	turn_until(f, 1);
	assert_int_equal(f->results[0].outcome, DELIVER_DELIVERED);
	assert_string_equal(f->results[0].forwards, "carol@example.org");
	assert_false(has_maildir(f));
}

static void
test_a_path_outside_is_refused(void **state)
{
	struct fixture *f = *state;
	struct ipc_deliver_rcpt to = to_bob;

	write_forward(f, "carol@example.org");
	to.home = SPAN("home/../home/bob/Maildir");
	assert_int_equal(outcome(f, &to)->outcome, DELIVER_FAILED);
	assert_string_equal(f->results[0].code, "5.3.5");
}

static void
test_a_reply_names_some_of_many(void **state)
{
	struct fixture *f = *state;
	char text[4000] = "";
	const struct result *r;

	for (int i = 0; i < 99; i++)
		(void)snprintf(text + strlen(text), sizeof(text) - strlen(text), "user%02d@example.org\n", i);
	write_forward(f, text);
	text[strlen(text) - 1] = '\0';
	r = outcome(f, &to_bob);
	assert_string_equal(r->forwards, text);
	assert_non_null(strstr(r->reply, "forwarded to <user00@example.org>, <user01@example.org>, "));
	assert_string_equal(r->reply + strlen(r->reply) - 5, ", ...");
	assert_true(strlen(r->reply) < 350);
}

/* ---- what it was forwarded by ---- */

static void
test_who_forwarded_it_stands_in_its_header(void **state)
{
	struct fixture *f = *state;
	char text[1000];

	deliver(f, &to_bob, SPAN("carol@example.test\tdave@example.org"));
	turn_until(f, 1);
	read_new(f, "home/bob/Maildir", text, sizeof(text));
	assert_string_equal(text, "Return-Path: <alice@example.test>\r\nDelivered-To: bob@example.test\r\nDelivered-To: carol@example.test\r\n"
				  "Delivered-To: dave@example.org\r\nSubject: hi\r\n\r\nhello\r\n");
}

/* The first mailboxes of a long way are left out, not the message. */
static void
test_the_longest_header_fits(void **state)
{
	struct fixture *f = *state;
	struct ipc_deliver_rcpt to = to_bob;
	char via[B_VIA], address[B_LONG_ADDRESS], original[B_LONG_ADDRESS], text[10000];

	for (size_t step = 40; step; step = step == 40 ? 4 : 0) {
		memset(via, 'x', sizeof(via));
		for (size_t i = 0; i < sizeof(via) / step; i++) {
			via[i * step + 1] = '@';
			if (i > 0)
				via[i * step - 1] = '\t';
		}
		memset(address, 'a', sizeof(address));
		memset(original, 'o', sizeof(original));
		address[1] = original[1] = '@';
		to.address = span_of(address, sizeof(address));
		to.original = span_of(original, sizeof(original));
		to.home = step == 40 ? SPAN("one") : SPAN("two");
		deliver(f, &to, span_of(via, sizeof(via)));
		turn_until(f, f->done + 1);
		assert_int_equal(f->results[f->nresults - 1].outcome, DELIVER_DELIVERED);
		read_new(f, step == 40 ? "one" : "two", text, sizeof(text));
		assert_non_null(strstr(text, "\r\nDelivered-To: x@x"));
		assert_non_null(strstr(text, "x\r\nSubject: hi\r\n"));
	}
}

static void
test_no_other_lines_come_by_it(void **state)
{
	static const struct span bad[] = { SPAN_INIT("a@b\t"), SPAN_INIT("\ta@b"), SPAN_INIT("a@b\t\tc@d"), SPAN_INIT("a@b\x01"), SPAN_INIT("\t") };

	for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++) {
		struct fixture *f;

		if (i > 0)
			assert_int_equal(setup_forward(state), 0);
		f = *state;
		f->may_violate = true;
		deliver(f, &to_bob, bad[i]);
		for (int k = 0; k < 100 && !f->violated; k++)
			(void)loop_turn(f->loop, 10);
		assert_true(f->violated);
		assert_int_equal(f->nresults, 0);
		if (i + 1 < sizeof(bad) / sizeof(*bad))
			assert_int_equal(teardown(state), 0);
	}
}

/* ---- a deliverd that lies ---- */

static const struct liar {
	struct ipc_mailbox_result says;
	bool asked; /* for the forward file */
	bool right; /* after all */
} *liar;
static bool heard_end;

static bool
told_liar(struct channel *c, unsigned type, const void *m, int fd)
{
	struct ipc_mailbox_result says = liar->says;

	assert_int_equal(fd, -1);
	if (type == IPC_mailbox_put) {
		const struct ipc_mailbox_put *put = m;

		assert_true(span_eq(put->address, liar->asked ? SPAN("bob@example.test") : SPAN("")));
		return true;
	}
	says.id = ((const struct ipc_mailbox_content *)m)->id;
	return ipc_send_mailbox_result(c, &says);
}

static void
on_liar_closed(struct channel *c, const struct fail *why)
{
	(void)c, (void)why;
	heard_end = true;
}

static const struct channel_ops liar_ops = { told_liar, on_liar_closed, NULL };

static void
meet(struct fixture *f)
{
	struct ipc_deliver_rcpt to = to_bob;
	struct channel *c;

	to.forward = liar->asked;
	heard_end = false;
	f->hold = true;
	deliver(f, &to, SPAN_NONE);
	for (int i = 0; i < 100 && f->held < 0; i++)
		(void)loop_turn(f->loop, 10);
	c = channel_new(f->loop, f->held, &ipc_channel_mailbox, CHANNEL_SERVER, &liar_ops, f);
	f->held = -1;
	f->hold = false; /* the next one is honest */
	turn_until(f, 1);
	assert_int_equal(heard_end, !liar->right);
	assert_int_equal(f->results[0].outcome, liar->right ? DELIVER_DELIVERED : DELIVER_DEFERRED);
	assert_int_equal(f->results[0].maybe_done, !liar->right);
	assert_int_equal(f->results[0].kept, liar->right && liar->says.kept);
	if (!liar->right)
		assert_string_equal(f->results[0].forwards, "");
	channel_free(&c);
}

static void
test_answers_to_other_questions_are_violations(void **state)
{
	static const struct liar liars[] = {
		{ { .ok = true, .kept = true, .forwards = SPAN_INIT("a@b") }, false, false },
		{ { .ok = true, .kept = false }, false, false },
		{ { .ok = false, .kept = true, .status = 1 }, true, false },
		{ { .ok = false, .forwards = SPAN_INIT("a@b"), .status = 1 }, true, false },
		{ { .ok = true, .forwards = SPAN_INIT("a@b\n") }, true, false },
		{ { .ok = true, .forwards = SPAN_INIT("a@b\n\nc@d") }, true, false },
		{ { .ok = true, .forwards = SPAN_INIT("a@b\r\nc@d") }, true, false },
		{ { .ok = true, .forwards = SPAN_INIT("a@b\n\x7f"), .kept = true }, true, false },
		{ { .ok = true, .forwards = SPAN_INIT("a@b\0c@d") }, true, false },
		{ { .ok = true, .forwards = SPAN_INIT("a@b"), .text = SPAN_INIT("x") }, true, true },
		{ { .ok = true, .forwards = SPAN_INIT("a@b\nc@d"), .kept = true }, true, true },
		{ { .ok = true }, true, true },
		{ { .ok = true, .kept = true }, false, true },
	};

	for (size_t i = 0; i < sizeof(liars) / sizeof(*liars); i++) {
		if (i > 0)
			assert_int_equal(setup_forward(state), 0);
		liar = &liars[i];
		meet(*state);
		if (i + 1 < sizeof(liars) / sizeof(*liars))
			assert_int_equal(teardown(state), 0);
	}
}

static void
test_long_and_many_addresses_are_violations(void **state)
{
	static char text[B_FORWARDS];
	struct liar one = { .says = { .ok = true }, .asked = true };

	liar = &one;
	memset(text, 'x', sizeof(text));
	text[1] = '@';
	one.says.forwards = span_of(text, B_LONG_ADDRESS + 1);
	meet(*state);
	assert_int_equal(teardown(state), 0);
	assert_int_equal(setup_forward(state), 0);
	for (size_t i = 0; i <= FORWARDS_MOST; i++)
		memcpy(text + i * 4, "a@b\n", 4);
	one.says.forwards = span_of(text, (FORWARDS_MOST + 1) * 4 - 1);
	meet(*state);
	assert_int_equal(teardown(state), 0);
	assert_int_equal(setup_forward(state), 0);
	one.says.forwards = span_of(text, FORWARDS_MOST * 4 - 1);
	one.right = true;
	meet(*state);
}

int
main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, setup_forward, teardown)
	const struct CMUnitTest tests[] = {
		T(test_without_a_file_mail_is_kept),
		T(test_a_file_that_does_not_count_is_not_read),
		T(test_what_is_sent_on_needs_no_mailbox),
		T(test_a_copy_is_kept),
		T(test_nothing_is_sent_on_when_no_copy_can_be_kept),
		T(test_mail_is_thrown_away),
		T(test_content_by_descriptor_is_sent_on),
		T(test_a_path_outside_is_refused),
		T(test_a_reply_names_some_of_many),
		T(test_who_forwarded_it_stands_in_its_header),
		T(test_the_longest_header_fits),
		T(test_no_other_lines_come_by_it),
		T(test_answers_to_other_questions_are_violations),
		T(test_long_and_many_addresses_are_violations),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
