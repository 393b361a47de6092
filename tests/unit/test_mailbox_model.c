/* SPDX-License-Identifier: ISC
 *
 * Random work by three sessions on one mailbox, with another program at the
 * Maildir and the store opened anew now and then, against a plain model: what a
 * client would believe from what it was told must always be what the view says, and
 * in the end both must be what lies in the Maildir.
 *
 * MODEL_STEPS=n asks for more steps, MODEL_SEED=n for others.
 */
#include <dirent.h>
#include <fcntl.h>
#include <pthread.h>
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "log/log.h"
#include "store/maildir.h"
#include "store/state.h"

enum { SESSIONS = 3, MESSAGES_MAX = 20000, STEPS_DEFAULT = 1500, EXPECT_MAX = 100000, THREADS = 4, KILLS_MAX = 2000, RESTS_MAX = 20 };

/* What a killed process leaves behind, kept so that no leak is seen. */
struct killed {
	struct loop *loop;
	struct worker_pool *pool;
	struct store *store;
};

struct client {
	struct view view;
	struct world *world;
	bool open;
	uint32_t uids[MESSAGES_MAX]; /* what the client believes */
	uint8_t flags[MESSAGES_MAX];
	uint32_t n;
};

struct world {
	char dir[64];
	uint64_t seed;
	struct loop *loop;
	struct worker_pool *pool;
	struct store *store;
	struct client clients[SESSIONS];
	uint32_t validity, highest; /* greatest UID ever told */
	char seen_as[EXPECT_MAX];   /* by UID: first letter of the subject it was told with */
	unsigned deliveries, step, nkilled;
	bool promises; /* links are made after the answer */
	struct killed killed[KILLS_MAX];
};

static struct world *volatile kept;

/* How long the threads take for a link, and whether they make any more. */
static atomic_uint link_ms;
static atomic_bool killed;

static struct vfs_ops slow_ops;
static int (*real_link)(struct vfs *v, const char *from, const char *to);

static int
slow_link(struct vfs *v, const char *from, const char *to)
{
	for (unsigned i = 0; i < atomic_load(&link_ms) && !atomic_load(&killed); i++)
		(void)usleep(1000);
	if (!atomic_load(&killed))
		return real_link(v, from, to);
	errno = EIO;
	return -1;
}

static uint32_t
draw(struct world *w, uint32_t below)
{
	w->seed ^= w->seed >> 12;
	w->seed ^= w->seed << 25;
	w->seed ^= w->seed >> 27;
	return (uint32_t)((w->seed * 0x2545f4914f6cdd1du) >> 33) % below;
}

static struct client *
client_of(struct view *v)
{
	return v->owner;
}

/* ---- what a client is told ---- */

/* A UID never names another message: its content's letter stays. */
static void
check_identity(struct client *c, uint32_t uid)
{
	struct content content;
	char text[16] = "";

	assert_true(uid < EXPECT_MAX);
	if (uid > c->world->highest)
		c->world->highest = uid;
	if (!mailbox_content(c->view.mailbox, uid, &content, NULL))
		return;
	assert_true(pread(content.fd, text, 10, 0) == 10);
	content_close(&content);
	if (!c->world->seen_as[uid])
		c->world->seen_as[uid] = text[9];
	assert_int_equal(c->world->seen_as[uid], text[9]);
}

static void
on_expunge(struct view *v, uint32_t seq, uint32_t uid)
{
	struct client *c = client_of(v);

	assert_true(seq >= 1 && seq <= c->n);
	assert_int_equal(c->uids[seq - 1], uid);
	memmove(&c->uids[seq - 1], &c->uids[seq], (c->n - seq) * sizeof(*c->uids));
	memmove(&c->flags[seq - 1], &c->flags[seq], c->n - seq);
	c->n--;
}

static void
on_exists(struct view *v, uint32_t count, uint32_t recent)
{
	struct client *c = client_of(v);

	assert_true(count > c->n && count < MESSAGES_MAX && recent <= count);
	while (c->n < count) {
		const struct message *m = view_message(v, c->n + 1);

		c->uids[c->n] = view_uid(v, c->n + 1);
		c->flags[c->n] = m ? m->flags : 0;
		assert_true(c->n == 0 || c->uids[c->n] > c->uids[c->n - 1]);
		c->n++;
		check_identity(c, c->uids[c->n - 1]);
	}
}

static void
on_flags(struct view *v, uint32_t seq, const struct message *m)
{
	struct client *c = client_of(v);

	assert_true(seq >= 1 && seq <= c->n);
	assert_int_equal(c->uids[seq - 1], m->uid);
	c->flags[seq - 1] = m->flags;
}

