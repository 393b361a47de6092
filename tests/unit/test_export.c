/* SPDX-License-Identifier: ISC */
#include <stdarg.h>
#include <setjmp.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/queueid.h"
#include "queue/export.h"

static const struct span text_in = SPAN_INIT(
    "pillarpost-envelope 1\n"
    "id: 1000000000\n"
    "sender: a@example.org\n"
    "client_name: mail.example.org\n"
    "message_id: <x: y@example.org>\n"
    "ret: 1\n"
    "held: true\n"
    "size: 11\n"
    "[state]\n"
    "attempts: 3\n"
    "next_ms: 1700000000000\n"
    "held: true\n"
    "reason: it said  so\n"
    "[recipient]\n"
    "address: b@example.net\n"
    "notify: 2\n"
    "done: c@example.net\n"
    "done: d@example.net\n"
    "[recipient]\n"
    "address: e@example.net\n"
    "settled: true\n"
    "[result]\n"
    "index: 1\n"
    "settled: true\n"
    "outcome: 2\n"
    "code: 5.1.1\n"
    "reply: no\n");

struct rooms {
	struct buf text, room;
	struct export_message x;
	struct fail why;
};

static int
setup(void **state)
{
	struct rooms *r = calloc(1, sizeof(*r));

	buf_init(&r->text, EXPORT_TEXT_MAX);
	buf_init(&r->room, EXPORT_TEXT_MAX);
	*state = r;
	return 0;
}

static int
teardown(void **state)
{
	struct rooms *r = *state;

	buf_free(&r->text);
	buf_free(&r->room);
	free(r);
	return 0;
}

static void
test_text_comes_back_as_it_was(void **state)
{
	struct rooms *r = *state;
	struct record_recipient to;
	struct span list;
	bool ok = true;

	assert_true(export_parse(text_in, &r->room, &r->x, &r->why));
	assert_int_equal(r->x.envelope.recipients, 2);
	assert_int_equal(r->x.envelope.size, 11);
	assert_int_equal(r->x.state.id, r->x.envelope.id);
	assert_true(span_eq(r->x.state.reason, SPAN("it said  so")));
	list = r->x.envelope.list;
	assert_true(record_list_next(&list, &record_desc_recipient, &to, &ok));
	assert_int_equal(to.done.n, 2 * (2 + 13));
	assert_true(export_text(&r->x, &r->text));
	assert_int_equal(buf_len(&r->text), text_in.n);
	assert_memory_equal(buf_span(&r->text).p, text_in.p, text_in.n);
}

static void
test_broken_lines_are_named(void **state)
{
	static const struct {
		const char *text, *why;
	} bad[] = {
		{ "", "line 1" },
		{ "pillarpost-envelope 2\nid: 1000000000\n", "line 1" },
		{ "pillarpost-envelope 1\nid: !\n", "line 2" },
		{ "pillarpost-envelope 1\nid: 1000000000\ncolour: red\n", "line 3" },
		{ "pillarpost-envelope 1\nid: 1000000000\nret: 9\n", "line 3" },
		{ "pillarpost-envelope 1\nid: 1000000000\nbody8: 1\n", "line 3" },
		{ "pillarpost-envelope 1\nid: 1000000000\n[recipient]\naddress: a@b\n[state]\n", "line 5" },
		{ "pillarpost-envelope 1\nid: 1000000000\n[recipient]\naddress: a@b\n[result]\nindex: 1\n", "not complete" },
		{ "pillarpost-envelope 1\nid: 1000000000\n", "without recipients" },
		{ "pillarpost-envelope 1\n[recipient]\naddress: a@b\n", "without id" },
	};
	struct rooms *r = *state;

	for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++) {
		assert_false(export_parse(span_str(bad[i].text), &r->room, &r->x, &r->why));
		if (!strstr(r->why.text, bad[i].why))
			fail_msg("%zu: %s", i, r->why.text);
	}
	for (size_t n = 0; n < text_in.n; n++) { /* cut anywhere: understood or refused, never worse */
		buf_reset(&r->room);
		(void)export_parse(span_sub(text_in, 0, n), &r->room, &r->x, &r->why);
	}
}

static bool
count(void *arg, uint64_t id, bool imported)
{
	unsigned *n = arg;

	assert_true(id > 0);
	n[imported]++;
	return true;
}

