/* SPDX-License-Identifier: ISC
 *
 * APPEND under power cuts, by enumeration, as test_store_crash.c does it: a mailbox on a file system that
 * writes down every operation gets messages one by one, in a row and many at once, some are flagged and expunged;
 * for every prefix of the operations the power fails, the mailbox is opened on what is left, and
 * again on what a power cut leaves of that.
 *
 * What was acknowledged is there, whole and under its UID; nothing in cur/ is ever torn;
 * what was expunged stays away.
 */
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "crash/cut.h"
#include "log/log.h"
#include "store/state.h"
#include "store/stock.h"

enum { MESSAGES = 34, MULTI = 3, RANDOM_STATES = 4, SIZE = 1500 };

struct sent {
	char text[SIZE], base[MAILDIR_BASE_MAX];
	size_t size, acked, removing, removed; /* operations when it was acknowledged, ...; SIZE_MAX: never */
	uint32_t uid;
};

struct world {
	char dir[64];
	struct loop *loop;
	struct worker_pool *pool;
	struct store *store;
	struct view view;
	struct mailbox *mb;
	struct vfs *real;
	struct memfs *fs;
	struct sent sent[MESSAGES];
	size_t n;
	size_t unsettled; /* states in which a name was durable in tmp/ alone */
};

/* ---- a mailbox in memory ---- */

/* As the store opens a folder. */
static bool
mount_on(struct world *w, struct vfs *v)
{
	struct mailbox *mb = w->mb;
	enum indexfile_found found;
	struct fail why = { .text = "" };
	bool ok;

	mb->vfs = v;
	mb->file = (struct indexfile){ .vfs = NULL };
	ok = indexfile_open(&mb->file, v, w->loop, w->pool, &found, &why);
	if (ok && found != INDEXFILE_GOOD)
		return takeover(mb, found, &why);
	mb->visible = ok && mb->file.ix.n ? mb->file.ix.messages[mb->file.ix.n - 1].uid : 0;
	mb->opening = true;
	ok = ok && scan_all(mb, &why);
	mb->opening = false;
	return ok && change_show_now(mb, &why);
}

static void
unmount(struct world *w)
{
	struct mailbox *mb = w->mb;

	stock_stop(mb);
	timer_stop(&mb->follow);
	indexfile_close(&mb->file);
	index_names_free(&mb->names);
	mb->lag_lo = mb->lag_hi = mb->visible = mb->syncing = 0;
	mb->appended_ms = 0;
	mb->dirty = mb->failed = false;
}

static struct world *
begin(void)
{
	struct world *w = calloc(1, sizeof(*w));
	struct store_config config = { .host = SPAN("crash.test") };
	struct fail why = { .text = "" };

	(void)snprintf(w->dir, sizeof(w->dir), "/tmp/test_append_crash.XXXXXX");
	assert_non_null(mkdtemp(w->dir));
	config.loop = w->loop = loop_new();
	config.pool = w->pool = worker_pool_new(w->loop, 0); /* all in this thread */
	worker_pool_alone(w->pool, true);
	config.base = open(w->dir, O_RDONLY | O_DIRECTORY);
	w->store = store_new(&config, &why);
	assert_non_null(w->store);
	assert_true(view_open(&w->view, w->store, SPAN("INBOX"), false, &why));
	w->mb = w->view.mailbox;
	w->real = w->mb->vfs;
	unmount(w);
	w->fs = memfs_new();
	assert_true(maildir_make(&w->fs->vfs, "", &why));
	return w;
}

static void
end(struct world *w)
{
	char command[128];

	assert_true(mount_on(w, w->real));
	view_close(&w->view);
	store_free(&w->store);
	worker_pool_free(&w->pool);
	loop_free(&w->loop);
	memfs_free(&w->fs);
	(void)snprintf(command, sizeof(command), "rm -rf %s", w->dir);
	assert_int_equal(system(command), 0);
	free(w);
}

static void
turn_until(struct world *w, bool (*is)(const struct world *))
{
	for (int i = 0; i < 1000 && !is(w); i++)
		(void)loop_turn(w->loop, 10);
	assert_true(is(w));
}

/* ---- the workload ---- */

struct wait_op {
	struct mailbox_op op;
	struct world *world;
	size_t first, n;
	bool done;
};

static void
on_appended(struct mailbox_op *op)
{
	struct wait_op *a = OWNER_OF(op, struct wait_op, op);
	struct world *w = a->world;

	a->done = true;
	assert_true(op->ok);
	assert_int_equal(uidset_count(&op->to), a->n);
	for (size_t i = 0; i < a->n; i++) {
		struct sent *s = &w->sent[a->first + i];
		struct message *m;

		s->uid = uidset_nth(&op->to, i);
		s->acked = w->fs->nops;
		assert_non_null(m = index_find(&w->mb->file.ix, s->uid));
		assert_true(span_cstr(index_base(&w->mb->file.ix, m), s->base, sizeof(s->base)));
	}
}