static const struct view_events events = { on_expunge, on_exists, on_flags };

static void
check_view(struct client *c)
{
	struct view *v = &c->view;

	assert_int_equal(view_count(v), c->n);
	for (uint32_t seq = 1; seq <= c->n; seq++) {
		const struct message *m = view_message(v, seq);

		assert_int_equal(view_uid(v, seq), c->uids[seq - 1]);
		assert_int_equal(view_seq(v, c->uids[seq - 1]), seq);
		assert_int_equal(view_seq_from(v, c->uids[seq - 1]), seq);
		assert_true(!m || m->uid == c->uids[seq - 1]);
	}
	assert_int_equal(view_uid(v, c->n + 1), 0);
}

static void
enter(struct client *c)
{
	struct fail why = { .text = "" };

	memset(&c->view, 0, sizeof(c->view));
	c->view.owner = c;
	c->n = 0;
	if (!view_open(&c->view, c->world->store, SPAN("INBOX"), draw(c->world, 4) == 0, &why))
		fail_msg("%s", why.text);
	c->open = true;
	if (!c->world->validity)
		c->world->validity = mailbox_uidvalidity(c->view.mailbox);
	assert_int_equal(mailbox_uidvalidity(c->view.mailbox), c->world->validity);
	assert_true(mailbox_uidnext(c->view.mailbox) > c->world->highest);
	if (view_count(&c->view))
		on_exists(&c->view, view_count(&c->view), 0);
}

static void
leave(struct client *c)
{
	if (c->open)
		view_close(&c->view);
	c->open = false;
}

/* ---- what clients do ---- */

struct wait_op {
	struct mailbox_op op;
	bool done, ok;
	uint32_t first;
};

static void
on_done(struct mailbox_op *op)
{
	struct wait_op *w = OWNER_OF(op, struct wait_op, op);

	w->done = true;
	w->ok = op->ok;
	w->first = uidset_nth(&op->to, 0);
	assert_true(!op->ok || uidset_empty(&op->from) || uidset_count(&op->from) == uidset_count(&op->to));
}

static void
wait_for(struct world *w, struct wait_op *op)
{
	for (int i = 0; i < 1000 && !op->done; i++)
		(void)loop_turn(w->loop, 5);
	assert_true(op->done);
	if (!op->ok)
		fail_msg("%s", op->op.why.text);
}

static size_t
make_text(struct world *w, char *text, size_t size, const char *eol)
{
	return (size_t)snprintf(text, size, "Subject: %c%s%s%0*u%s", 'a' + (int)draw(w, 26), eol, eol, 1 + (int)draw(w, 200), w->deliveries++, eol);
}

static void
do_append(struct world *w, struct client *c)
{
	struct append_to to = { .folder = SPAN("INBOX"), .flags = (uint8_t)draw(w, 32) };
	struct append *all[3];
	struct wait_op op = { .op.on_done = on_done };
	size_t n = 1 + draw(w, 3);
	struct fail why;
	char text[400];

	(void)c;
	for (size_t i = 0; i < n; i++) {
		all[i] = append_begin(w->store, &to, &why);
		assert_non_null(all[i]);
		assert_true(append_write(all[i], span_of(text, make_text(w, text, sizeof(text), "\r\n")), &why));
	}
	append_commit(all, n, &op.op);
	wait_for(w, &op);
	if (op.first > w->highest)
		w->highest = op.first;
}

static void
some_uids(struct world *w, const struct client *c, struct uidset *out)
{
	uidset_init(out);
	for (unsigned i = draw(w, 4); c->n && i < 5; i++) {
		uint32_t from = draw(w, c->n), to = from + draw(w, 4);

		uidset_add(out, c->uids[from], c->uids[to < c->n ? to : c->n - 1]);
	}
}

static void
do_flags(struct world *w, struct client *c)
{
	struct flag_change change = { .op = (enum flag_op)draw(w, 3), .flags = (uint8_t)draw(w, 32), .unchanged_since = UINT64_MAX };
	struct uidset uids;

	some_uids(w, c, &uids);
	assert_true(mailbox_flags(&c->view, &uids, &change, NULL, NULL));
	for (uint32_t i = 0; i < c->n; i++) /* as the STORE response would say */
		if (uidset_has(&uids, c->uids[i]) && view_by_uid(&c->view, c->uids[i]))
			c->flags[i] = view_by_uid(&c->view, c->uids[i])->flags;
	uidset_free(&uids);
}

