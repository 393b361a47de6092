/* SPDX-License-Identifier: ISC */
#include <dirent.h>
#include <string.h>
#include <unistd.h>

#include "store/state.h"
#include "storetest.h"
#include "sys/loop.h"

enum { MANY = 300 };

struct waiting {
	struct facts_wait wait;
	unsigned told;
};

/* What it is handed, and how much that is. */
static bool
make(struct span message, struct arena *arena, struct buf *out)
{
	if (!arena_alloc(arena, 5000) || span_find(message, SPAN("no facts")) != SIZE_MAX)
		return false;
	buf_printf(out, "%zu:%.*s", message.n, SPAN_ARG(message));
	return true;
}

static void
on_facts(struct facts_wait *w)
{
	OWNER_OF(w, struct waiting, wait)->told++;
}

static void
put_message(struct fixture *f, unsigned number, const char *text)
{
	char path[200];

	(void)snprintf(path, sizeof(path), "cur/17000%05u.M1P1.other:2,", number);
	put_file(f, path, text);
}

static void
enter(struct fixture *f, struct view *v)
{
	struct fail why = { .text = "" };

	store_set_facts(f->store, &(struct store_facts){ make });
	*v = (struct view){ .owner = f };
	if (!view_open(v, f->store, SPAN("INBOX"), false, &why))
		fail_msg("%s", why.text);
}

static struct waiting
wait_for(struct fixture *f, struct view *v, uint32_t uid, uint32_t hi)
{
	struct waiting w = { .wait = { .on_facts = on_facts } };

	assert_true(mailbox_facts_wait(v->mailbox, uid, hi, &w.wait));
	for (int i = 0; i < 500 && !w.told; i++)
		(void)loop_turn(f->loop, 10);
	assert_int_equal(w.told, 1);
	return w;
}

static void
wait_until_made(struct fixture *f, struct view *v, uint32_t uid)
{
	for (int i = 0; i < 500 && !mailbox_facts(v->mailbox, uid).n; i++)
		(void)loop_turn(f->loop, 10);
	assert_true(mailbox_facts(v->mailbox, uid).n > 0);
}

/* Threads end their batches in any order. */
static void
wait_until_all_made(struct fixture *f, struct view *v, uint32_t except)
{
	for (uint32_t uid = 1; uid <= MANY; uid++)
		if (uid != except)
			wait_until_made(f, v, uid);
}

static size_t
open_messages(void)
{
	DIR *d = opendir("/proc/self/fd");
	struct dirent *e;
	size_t n = 0;

	assert_non_null(d);
	while ((e = readdir(d))) {
		char path[4096];
		ssize_t len = readlinkat(dirfd(d), e->d_name, path, sizeof(path));

		n += len > 0 && span_find(span_of(path, (size_t)len), SPAN("/cur/")) != SIZE_MAX;
	}
	(void)closedir(d);
	return n;
}

static void
make_ahead(struct fixture *f, bool cold)
{
	struct facts_wait none = { .on_facts = on_facts };
	char text[64];
	uint64_t size;
	struct view v;

	for (unsigned i = 1; i <= MANY; i++) {
		(void)snprintf(text, sizeof(text), i == 9 ? "no facts %u\r\n" : i % 2 ? "text %03u\n" : "text %03u\r\n", i);
		put_message(f, i, text);
	}
	enter(f, &v);
	v.mailbox->making.reading.cold = cold;
	(void)wait_for(f, &v, 1, MANY);
	wait_until_all_made(f, &v, 9);
	assert_int_equal(open_messages(), 0);
	for (unsigned i = 1; i <= MANY; i++) { /* CRLF, whatever the file has */
		(void)snprintf(text, sizeof(text), "10:text %03u\r\n", i);
		assert_true(span_eq(mailbox_facts(v.mailbox, i), i == 9 ? SPAN_NONE : span_str(text)));
		assert_true(i == 9 || (mailbox_size(v.mailbox, i, &size) && size == 10));
	}
	assert_false(mailbox_facts_wait(v.mailbox, 1, MANY, &none)); /* there */
	assert_false(mailbox_facts_wait(v.mailbox, 9, MANY, &none)); /* not to be had */
	assert_false(mailbox_facts_wait(v.mailbox, MANY + 1, MANY + 1, &none));
	view_close(&v);
}

static void
test_ahead(void **state)
{
	make_ahead(*state, false);
}

/* Many of them are open at once then. */
static void
test_ahead_from_a_disk(void **state)
{
	make_ahead(*state, true);
}

/* What was made is found by the next process. */
static void
test_kept(void **state)
{
	struct fixture *f = *state;
	struct view v;

	for (unsigned i = 1; i <= MANY; i++)
		put_message(f, i, "text\r\n");
	enter(f, &v);
	(void)wait_for(f, &v, 1, MANY);
	wait_until_all_made(f, &v, 0);
	view_close(&v);
	store_free(&f->store);
	open_store(f);
	store_set_facts(f->store, &(struct store_facts){ NULL });
	assert_true(view_open(&v, f->store, SPAN("INBOX"), false, NULL));
	for (unsigned i = 1; i <= MANY; i++)
		assert_true(span_eq(mailbox_facts(v.mailbox, i), SPAN("6:text\r\n")));
	view_close(&v);
}

/* A file that is not where it was is left to who asks; the folder may close meanwhile. */
static void
test_gone(void **state)
{
	struct fixture *f = *state;
	struct waiting w = { .wait = { .on_facts = on_facts } };
	char path[200];
	struct view v;

	for (unsigned i = 1; i <= MANY; i++)
		put_message(f, i, "text\r\n");
	enter(f, &v);
	(void)snprintf(path, sizeof(path), "%s/cur/1700000001.M1P1.other:2,", f->dir);
	assert_int_equal(unlink(path), 0);
	(void)wait_for(f, &v, 1, 1);
	assert_int_equal(mailbox_facts(v.mailbox, 1).n, 0);
	assert_false(mailbox_facts_wait(v.mailbox, 1, MANY, &w.wait));
	assert_true(mailbox_facts_wait(v.mailbox, 2, MANY, &w.wait));
	view_close(&v);
}

static void
test_background(void **state)
{
	struct fixture *f = *state;
	struct view v;

	put_message(f, 1, "old\r\n");
	enter(f, &v);
	mailbox_facts_later(v.mailbox);
	wait_until_made(f, &v, 1);
	put_message(f, 2, "new\r\n");
	wait_until_made(f, &v, 2);
	assert_true(span_eq(mailbox_facts(v.mailbox, 2), SPAN("5:new\r\n")));
	view_close(&v);
}

int
main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
	const struct CMUnitTest tests[] = { T(test_ahead), T(test_ahead_from_a_disk), T(test_kept), T(test_gone), T(test_background) };
#undef T

	return cmocka_run_group_tests(tests, NULL, NULL);
}