static void
append(struct world *w, size_t n)
{
	struct append *all[MULTI];
	struct append_to to = { .folder = SPAN("INBOX") };
	struct wait_op a = { .op.on_done = on_appended, .world = w, .first = w->n, .n = n };
	struct fail why = { .text = "" };

	for (size_t i = 0; i < n; i++) {
		unsigned number = (unsigned)w->n;
		struct sent *s = &w->sent[w->n++];

		s->size = (size_t)snprintf(s->text, sizeof(s->text), "Message: %u\r\n\r\n%0*u\r\n", number, 100 + (int)(number % 7) * 200, number);
		s->acked = s->removing = s->removed = SIZE_MAX;
		to.flags = number % 4 == 1 ? FLAG_SEEN : 0;
		assert_non_null(all[i] = append_begin(w->store, &to, &why));
		assert_true(append_write(all[i], span_of(s->text, s->size / 2), &why));
		assert_true(append_write(all[i], span_of(s->text + s->size / 2, s->size - s->size / 2), &why));
	}
	append_commit(all, n, &a.op);
	for (int i = 0; i < 1000 && !a.done; i++)
		(void)loop_turn(w->loop, 10);
	assert_true(a.done);
}

static void
on_removed(struct mailbox_op *op)
{
	struct wait_op *r = OWNER_OF(op, struct wait_op, op);

	assert_true(op->ok);
	r->done = true;
	r->world->sent[r->first].removed = r->world->fs->nops;
}

static void
take_away(struct world *w, size_t which)
{
	struct uid_range range = { w->sent[which].uid, w->sent[which].uid };
	struct uidset uids = { .ranges = &range, .n = 1 };
	struct wait_op r = { .op.on_done = on_removed, .world = w, .first = which };
	struct fail why = { .text = "" };

	view_sync(&w->view, &(struct view_events){ .on_exists = NULL }, true);
	w->sent[which].removing = w->fs->nops;
	assert_true(mailbox_remove(&w->view, &uids, &why));
	mailbox_confirm(&w->view, &r.op);
	for (int i = 0; i < 1000 && !r.done; i++)
		(void)loop_turn(w->loop, 10);
	assert_true(r.done);
}

static void
flag(struct world *w, size_t which)
{
	struct uid_range range = { w->sent[which].uid, w->sent[which].uid };
	struct uidset uids = { .ranges = &range, .n = 1 };
	struct flag_change change = { .op = FLAGS_ADD, .flags = FLAG_FLAGGED, .unchanged_since = UINT64_MAX };
	struct fail why = { .text = "" };

	view_sync(&w->view, &(struct view_events){ .on_exists = NULL }, true);
	assert_true(mailbox_flags(&w->view, &uids, &change, NULL, &why));
}

static bool
followed(const struct world *w)
{
	return !w->mb->file.ix.ndoomed && !w->mb->lag_lo && !w->mb->job;
}

static bool
settled(const struct world *w)
{
	return !w->mb->stock;
}

static void
workload(struct world *w, const char *lie)
{
	w->fs->record = true;
	w->fs->lie = lie;
	assert_true(mount_on(w, &w->fs->vfs));
	for (int i = 0; i < 8; i++)
		append(w, 1);
	assert_true(lie || stock_unsettled(w->mb));
	take_away(w, 5);
	flag(w, 6);
	append(w, MULTI);
	turn_until(w, followed);
	for (int i = 0; i < 6; i++)
		append(w, 1);
	turn_until(w, settled); /* the next begins without a stock */
	append(w, MULTI);
	take_away(w, w->n - 2);
	while (w->n < MESSAGES)
		append(w, 1);
	flag(w, w->n - 1);
	turn_until(w, followed);
	unmount(w);
}

/* ---- what a power cut leaves ---- */

struct looking {
	struct world *world;
	struct memfs *fs;
	const char *wrong;
};

static bool
is_whole(struct memfs *fs, const char *path, const struct sent *s)
{
	uint64_t size;
	const char *bytes = memfs_bytes(fs, path, &size);

	return bytes && size == s->size && memcmp(bytes, s->text, s->size) == 0;
}

static bool
each_file(void *arg, const char *file)
{
	struct looking *l = arg;
	struct span name = span_str(file);
	char path[MAILDIR_NAME_MAX + 5];
	size_t i = 0;

	while (i < l->world->n && !span_eq(span_sub(name, 0, span_chr(name, ':')), span_str(l->world->sent[i].base)))
		i++;
	(void)snprintf(path, sizeof(path), "cur/%s", file);
	if (i == l->world->n || !is_whole(l->fs, path, &l->world->sent[i]))
		l->wrong = "a file in cur/ is not a whole message";
	return !l->wrong;
}