static void
do_expunge(struct world *w, struct client *c)
{
	struct uidset uids;

	some_uids(w, c, &uids);
	assert_true(draw(w, 3) ? mailbox_expunge(&c->view, NULL, NULL) : mailbox_remove(&c->view, &uids, NULL));
	uidset_free(&uids);
}

static void
do_copy(struct world *w, struct client *c)
{
	struct wait_op op = { .op.on_done = on_done };
	bool away = draw(w, 2);
	struct uidset uids;

	some_uids(w, c, &uids);
	atomic_store(&link_ms, 0); /* the one before, that this one may wait for */
	mailbox_copy(&c->view, &uids, away ? SPAN("Other") : SPAN("INBOX"), draw(w, 2), &op.op);
	if (w->promises)
		atomic_store(&link_ms, draw(w, 3) * 10);
	wait_for(w, &op);
	uidset_free(&uids);
}

static void
do_sync(struct world *w, struct client *c)
{
	view_sync(&c->view, &events, draw(w, 2));
}

static void
do_reenter(struct world *w, struct client *c)
{
	(void)w;
	leave(c);
	enter(c);
}

/* ---- another program ---- */

static bool
pick_file(struct world *w, const char *dir, char *out, size_t size)
{
	char path[200];
	struct dirent *e;
	unsigned n = 0;
	DIR *d;

	(void)snprintf(path, sizeof(path), "%s/%s", w->dir, dir);
	d = opendir(path);
	assert_non_null(d);
	while ((e = readdir(d)))
		if (e->d_name[0] != '.' && draw(w, ++n) == 0)
			(void)snprintf(out, size, "%s/%s", path, e->d_name);
	(void)closedir(d);
	return n > 0;
}

static void
do_deliver(struct world *w, struct client *c)
{
	char from[200], to[260], text[400];
	size_t n = make_text(w, text, sizeof(text), draw(w, 3) ? "\r\n" : "\n");
	FILE *out;

	(void)c;
	(void)snprintf(from, sizeof(from), "%s/tmp/%u.x", w->dir, w->deliveries);
	(void)snprintf(to, sizeof(to), "%s/new/%u.M%uP1.elsewhere", w->dir, 1700000000 + w->deliveries, w->step);
	out = fopen(from, "w");
	assert_non_null(out);
	assert_int_equal(fwrite(text, 1, n, out), n);
	(void)fclose(out);
	assert_int_equal(rename(from, to), 0);
}

static void
do_foreign_flags(struct world *w, struct client *c)
{
	static const char letters[] = "DFRST";
	char from[600], to[700], *colon;

	(void)c;
	if (!pick_file(w, "cur", from, sizeof(from)) || !(colon = strchr(from, ':')))
		return;
	*colon = '\0';
	(void)snprintf(to, sizeof(to), "%s:2,", from);
	*colon = ':';
	for (size_t i = 0; i < 5; i++)
		if (draw(w, 2)) {
			size_t used = strlen(to);

			to[used] = letters[i];
			to[used + 1] = '\0';
		}
	(void)rename(from, to); /* may have gone meanwhile */
}

static void
do_foreign_delete(struct world *w, struct client *c)
{
	char path[600];

	(void)c;
	if (draw(w, 4) == 0 && pick_file(w, draw(w, 2) ? "cur" : "new", path, sizeof(path)))
		(void)unlink(path);
}

static void
do_wait(struct world *w, struct client *c)
{
	(void)c;
	for (unsigned i = draw(w, 20); i > 0; i--)
		(void)loop_turn(w->loop, 2);
}

static void
open_store(struct world *w)
{
	struct store_config config = { .loop = w->loop, .pool = w->pool, .base = open(w->dir, O_RDONLY | O_DIRECTORY), .host = SPAN("model") };
	struct fail why;

	w->store = store_new(&config, &why);
	assert_non_null(w->store);
	slow_ops = *w->store->vfs->ops;
	real_link = slow_ops.link == slow_link ? real_link : slow_ops.link;
	slow_ops.link = slow_link;
	w->store->vfs->ops = &slow_ops;
	w->promises = draw(w, 3) > 0;
	store_set_promise(w->store, w->promises ? 1 + draw(w, 3) : SIZE_MAX);
	store_set_keep(w->store, draw(w, 2) ? 3600 : 0);
	store_set_quota(w->store, &(struct quota){ .messages = draw(w, 2) ? 1000000 : 0 });
}

static void
do_reopen(struct world *w, struct client *c)
{
	(void)c;
	if (draw(w, 10))
		return;
	atomic_store(&link_ms, 0);
	for (unsigned i = 0; i < SESSIONS; i++)
		leave(&w->clients[i]);
	store_free(&w->store);
	open_store(w);
	for (unsigned i = 0; i < SESSIONS; i++)
		enter(&w->clients[i]);
}

