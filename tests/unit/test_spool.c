/* SPDX-License-Identifier: ISC
 *
 * A queue in memory is damaged in thousands of ways; everything that was not
 * touched must be read, and nothing may be taken for whole that is not.
 */
#include <stdarg.h>
#include <setjmp.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/queueid.h"
#include "crash/memfs.h"
#include "log/log.h"
#include "tools/spoolcheck/spool.h"

enum { MESSAGES = 48, SEGMENT = 64 * 1024, FIRST_ID = 1000000, BLOB_EVERY = 7, REMOVED_EVERY = 5, FILES_MAX = 32, TRIALS = 1500 };

struct truth {
	uint64_t id;
	char name[120];         /* where its record stands */
	uint64_t from, to;
	bool removed;
	struct buf content;
};

struct world {
	struct memfs *fs;
	struct truth all[MESSAGES];
	char files[FILES_MAX][120];
	unsigned nfiles;
	uint64_t random;
};

static uint32_t
chance(struct world *w, uint32_t below)
{
	w->random = w->random * 6364136223846793005u + 1442695040888963407u;
	return (uint32_t)((w->random >> 33) % below);
}

static int64_t
now_ms(void *arg)
{
	(void)arg;
	return 1700000000000;
}

static void
wake(void *arg, int64_t at_ms)
{
	(void)arg, (void)at_ms;
}

static bool
no_route(void *arg, uint64_t ask, struct span address, struct span sender)
{
	(void)arg, (void)ask, (void)address, (void)sender;
	return false;
}

static bool
no_agent(void *arg, unsigned agent)
{
	(void)arg, (void)agent;
	return false;
}

static void
accept_one(struct world *w, struct queue *q, unsigned n)
{
	struct record_recipient r = { .address = SPAN("to@example.net"), .notify = 2 };
	struct record_envelope e = { .id = w->all[n].id, .sender = SPAN("from@example.org"), .recipients = 1, .blob = n % BLOB_EVERY == 0 };
	struct content *content = NULL;
	struct buf list;
	struct blob b;
	char name[40];

	buf_init(&list, 4096);
	buf_init(&w->all[n].content, 65536);
	for (unsigned i = 0, lines = 20 + chance(w, 200); i < lines; i++)
		buf_printf(&w->all[n].content, "message %u line %u\r\n", n, i);
	assert_true(record_list_put(&list, &record_desc_recipient, &r));
	e.list = buf_span(&list);
	e.size = buf_len(&w->all[n].content);
	if (e.blob) {
		queue_blob_name(e.id, name);
		assert_true(blob_create(&b, &w->fs->vfs, "blob/x.new", name, NULL));
		assert_true(blob_write(&b, buf_span(&w->all[n].content)));
		assert_true(blob_commit_now(&b, NULL));
	} else {
		content = content_new(65536);
		buf_put(&content->bytes, buf_span(&w->all[n].content));
	}
	assert_true(queue_accept(q, &e, content, NULL, NULL, NULL));
	buf_free(&list);
}

static bool
note_file(void *arg, const char *name)
{
	struct world *w = arg;

	if (w->nfiles < FILES_MAX)
		(void)snprintf(w->files[w->nfiles++], sizeof(w->files[0]), "journal/%.100s", name);
	return true;
}

/* Where the records stand, as an undamaged spool says. */
static void
learn(struct world *w)
{
	struct spool s;
	struct fail why;

	spool_init(&s, &w->fs->vfs);
	assert_true(spool_load(&s, &why));
	assert_int_equal(s.damages, 0);
	for (unsigned n = 0; n < MESSAGES; n++) {
		struct spool_item *i = spool_find(&s, w->all[n].id);

		if ((i != NULL) == w->all[n].removed)
			fail_msg("message %u is %sthere", n, i ? "" : "not ");
		if (!i)
			continue;
		(void)snprintf(w->all[n].name, sizeof(w->all[n].name), "journal/%08x.seg", i->file);
		w->all[n].from = i->body_at - i->head.n - SEGMENT_RECORD;
		w->all[n].to = i->body_at + i->body_n;
	}
	spool_free(&s);
	w->nfiles = 0;
	(void)w->fs->vfs.ops->list(&w->fs->vfs, "journal", note_file, w);
	for (unsigned n = 0; n < MESSAGES; n += BLOB_EVERY)
		if (!w->all[n].removed && w->nfiles < FILES_MAX)
			queue_blob_name(w->all[n].id, w->files[w->nfiles++]);
}