static void
test_a_directory_never_takes_or_gives_the_same_twice(void **state)
{
	struct rooms *r = *state;
	struct export_message back;
	struct export_dir d;
	char path[] = "/tmp/test_export.XXXXXX", command[64];
	unsigned n[2] = { 0 };
	int fd;

	assert_non_null(mkdtemp(path));
	assert_true(export_parse(text_in, &r->room, &r->x, &r->why));
	assert_true(export_open(&d, path, EXPORT_EML, true, &r->why));
	assert_true(export_begin(&d, &r->x, &r->why));
	assert_true(export_write(&d, SPAN("A: b\r\n\r\nx\r\n"), &r->why));
	assert_true(export_end(&d, &r->x, &r->why));
	assert_false(export_begin(&d, &r->x, &r->why));
	assert_int_equal(r->why.err, EEXIST);
	assert_true(export_read(&d, r->x.envelope.id, &r->text, &r->room, &back, &fd, &r->why));
	assert_int_equal(d.vfs->ops->close(d.vfs, fd), 0);
	assert_true(export_imported(&d, r->x.envelope.id, &r->why));
	assert_false(export_begin(&d, &r->x, &r->why));
	assert_true(export_each(&d, count, n, &r->why));
	assert_int_equal(n[0], 0);
	assert_int_equal(n[1], 1);
	export_close(&d);
	(void)snprintf(command, sizeof(command), "rm -r %s", path);
	assert_int_equal(system(command), 0);
}

static void
test_a_maildir_has_the_envelope_in_front(void **state)
{
	static const char want[] = "Return-Path: <a@example.org>\nDelivered-To: b@example.net\nA: b\n\nx\r y\n";
	struct rooms *r = *state;
	struct export_dir d;
	char path[] = "/tmp/test_export.XXXXXX", command[64], name[80], got[200] = "";
	FILE *f;

	assert_non_null(mkdtemp(path));
	assert_true(export_parse(text_in, &r->room, &r->x, &r->why));
	assert_true(export_open(&d, path, EXPORT_MAILDIR, true, &r->why));
	assert_true(export_begin(&d, &r->x, &r->why));
	assert_true(export_write(&d, SPAN("A: b\r"), &r->why));
	assert_true(export_write(&d, SPAN("\n\r\nx\r y\r\n"), &r->why));
	assert_true(export_end(&d, &r->x, &r->why));
	assert_false(export_begin(&d, &r->x, &r->why));
	export_close(&d);
	(void)snprintf(command, sizeof(command), "cat %s/new/*.1000000000.pillarpost", path);
	f = popen(command, "r");
	assert_non_null(f);
	assert_int_equal(fread(got, 1, sizeof(got) - 1, f), strlen(want));
	assert_string_equal(got, want);
	(void)pclose(f);
	(void)snprintf(name, sizeof(name), "rm -r %s", path);
	assert_int_equal(system(name), 0);
}

/* A list of which all but one have it. */
static void
test_a_long_list_of_those_that_have_it_comes_back(void **state)
{
	enum { MEMBERS = 4000 };
	struct record_recipient to = { .address = SPAN("list@example.net") };
	struct record_envelope e = { .id = 1000000000, .recipients = 1 };
	struct rooms *r = *state;
	struct export_message x = { .results = SPAN_NONE };
	struct message *m, *back;
	char address[40];
	struct buf list;

	buf_init(&list, 4096);
	assert_true(record_list_put(&list, &record_desc_recipient, &to));
	e.list = buf_span(&list);
	m = message_new(&e);
	assert_non_null(m);
	for (int i = 0; i < MEMBERS; i++) {
		(void)snprintf(address, sizeof(address), "member-number-%d@example.org", i);
		assert_true(message_add_done(m, 0, span_str(address)));
	}
	x.envelope = e;
	assert_true(export_state_of(m, &r->room, &x, &r->why));
	back = message_new(&x.envelope);
	assert_non_null(back);
	assert_true(export_text(&x, &r->text));
	buf_reset(&r->room);
	assert_true(export_parse(buf_span(&r->text), &r->room, &x, &r->why));
	message_free(&m, NULL);
	m = message_new(&x.envelope);
	assert_non_null(m);
	for (int i = 0; i < MEMBERS; i += MEMBERS / 100) {
		(void)snprintf(address, sizeof(address), "member-number-%d@example.org", i);
		assert_true(message_is_done(back, 0, span_str(address)));
		assert_true(message_is_done(m, 0, span_str(address)));
	}
	message_free(&m, NULL);
	message_free(&back, NULL);
	buf_free(&list);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_text_comes_back_as_it_was, setup, teardown),
		cmocka_unit_test_setup_teardown(test_broken_lines_are_named, setup, teardown),
		cmocka_unit_test_setup_teardown(test_a_long_list_of_those_that_have_it_comes_back, setup, teardown),
		cmocka_unit_test_setup_teardown(test_a_directory_never_takes_or_gives_the_same_twice, setup, teardown),
		cmocka_unit_test_setup_teardown(test_a_maildir_has_the_envelope_in_front, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
