/* SPDX-License-Identifier: ISC
 *
 * The history: what is written is found again, in order, by filter; damage ends
 * a file and no more; its disk is bounded.
 */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>
#include <cmocka.h>

#include "base/cursor.h"
#include "queue/history_impl.h"

struct rig {
	char dir[64];
	struct loop *loop;
	struct worker_pool *pool;
	struct vfs *vfs;
	struct history *h;
	struct history_scan scan;
	unsigned found;
	uint64_t first, last;
	bool over;
};

static void
open_history(struct rig *r, int64_t keep_ms, uint64_t bytes)
{
	struct fail why;

	r->h = history_open(r->vfs, r->pool, &(struct history_limits){ keep_ms, bytes }, &why);
	assert_non_null(r->h);
}

static void
begin(struct rig *r, int64_t keep_ms, uint64_t bytes)
{
	struct fail why;

	*r = (struct rig){ .dir = "/tmp/pp-history-XXXXXX" };
	assert_non_null(mkdtemp(r->dir));
	r->loop = loop_new();
	r->pool = worker_pool_new(r->loop, 1);
	r->vfs = vfs_posix_new(r->dir, &why);
	assert_non_null(r->vfs);
	open_history(r, keep_ms, bytes);
}

static void
end(struct rig *r)
{
	char command[100];

	worker_pool_free(&r->pool);
	history_close(&r->h);
	vfs_posix_free(&r->vfs);
	loop_free(&r->loop);
	(void)snprintf(command, sizeof(command), "rm -rf %s", r->dir);
	assert_int_equal(system(command), 0);
}

static void
settle(struct rig *r)
{
	while (r->h->busy)
		(void)loop_turn(r->loop, 100);
}

/* One message with one recipient, delivered or failed. */
static void
note(struct rig *r, uint64_t id, const char *to, unsigned outcome, int64_t at_ms)
{
	struct message m = { .by_id = { .id = id }, .nrcpts = 1, .rcpts = &m.one, .size = 1000 };
	struct record_result result = { .settled = true, .outcome = (uint8_t)outcome, .code = SPAN("2.0.0"), .peer = SPAN("mx.example"), .reply = SPAN("fine") };
	struct record_outcome o = { .id = id, .at_ms = at_ms, .removed = true };
	struct buf list;

	m.sender = text_new(SPAN("a@x"));
	m.one.address = text_new(span_str(to));
	buf_init(&list, 4096);
	assert_true(record_list_put(&list, &record_desc_result, &result));
	o.list = buf_span(&list);
	(void)history_note(r->h, &m, &o);
	buf_free(&list);
	free(m.sender);
	free(m.one.address);
}

static void
on_piece(struct history_scan *s)
{
	struct rig *r = OWNER_OF(s, struct rig, scan);
	struct cursor c = cursor_of(buf_span(&s->found));

	while (!cursor_end(&c)) {
		uint32_t n = cursor_le32(&c);
		struct record_event e;

		assert_true(desc_decode(&record_desc_event, cursor_bytes(&c, n), &e, NULL));
		if (r->found++ == 0)
			r->first = e.id;
		assert_true(e.id > r->last);
		r->last = e.id;
	}
	if (s->end)
		r->over = true;
	else
		history_scan_next(s);
}

static unsigned
find(struct rig *r, const char *text, int64_t now_ms)
{
	struct filter_error error;
	struct filter *f = filter_parse(span_str(text), FILTER_PAST, &error);

	assert_non_null(f);
	r->found = 0;
	r->first = r->last = 0;
	r->scan.on_piece = on_piece;
	history_scan_begin(r->h, &r->scan, f, now_ms);
	r->over = r->scan.end;
	if (!r->over)
		history_scan_next(&r->scan);
	while (!r->over)
		(void)loop_turn(r->loop, 100);
	history_scan_free(&r->scan);
	return r->found;
}