static void
build(struct world *w)
{
	static const struct queue_params p = { .initial_concurrency = 1, .concurrency_limit = 1, .local_concurrency_limit = 1 };
	const struct queue_ports ports = { .now_ms = now_ms, .wake = wake, .route = no_route, .agent_ready = no_agent };
	struct journal_options o = { .dir = "journal", .kind = "queu", .segment_size = SEGMENT };
	struct journal *j;
	struct queue *q;

	log_set_level(LOG_LEVEL_ERROR + 1);
	w->fs = memfs_new();
	w->fs->space = INT64_MAX;
	(void)w->fs->vfs.ops->mkdir(&w->fs->vfs, "blob");
	o.vfs = &w->fs->vfs;
	j = journal_open(&o, NULL);
	q = queue_new(j, &w->fs->vfs, &p, &ports);
	assert_true(queue_recover(q, NULL, NULL));
	for (unsigned n = 0; n < MESSAGES; n++) {
		w->all[n].id = FIRST_ID + n;
		accept_one(w, q, n);
		assert_true(journal_sync(j, NULL));
	}
	for (unsigned n = 1; n < MESSAGES; n += REMOVED_EVERY) {
		w->all[n].removed = true;
		assert_true(queue_act(q, queue_find(q, w->all[n].id), VERB_DELETE));
	}
	queue_run(q);
	queue_free(&q);
	journal_close(&j);
	learn(w);
}

/* ---- damage, and its undoing ---- */

enum { WOUNDS = 6 };

struct wound {
	char name[120];
	uint64_t at, size;
	char was;
	char *bytes; /* of a file that was cut or removed */
	bool whole;  /* removed */
};

static void
flip(struct world *w, struct wound *x)
{
	uint64_t size;
	char *bytes = memfs_bytes(w->fs, x->name, &size);

	x->at = size ? ((uint64_t)chance(w, 1u << 31) << 1 | chance(w, 2)) % size : 0;
	if (chance(w, 3) == 0 && size > SEGMENT_HEADER) /* where there is something */
		x->at = SEGMENT_HEADER + chance(w, 20000) % (size - SEGMENT_HEADER);
	x->was = bytes[x->at];
	bytes[x->at] ^= (char)(1 + chance(w, 255));
}

static void
cut(struct world *w, struct wound *x, bool remove)
{
	struct vfs *v = &w->fs->vfs;
	char *bytes = memfs_bytes(w->fs, x->name, &x->size);
	int fd;

	x->bytes = malloc(x->size + 1);
	memcpy(x->bytes, bytes, x->size);
	x->at = remove ? 0 : chance(w, (uint32_t)x->size);
	x->whole = remove;
	if (remove) {
		assert_int_equal(v->ops->unlink(v, x->name), 0);
		return;
	}
	fd = v->ops->open(v, x->name, VFS_WRITE);
	assert_int_equal(v->ops->truncate(v, fd, x->at), 0);
	(void)v->ops->close(v, fd);
}

static void
heal(struct world *w, struct wound *x)
{
	struct vfs *v = &w->fs->vfs;
	uint64_t size;
	int fd;

	if (!x->bytes) {
		memfs_bytes(w->fs, x->name, &size)[x->at] = x->was;
		return;
	}
	fd = v->ops->open(v, x->name, x->whole ? VFS_CREATE : VFS_WRITE);
	assert_true(vfs_write_all(v, fd, x->bytes, x->size, 0));
	(void)v->ops->close(v, fd);
	free(x->bytes);
}

/* What the wound leaves alone must be there. */
static bool
touches(const struct wound *x, const char *name, uint64_t from, uint64_t to)
{
	if (strcmp(x->name, name) != 0)
		return false;
	return x->bytes ? x->at < to : x->at >= from && x->at < to;
}

static bool
collect(void *arg, struct span bytes)
{
	buf_put(arg, bytes);
	return true;
}

static bool
is_hurt(const struct world *w, const struct truth *t, const struct wound *x, unsigned n)
{
	bool headers[2] = { false, false };
	char blob[40];

	queue_blob_name(t->id, blob);
	for (unsigned i = 0; i < n; i++) {
		if (touches(&x[i], t->name, t->from, t->to) || touches(&x[i], blob, 0, buf_len(&t->content)))
			return true;
		if (x[i].bytes && touches(&x[i], t->name, 0, 1))
			return true;
		if (!x[i].bytes && touches(&x[i], t->name, 0, SEGMENT_HEADER))
			headers[x[i].at >= SEGMENT_COPY] = true;
	}
	(void)w;
	(void)headers; /* even without both headers its records are found */
	return false;
}