static const char *
check_message(struct world *w, struct memfs *fs, size_t n, const struct sent *s)
{
	const struct index *ix = &w->mb->file.ix;
	const struct message *m = index_find(ix, s->uid);
	char path[MAILDIR_NAME_MAX + 5];

	if (s->acked > n)
		return NULL;
	if (m && !span_eq(index_base(ix, m), span_str(s->base)))
		return "a UID that was told names another message";
	if (m && s->removed <= n)
		return "an expunged message is back";
	if (!m && s->removing >= n)
		return "an acknowledged message is lost";
	if (m && (!index_path(ix, m, path) || !is_whole(fs, path, s)))
		return "an acknowledged message has no file";
	return NULL;
}

/* Opens the mailbox on it. */
static const char *
check(struct world *w, struct memfs *fs, size_t n)
{
	struct looking l = { .world = w, .fs = fs };

	(void)fs->vfs.ops->list(&fs->vfs, "cur", each_file, &l);
	if (l.wrong)
		return l.wrong;
	if (!mount_on(w, &fs->vfs))
		l.wrong = "the mailbox cannot be opened";
	for (size_t i = 0; !l.wrong && i < w->n; i++)
		l.wrong = check_message(w, fs, n, &w->sent[i]);
	unmount(w);
	return l.wrong;
}

/* The power fails in the recovery, too. */
static const char *
check_again(struct world *w, size_t n, const struct memfs *recovered, const struct memfs *base)
{
	const char *wrong = NULL;
	struct cut c;

	cut_init(&c, recovered, base);
	do
		for (unsigned k = 0; k < 3 && !wrong; k++) {
			unsigned char *reached = malloc(c.units + 1);
			struct memfs *after;

			for (size_t u = 0; u < c.units; u++)
				reached[u] = k == 0 || (k == 2 && (u * 7 + c.n + n) % 3 == 0);
			after = cut_make(&c, reached);
			wrong = check(w, after, n);
			memfs_free(&after);
			free(reached);
		}
	while (!wrong && cut_forward(&c));
	cut_free(&c);
	return wrong;
}

static bool
has_file(struct memfs *fs, const struct sent *s)
{
	char path[MAILDIR_BASE_MAX + 5];

	return s->base[0] && stock_find(&fs->vfs, span_str(s->base), path);
}

static const char *
check_cut(struct world *w, size_t n, enum memfs_loss loss, uint64_t seed)
{
	struct memfs *after = memfs_crash(w->fs, n, loss, seed), *before = memfs_clone(after);
	const char *wrong;

	for (size_t i = 0; i < w->n; i++)
		w->unsettled += w->sent[i].acked <= n && has_file(after, &w->sent[i]);
	after->record = true;
	wrong = check(w, after, n);
	if (!wrong && (loss == MEMFS_DROP_ALL || n % 8 == 0))
		wrong = check_again(w, n, after, before);
	memfs_free(&before);
	memfs_free(&after);
	return wrong;
}

static const char *
check_all(struct world *w, size_t *at)
{
	const char *wrong = NULL;

	for (*at = 0; !wrong && *at <= w->fs->nops; *at += !wrong) {
		wrong = check_cut(w, *at, MEMFS_KEEP_ALL, 0);
		wrong = wrong ? wrong : check_cut(w, *at, MEMFS_DROP_ALL, 0);
		for (uint64_t seed = 1; !wrong && seed <= RANDOM_STATES; seed++)
			wrong = check_cut(w, *at, seed % 2 ? MEMFS_RANDOM : MEMFS_DROP_ONE, seed + *at * 100);
	}
	return wrong;
}

/* ---- tests ---- */

static void
acknowledged_appends_survive(void **state)
{
	struct world *w = begin();
	const char *wrong;
	size_t at;

	(void)state;
	workload(w, NULL);
	wrong = check_all(w, &at);
	if (wrong)
		fail_msg("operation %zu: %s", at, wrong);
	print_message("%zu file operations; %zu times an acknowledged message was in tmp/ alone\n", w->fs->nops, w->unsettled);
	assert_true(w->unsettled > 100);
	end(w);
}

static void
left_out_syncs_are_found(void **state)
{
	static const char *const lies[] = { "tmp/", "tmp", "pillarpost/" };

	(void)state;
	for (size_t i = 0; i < sizeof(lies) / sizeof(*lies); i++) {
		struct world *w = begin();
		const char *wrong;
		size_t at;

		workload(w, lies[i]);
		wrong = check_all(w, &at);
		if (!wrong)
			fail_msg("without the syncs of %s nothing was found", lies[i]);
		print_message("without the syncs of %s: operation %zu: %s\n", lies[i], at, wrong);
		end(w);
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(acknowledged_appends_survive),
		cmocka_unit_test(left_out_syncs_are_found),
	};

	log_set_level(LOG_LEVEL_ERROR);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