static void
test_found_again(void **state)
{
	struct rig r;

	(void)state;
	begin(&r, 1000000, 64 << 20);
	for (uint64_t i = 1; i <= 20000; i++) {
		note(&r, i, i % 10 ? "bob@b.test" : "carol@c.test", i % 100 ? OUTCOME_DELIVERED : OUTCOME_FAILED, (int64_t)i);
		if (i % 1000 == 0) {
			history_flush(r.h, (int64_t)i);
			settle(&r);
		}
	}
	assert_int_equal(find(&r, "", 20000), 20000);
	assert_int_equal(find(&r, "to:carol@c.test", 20000), 2000);
	assert_int_equal(find(&r, "status:bounced", 20000), 200);
	assert_int_equal(find(&r, "domain:b.test and status:bounced", 20000), 0);
	assert_int_equal(find(&r, "age<1s", 20000), 1000);
	assert_int_equal(r.first, 19001);
	assert_int_equal(find(&r, "reason~fine destination:mx.example id:5Q", 20000), 1);
	history_close(&r.h);
	open_history(&r, 1000000, 64 << 20); /* and after a restart */
	assert_int_equal(find(&r, "from:a@x", 20000), 20000);
	end(&r);
}

/* Also what a write that is under way has not. */
static void
test_what_was_noted_last_is_found(void **state)
{
	struct rig r;

	(void)state;
	begin(&r, 1000000, 64 << 20);
	for (uint64_t i = 1; i <= 100; i++) {
		note(&r, 2 * i - 1, "bob@b.test", OUTCOME_DELIVERED, 1);
		history_flush(r.h, 1);
		note(&r, 2 * i, "bob@b.test", OUTCOME_DELIVERED, 1);
		assert_int_equal(find(&r, "", 1), 2 * i);
		assert_int_equal(r.last, 2 * i);
	}
	end(&r);
}

static void
test_damage_ends_a_file(void **state)
{
	struct rig r;
	char name[40];
	int fd;

	(void)state;
	begin(&r, 1000000, 64 << 20);
	for (uint64_t i = 1; i <= 100; i++)
		note(&r, i, "bob@b.test", OUTCOME_DELIVERED, 1);
	history_flush(r.h, 1);
	settle(&r);
	history_close(&r.h);
	history_name(1, name);
	fd = r.vfs->ops->open(r.vfs, name, VFS_WRITE);
	assert_true(fd >= 0);
	assert_true(vfs_write_all(r.vfs, fd, "!", 1, (uint64_t)r.vfs->ops->size(r.vfs, fd) / 2));
	(void)r.vfs->ops->close(r.vfs, fd);
	open_history(&r, 1000000, 64 << 20);
	for (uint64_t i = 101; i <= 110; i++)
		note(&r, i, "bob@b.test", OUTCOME_DELIVERED, 1);
	history_flush(r.h, 1);
	assert_in_range(find(&r, "", 1), 50, 70);
	assert_int_equal(r.last, 110);
	end(&r);
}

static void
test_bounded(void **state)
{
	struct rig r;

	(void)state;
	begin(&r, 1000000, 1 << 20);
	for (uint64_t i = 1; i <= 40000; i++) {
		note(&r, i, "bob@b.test", OUTCOME_DELIVERED, (int64_t)i);
		if (i % 200 == 0) {
			history_flush(r.h, (int64_t)i);
			settle(&r);
		}
	}
	assert_in_range(r.h->total, 512 << 10, (1 << 20) + (128 << 10));
	assert_int_equal(find(&r, "", 40000) > 3000, true);
	assert_int_equal(r.last, 40000);
	note(&r, 40001, "bob@b.test", OUTCOME_DELIVERED, 2000000); /* all else is too old now */
	history_flush(r.h, 2000000);
	settle(&r);
	assert_in_range(find(&r, "", 2000000), 1, 1000); /* the file that is being written */
	end(&r);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_found_again),
		cmocka_unit_test(test_what_was_noted_last_is_found),
		cmocka_unit_test(test_damage_ends_a_file),
		cmocka_unit_test(test_bounded),
	};

	return cmocka_run_group_tests_name("history", tests, NULL, NULL);
}