struct fence {
	struct work work;
	pthread_barrier_t *all;
};

static void
on_fence(struct work *work)
{
	(void)pthread_barrier_wait(OWNER_OF(work, struct fence, work)->all);
}

static void
on_fence_passed(struct work *work)
{
	(void)work;
}

/* Threads take work in its order: once each of them is at a fence, all before it has been done. */
static void
let_threads_end(struct worker_pool *pool)
{
	static struct fence fences[KILLS_MAX * 4 * THREADS];
	static size_t used;
	pthread_barrier_t all;

	assert_int_equal(pthread_barrier_init(&all, NULL, THREADS + 1), 0);
	for (unsigned i = 0; i < THREADS; i++) {
		struct fence *f = &fences[used++];

		*f = (struct fence){ .work = { .run = on_fence, .done = on_fence_passed }, .all = &all };
		worker_submit(pool, &f->work);
	}
	(void)pthread_barrier_wait(&all);
	(void)pthread_barrier_destroy(&all);
}

/* Until what others did to the files is known, and ours are named as they should be. */
static void
rest(struct world *w)
{
	atomic_store(&link_ms, 0);
	for (int i = 0; i < 3; i++) { /* the intents, the renames, and what was seen of others' meanwhile */
		int64_t until;

		let_threads_end(w->pool);
		(void)loop_turn(w->loop, 0);
		until = loop_now_ms(w->loop) + 250;
		while (loop_now_ms(w->loop) < until)
			(void)loop_turn(w->loop, 10);
	}
}

struct known {
	bool has;
	uint8_t flags;
};

/* What is said to be durable with the next message that is. */
static struct known *
make_durable(struct world *w, struct client *c)
{
	struct known *known = calloc(EXPECT_MAX, sizeof(*known));

	rest(w);
	do_flags(w, c);
	do_flags(w, &w->clients[0]);
	do_append(w, c);
	for (unsigned i = 0; i < SESSIONS; i++)
		view_sync(&w->clients[i].view, &events, true);
	for (uint32_t seq = 1; seq <= view_count(&c->view); seq++)
		if (view_message(&c->view, seq))
			known[view_uid(&c->view, seq)] = (struct known){ true, view_message(&c->view, seq)->flags };
	return known;
}

static void
compare(struct world *w, struct client *c, struct known *known)
{
	for (uint32_t seq = 1; seq <= view_count(&c->view); seq++) {
		uint32_t uid = view_uid(&c->view, seq);

		if (known[uid].has && known[uid].flags != view_message(&c->view, seq)->flags)
			fail_msg("step %u: UID %u had flags %x before a kill and has %x after it", w->step, uid, known[uid].flags,
			    view_message(&c->view, seq)->flags);
		known[uid].has = false;
	}
	for (uint32_t uid = 1; uid < EXPECT_MAX; uid++)
		if (known[uid].has)
			fail_msg("step %u: UID %u was there before a kill and is not after it", w->step, uid);
}

/* The process is killed: what it has in memory and on its loop is lost, what
 * its threads are at is finished by the kernel.  Whose change of flags counts when another
 * program's is not yet known is not said, so only every other kill is looked at. */
static void
do_kill(struct world *w, struct client *c)
{
	struct known *known;

	if (draw(w, 4))
		return;
	known = draw(w, 2) ? make_durable(w, c) : NULL;
	assert_true(w->nkilled < KILLS_MAX);
	w->killed[w->nkilled++] = (struct killed){ w->loop, w->pool, w->store };
	atomic_store(&killed, draw(w, 3) > 0);
	let_threads_end(w->pool);
	atomic_store(&killed, false);
	w->loop = loop_new();
	w->pool = worker_pool_new(w->loop, THREADS);
	open_store(w);
	for (unsigned i = 0; i < SESSIONS; i++) {
		uidset_free(&w->clients[i].view.gone);
		uidset_free(&w->clients[i].view.changed);
		uidset_free(&w->clients[i].view.recent);
		enter(&w->clients[i]);
	}
	if (known)
		compare(w, c, known);
	free(known);
}

/* ---- the end ---- */

static unsigned
count_files(struct world *w, const char *dir)
{
	char path[200];
	struct dirent *e;
	unsigned n = 0;
	DIR *d;

	(void)snprintf(path, sizeof(path), "%s/%s", w->dir, dir);
	d = opendir(path);
	assert_non_null(d);
	while ((e = readdir(d)))
		n += e->d_name[0] != '.';
	(void)closedir(d);
	return n;
}

