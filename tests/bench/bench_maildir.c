/* SPDX-License-Identifier: ISC
 *
 * bench_maildir: deliveries a second into one Maildir, as deliverd makes them.
 *
 *   bench_maildir [-d DIR] [-n MESSAGES] [-c AT-ONCE] [-s OCTETS]
 *
 * DIR must be on the file system to be measured (default: the current directory);
 * a Maildir is made in it and left there: removing files makes ext4 slow at
 * creating others for minutes, which would spoil the next run.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

#include "store/delivery.h"

struct bench {
	struct loop *loop;
	struct deliverer *deliverer;
	struct vfs *vfs;
	size_t started, done, total, failed;
	struct span message;
};

struct slot {
	struct delivery delivery;
	struct bench *bench;
};

static double
now(void)
{
	struct timespec t;

	(void)clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static double
cpu(void)
{
	struct rusage r;

	(void)getrusage(RUSAGE_SELF, &r);
	return (double)(r.ru_utime.tv_sec + r.ru_stime.tv_sec) + (double)(r.ru_utime.tv_usec + r.ru_stime.tv_usec) / 1e6;
}

static void on_done(struct delivery *d);

static void
start(struct slot *slot)
{
	struct delivery *d = &slot->delivery;

	delivery_init(d, slot->bench->vfs, on_done);
	d->head = SPAN("Return-Path: <alice@example.test>\r\nDelivered-To: bob@example.test\r\n");
	d->body = slot->bench->message;
	slot->bench->started++;
	deliverer_put(slot->bench->deliverer, d);
}

static void
on_done(struct delivery *d)
{
	struct slot *slot = OWNER_OF(d, struct slot, delivery);
	struct bench *b = slot->bench;

	b->done++;
	if (!d->ok && b->failed++ == 0)
		(void)fprintf(stderr, "bench_maildir: %s\n", d->why.text);
	if (b->started < b->total)
		start(slot);
	else if (b->done == b->total)
		loop_stop(b->loop);
}

static bool
set_up(struct bench *b, const char *dir, size_t size)
{
	struct fail why;
	struct worker_pool *pool;
	char *text = malloc(size), name[64];
	struct vfs *base = vfs_posix_new(dir, &why);

	(void)snprintf(name, sizeof(name), "bench-maildir.%ld", (long)getpid());
	if (!text || !base || !maildir_make(base, name, &why))
		return false;
	vfs_posix_free(&base);
	if (chdir(dir) < 0 || !(b->vfs = vfs_posix_new(name, &why)))
		return false;
	for (size_t i = 0; i < size; i++)
		text[i] = i % 72 == 70 ? '\r' : i % 72 == 71 ? '\n' : 'x';
	b->message = span_of(text, size);
	b->loop = loop_new();
	pool = b->loop ? worker_pool_new(b->loop, 16) : NULL;
	b->deliverer = pool ? deliverer_new(b->loop, pool, SPAN("bench.test")) : NULL;
	return b->deliverer != NULL;
}

int
main(int argc, char **argv)
{
	const char *dir = ".";
	size_t at_once = 20, size = 4096;
	struct bench bench = { .total = 5000 };
	struct slot *slots;
	double began, used;
	int opt;

	while ((opt = getopt(argc, argv, "d:n:c:s:")) != -1) {
		if (opt == 'd')
			dir = optarg;
		else if (opt == 'n')
			bench.total = strtoul(optarg, NULL, 10);
		else if (opt == 'c')
			at_once = strtoul(optarg, NULL, 10);
		else if (opt == 's')
			size = strtoul(optarg, NULL, 10);
		else
			return 2;
	}
	if (bench.total == 0 || at_once == 0 || size == 0 || !set_up(&bench, dir, size) ||
	    !(slots = calloc(at_once, sizeof(*slots)))) {
		(void)fprintf(stderr, "bench_maildir: cannot set up in %s\n", dir);
		return 1;
	}
	began = now();
	used = cpu();
	for (size_t i = 0; i < at_once && bench.started < bench.total; i++) {
		slots[i].bench = &bench;
		start(&slots[i]);
	}
	loop_run(bench.loop);
	began = now() - began;
	used = cpu() - used;
	(void)printf("%zu deliveries of %zu octets, %zu at once: %.0f/s, %.1f us CPU each, %zu failed\n", bench.total, size,
	    at_once, (double)bench.total / began, used / (double)bench.total * 1e6, bench.failed);
	return bench.failed ? 1 : 0;
}