static void
check(struct world *w, const struct wound *x, unsigned n, unsigned trial)
{
	struct spool s;
	struct export_message m;
	struct buf got, room;
	struct fail why;
	uint64_t size;

	buf_init(&got, 1 << 20);
	buf_init(&room, EXPORT_TEXT_MAX);
	spool_init(&s, &w->fs->vfs);
	assert_true(spool_load(&s, &why));
	for (unsigned i = 0; i < MESSAGES; i++) {
		struct spool_item *item = spool_find(&s, w->all[i].id);
		bool whole;

		if (w->all[i].removed)
			continue;
		buf_reset(&got);
		buf_reset(&room);
		whole = item && item->sound && spool_content(&s, item, collect, &got, &size, &why) && spool_message(item, &room, &m, &why);
		if (whole && i % BLOB_EVERY != 0 && !span_eq(buf_span(&got), buf_span(&w->all[i].content)))
			fail_msg("trial %u: message %u is said to be whole and is not", trial, i);
		if (whole && (!span_eq(m.envelope.sender, SPAN("from@example.org")) || m.envelope.size != buf_len(&w->all[i].content)))
			fail_msg("trial %u: envelope of message %u is said to be whole and is not", trial, i);
		if (!whole && !is_hurt(w, &w->all[i], x, n))
			fail_msg("trial %u: message %u in %s at %u was not touched and is lost: %s", trial, i, w->all[i].name,
			    (unsigned)w->all[i].from, item ? why.text : "not found");
	}
	spool_free(&s);
	buf_free(&got);
	buf_free(&room);
}

static void
test_what_is_not_touched_is_not_lost(void **state)
{
	struct world *w = *state;

	for (unsigned trial = 0; trial < TRIALS; trial++) {
		struct wound x[WOUNDS];
		unsigned n = 0, wanted = 1 + chance(w, WOUNDS);

		while (n < wanted) {
			uint32_t how = chance(w, 12);

			memset(&x[n], 0, sizeof(x[n]));
			(void)snprintf(x[n].name, sizeof(x[n].name), "%s", w->files[chance(w, w->nfiles)]);
			if (how < 10) {
				flip(w, &x[n++]);
			} else if (n == 0) { /* alone, so that it can be undone */
				cut(w, &x[n++], how == 11);
				break;
			}
		}
		check(w, x, n, trial);
		while (n > 0)
			heal(w, &x[--n]);
	}
}

static void
test_a_lost_header_is_no_lost_segment(void **state)
{
	struct world *w = *state;
	uint64_t size;

	for (unsigned f = 0; f < w->nfiles; f++) {
		char keep[SEGMENT_HEADER], *bytes = memfs_bytes(w->fs, w->files[f], &size);
		struct vfs *v = &w->fs->vfs;
		struct wound idx = { .whole = true };

		if (!strstr(w->files[f], ".seg"))
			continue;
		(void)snprintf(idx.name, sizeof(idx.name), "%.*s.idx", (int)strlen(w->files[f]) - 4, w->files[f]);
		memcpy(keep, bytes, sizeof(keep));
		memset(bytes, 0, sizeof(keep));
		check(w, NULL, 0, 10000 + f);
		if (memfs_bytes(w->fs, idx.name, &size)) { /* and without what tells what it said */
			cut(w, &idx, true);
			check(w, NULL, 0, 20000 + f);
			heal(w, &idx);
		}
		bytes = memfs_bytes(w->fs, w->files[f], &size);
		memcpy(bytes, keep, sizeof(keep));
		(void)v;
	}
}

static void
test_a_head_is_mended_from_the_index(void **state)
{
	struct world *w = *state;
	uint64_t size;
	unsigned mended = 0;

	for (unsigned i = 1; i < MESSAGES; i++) {
		char *bytes, idx[120];

		if (w->all[i].removed || i % BLOB_EVERY == 0)
			continue;
		(void)snprintf(idx, sizeof(idx), "%.*s.idx", (int)strlen(w->all[i].name) - 4, w->all[i].name);
		if (!memfs_bytes(w->fs, idx, &size))
			continue;
		bytes = memfs_bytes(w->fs, w->all[i].name, &size);
		bytes[w->all[i].from + SEGMENT_RECORD + 14] ^= 1; /* in the sender's address */
		check(w, NULL, 0, 30000 + i);
		bytes[w->all[i].from + SEGMENT_RECORD + 14] ^= 1;
		mended++;
	}
	assert_true(mended > 3);
}