/* What other programs did is seen at leisure, on a busy machine even later. */
static void
settle(struct world *w)
{
	const struct client *first = &w->clients[0];

	rest(w);
	rest(w);
	for (int i = 0; i < RESTS_MAX && (i == 0 || count_files(w, "cur") != first->n || count_files(w, "new") + count_files(w, "tmp") > 0); i++) {
		for (unsigned k = 0; k < SESSIONS; k++)
			view_sync(&w->clients[k].view, &events, true);
		rest(w);
	}
}

static void
check_end(struct world *w)
{
	struct client *first = &w->clients[0];
	char path[200];

	(void)snprintf(path, sizeof(path), "%s/" PROMISE_NAME, w->dir);
	settle(w);
	for (unsigned i = 0; i < SESSIONS; i++) {
		view_sync(&w->clients[i].view, &events, true);
		check_view(&w->clients[i]);
		assert_int_equal(w->clients[i].n, first->n);
		assert_memory_equal(w->clients[i].uids, first->uids, first->n * sizeof(*first->uids));
		for (uint32_t k = 0; k < first->n; k++)
			if (w->clients[i].flags[k] != view_message(&w->clients[i].view, k + 1)->flags)
				fail_msg("client %u believes flags %x of UID %u, which has %x", i, w->clients[i].flags[k], first->uids[k],
				    view_message(&w->clients[i].view, k + 1)->flags);
	}
	assert_int_equal(count_files(w, "cur"), first->n);
	assert_int_equal(count_files(w, "new"), 0);
	assert_int_equal(count_files(w, "tmp"), 0);
	assert_false(access(path, F_OK) == 0);
	for (uint32_t k = 0; k < first->n; k++) {
		struct content content;

		assert_true(mailbox_content(first->view.mailbox, first->uids[k], &content, NULL));
		content_close(&content);
		check_identity(first, first->uids[k]);
	}
}

static const struct {
	void (*act)(struct world *w, struct client *c);
	unsigned weight;
} acts[] = {
	{ do_append, 6 }, { do_flags, 20 }, { do_expunge, 3 }, { do_copy, 4 }, { do_sync, 30 }, { do_reenter, 3 }, { do_deliver, 12 },
	{ do_foreign_flags, 6 }, { do_foreign_delete, 3 }, { do_wait, 20 }, { do_reopen, 3 }, { do_kill, 3 },
};

static void
sessions_believe_what_is_there(void **state)
{
	struct world *w = calloc(1, sizeof(*w));
	const char *steps = getenv("MODEL_STEPS"), *seed = getenv("MODEL_SEED");
	unsigned total = 0, n = steps ? (unsigned)atoi(steps) : STEPS_DEFAULT;
	char command[100];

	(void)state;
	w->seed = seed ? strtoull(seed, NULL, 10) : 20261121;
	(void)snprintf(w->dir, sizeof(w->dir), "/tmp/test_model.XXXXXX");
	assert_non_null(mkdtemp(w->dir));
	w->loop = loop_new();
	w->pool = worker_pool_new(w->loop, THREADS);
	open_store(w);
	assert_true(store_create(w->store, SPAN("Other"), NULL));
	for (unsigned i = 0; i < SESSIONS; i++) {
		w->clients[i].world = w;
		enter(&w->clients[i]);
	}
	for (size_t i = 0; i < sizeof(acts) / sizeof(*acts); i++)
		total += acts[i].weight;
	for (w->step = 0; w->step < n; w->step++) {
		struct client *c = &w->clients[draw(w, SESSIONS)];
		unsigned pick = draw(w, total), a = 0;

		while (pick >= acts[a].weight)
			pick -= acts[a++].weight;
		acts[a].act(w, c);
		for (unsigned i = 0; i < SESSIONS; i++)
			check_view(&w->clients[i]);
	}
	check_end(w);
	print_message("%u steps, %u messages made, %u left, highest UID %u\n", n, w->deliveries, w->clients[0].n, w->highest);
	for (unsigned i = 0; i < SESSIONS; i++)
		leave(&w->clients[i]);
	store_free(&w->store);
	worker_pool_free(&w->pool);
	loop_free(&w->loop);
	(void)snprintf(command, sizeof(command), "rm -rf %s", w->dir);
	assert_int_equal(system(command), 0);
	kept = w; /* with what the killed ones had */
}

int
main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(sessions_believe_what_is_there) };

	log_set_level(LOG_LEVEL_ERROR);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
