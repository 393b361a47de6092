/* SPDX-License-Identifier: ISC
 *
 * bench_mailbox: what the mailbox store does with one large folder.
 *
 *   bench_mailbox [-d DIR] [-n MESSAGES]
 *
 * Makes a Maildir of MESSAGES files in DIR (left there) and times opening it
 * without an index and with one, changing all flags, copying, moving, expunging.
 */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "store/mailbox.h"

struct bench {
	struct loop *loop;
	struct worker_pool *pool;
	struct store *store;
	const char *dir;
	double since;
};

static double
now(void)
{
	struct timespec t;

	(void)clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec * 1e3 + (double)t.tv_nsec / 1e6;
}

static long
resident_kib(void)
{
	FILE *in = fopen("/proc/self/statm", "r");
	long total = 0, resident = 0;

	if (in) {
		if (fscanf(in, "%ld %ld", &total, &resident) != 2)
			resident = 0;
		(void)fclose(in);
	}
	return resident * 4;
}

static void
report(struct bench *b, const char *what)
{
	(void)printf("%-32s %9.2f ms   resident %ld KiB\n", what, now() - b->since, resident_kib());
	b->since = now();
}

static bool
make_files(const char *dir, unsigned n)
{
	static const char *const parts[] = { "", "/tmp", "/new", "/cur" };
	char path[600], text[1024];

	for (size_t i = 0; i < 4; i++) {
		(void)snprintf(path, sizeof(path), "%s%s", dir, parts[i]);
		(void)mkdir(path, 0700);
	}
	memset(text, 'x', sizeof(text));
	for (size_t i = 70; i + 1 < sizeof(text); i += 72)
		memcpy(text + i, "\r\n", 2);
	for (unsigned i = 0; i < n; i++) {
		int fd;

		(void)snprintf(path, sizeof(path), "%s/cur/%u.M%06uP1234.bench.test,S=%zu,W=%zu:2,%s", dir, 1700000000 + i / 10, i, sizeof(text),
		    sizeof(text), i % 3 ? "S" : "");
		fd = open(path, O_WRONLY | O_CREAT | O_EXCL, 0600);
		if (fd < 0 || write(fd, text, sizeof(text)) != (ssize_t)sizeof(text))
			return false;
		(void)close(fd);
	}
	return true;
}

static bool
open_store(struct bench *b)
{
	struct store_config config = { .loop = b->loop, .pool = b->pool, .base = open(b->dir, O_RDONLY | O_DIRECTORY), .host = SPAN("bench.test") };

	b->store = store_new(&config, NULL);
	return b->store != NULL;
}

static bool
enter(struct bench *b, struct view *v, const char *what)
{
	struct fail why;

	memset(v, 0, sizeof(*v));
	b->since = now();
	if (!view_open(v, b->store, SPAN("INBOX"), false, &why)) {
		(void)fprintf(stderr, "%s\n", why.text);
		return false;
	}
	report(b, what);
	return true;
}

struct wait_op {
	struct mailbox_op op;
	bool done;
};

static void
on_done(struct mailbox_op *op)
{
	OWNER_OF(op, struct wait_op, op)->done = true;
	if (!op->ok)
		(void)fprintf(stderr, "%s\n", op->why.text);
}

static void
copy(struct bench *b, struct view *v, uint32_t n, bool move, const char *what)
{
	struct uid_range range = { 1, n };
	struct uidset uids = { .ranges = &range, .n = 1 };
	struct wait_op w = { .op.on_done = on_done };

	b->since = now();
	mailbox_copy(v, &uids, move ? SPAN("Moved") : SPAN("Copied"), move, &w.op);
	while (!w.done)
		(void)loop_turn(b->loop, 100);
	report(b, what);
}

static void
settle(struct bench *b, int ms)
{
	double until = now() + ms;

	while (now() < until)
		(void)loop_turn(b->loop, 50);
	b->since = now();
}

int
main(int argc, char **argv)
{
	static const struct view_events quiet = { NULL, NULL, NULL };
	struct bench b = { .dir = "bench-mailbox" };
	unsigned n = 100000;
	struct view v;
	struct flag_change change = { .op = FLAGS_ADD, .flags = FLAG_FLAGGED, .unchanged_since = UINT64_MAX };
	struct uid_range range = { 1, UINT32_MAX };
	struct uidset all = { .ranges = &range, .n = 1 };
	int opt;

	while ((opt = getopt(argc, argv, "d:n:")) != -1) {
		if (opt == 'd')
			b.dir = optarg;
		else if (opt == 'n')
			n = (unsigned)strtoul(optarg, NULL, 10);
		else
			return 2;
	}
	b.loop = loop_new();
	b.pool = b.loop ? worker_pool_new(b.loop, 4) : NULL;
	if (!b.pool || !make_files(b.dir, n) || !open_store(&b))
		return 1;
	(void)sleep(2); /* so that the directories' times can be trusted */
	(void)printf("%u messages\n", n);
	if (!enter(&b, &v, "open without index"))
		return 1;
	view_close(&v);
	store_free(&b.store);
	report(&b, "close");
	if (!open_store(&b) || !enter(&b, &v, "open with index"))
		return 1;
	(void)mailbox_flags(&v, &all, &change, NULL, NULL);
	report(&b, "flags of all");
	settle(&b, 200);
	(void)store_create(b.store, SPAN("Copied"), NULL);
	(void)store_create(b.store, SPAN("Moved"), NULL);
	copy(&b, &v, n / 10, false, "copy of a tenth");
	settle(&b, 500); /* what a COPY does after its answer */
	copy(&b, &v, n / 10, true, "move of a tenth");
	settle(&b, 500);
	view_sync(&v, &quiet, true);
	report(&b, "telling that");
	change.flags = FLAG_DELETED;
	range = (struct uid_range){ n / 2, UINT32_MAX };
	(void)mailbox_flags(&v, &all, &change, NULL, NULL);
	b.since = now();
	(void)mailbox_expunge(&v, NULL, NULL);
	report(&b, "expunge of half");
	view_sync(&v, &quiet, true);
	report(&b, "telling that");
	view_close(&v);
	store_free(&b.store);
	return 0;
}