enum { LONG = 3000, LONG_ID = 77 };

static void
accept_long(struct queue *q)
{
	struct record_envelope e = { .id = LONG_ID, .sender = SPAN("from@example.org"), .recipients = LONG, .size = 7 };
	struct content *content = content_new(100);
	struct queue_parts parts;
	struct buf list;

	buf_init(&list, 1 << 20);
	buf_puts(&content->bytes, "hello\r\n");
	queue_parts_init(&parts, 4000);
	for (unsigned i = 0; i < LONG; i++) {
		char to[40];
		struct record_recipient r = { .address = span_of(to, (size_t)snprintf(to, sizeof(to), "m%u@example.net", i)) };

		assert_true(record_list_put(&list, &record_desc_recipient, &r));
		queue_put_part(q, &parts, LONG_ID, buf_span(&list));
	}
	assert_true(buf_len(&parts.at) > 10 * sizeof(uint64_t));
	e.list = buf_span(&list);
	assert_true(queue_accept_list(q, &e, NULL, &parts, content, NULL, NULL, NULL));
	queue_parts_free(&parts);
	buf_free(&list);
}

/* Recipients in the list of the long message as spoolcheck has it; 0: it has none. */
static uint32_t
recipients_of_long(struct memfs *fs, unsigned *damages, char name[40])
{
	struct spool s;
	struct spool_item *i;
	struct export_message x;
	struct record_recipient r;
	struct buf room;
	struct fail why;
	uint32_t n = 0;
	bool ok = true;

	spool_init(&s, &fs->vfs);
	assert_true(spool_load(&s, &why));
	*damages = s.damages;
	i = spool_find(&s, LONG_ID);
	buf_init(&room, 1 << 20);
	if (i) {
		(void)snprintf(name, 40, "journal/%08x.seg", i->file);
		assert_true(spool_message(i, &room, &x, &why));
		assert_int_equal(x.envelope.recipients, LONG);
		assert_int_equal(x.envelope.parts.n, 0);
		for (struct span list = x.envelope.list; record_list_next(&list, &record_desc_recipient, &r, &ok);)
			n++;
	}
	buf_free(&room);
	spool_free(&s);
	return n;
}

/* A list that came in parts is shown whole; with a part that is damaged it is none, and that is said. */
static void
test_a_list_in_parts(void **state)
{
	static const struct queue_params p = { .initial_concurrency = 1, .concurrency_limit = 1, .local_concurrency_limit = 1 };
	const struct queue_ports ports = { .now_ms = now_ms, .wake = wake, .route = no_route, .agent_ready = no_agent };
	struct memfs *fs = memfs_new();
	struct journal_options o = { .vfs = &fs->vfs, .dir = "journal", .kind = "queu", .segment_size = 1 << 20 };
	struct journal *j;
	struct queue *q;
	unsigned damages;
	char name[40];
	int fd;

	(void)state;
	fs->space = INT64_MAX;
	(void)fs->vfs.ops->mkdir(&fs->vfs, "blob");
	j = journal_open(&o, NULL);
	q = queue_new(j, &fs->vfs, &p, &ports);
	assert_true(queue_recover(q, NULL, NULL));
	accept_long(q);
	queue_free(&q);
	journal_close(&j);
	assert_int_equal(recipients_of_long(fs, &damages, name), LONG);
	assert_int_equal(damages, 0);
	fd = fs->vfs.ops->open(&fs->vfs, name, VFS_WRITE);
	assert_true(fd >= 0);
	assert_true(vfs_write_all(&fs->vfs, fd, "XXXX", 4, 30000)); /* in the middle of the parts */
	(void)fs->vfs.ops->close(&fs->vfs, fd);
	assert_int_equal(recipients_of_long(fs, &damages, name), 0);
	assert_true(damages > 0);
	memfs_free(&fs);
}

static int
setup(void **state)
{
	struct world *w = calloc(1, sizeof(*w));

	w->random = 20261121;
	build(w);
	*state = w;
	return 0;
}

static int
teardown(void **state)
{
	struct world *w = *state;

	for (unsigned n = 0; n < MESSAGES; n++)
		buf_free(&w->all[n].content);
	memfs_free(&w->fs);
	free(w);
	return 0;
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_what_is_not_touched_is_not_lost),
		cmocka_unit_test(test_a_lost_header_is_no_lost_segment),
		cmocka_unit_test(test_a_head_is_mended_from_the_index),
		cmocka_unit_test(test_a_list_in_parts),
	};

	return cmocka_run_group_tests(tests, setup, teardown);
}
