/* SPDX-License-Identifier: ISC
 *
 * bench_queue [-k DIR | -r DIR] [messages [domains]]: the queue alone, on a real disk, without
 * daemons: CPU of accepting and delivering, memory of a waiting message, time
 * of a restart.  Exits 1 when a limit of the project is broken (400 bytes a
 * message, 3 s from restart to the first new delivery for 1,000,000).
 * With -k a queue of so many waiting messages is left in DIR
 * for the suite to start with; -r starts with it.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/queueid.h"
#include "log/log.h"
#include "queue/queue.h"

enum { CONTENT = 4096, BATCH = 64, RING = 65536, MESSAGE_LIMIT = 400, RESTART_LIMIT_MS = 3000,
	BACKOFF_MS = 300000, KEEP_BACKOFF_MS = 4000000 };

struct bench {
	struct vfs *vfs;
	struct journal *journal;
	struct queue *queue;
	uint64_t last_id, asks[RING], jobs[RING];
	char address[RING][48];
	size_t nasks, njobs;
	bool dead, soon;
	uint32_t random;
	uint64_t delivered;
	double bytes;
	int64_t backoff_ms;
};

static double
seconds(clockid_t id)
{
	struct timespec t;

	(void)clock_gettime(id, &t);
	return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static int64_t
now_ms(void *arg)
{
	(void)arg;
	return (int64_t)(seconds(CLOCK_REALTIME) * 1000);
}

static bool
route(void *arg, uint64_t ask, struct span address, struct span sender)
{
	struct bench *b = arg;

	(void)sender;
	if (b->nasks == RING || !span_cstr(address, b->address[b->nasks], sizeof(b->address[0])))
		return false;
	b->asks[b->nasks++] = ask;
	return true;
}

static bool
agent_ready(void *arg, unsigned agent)
{
	(void)agent;
	return ((struct bench *)arg)->njobs < RING;
}

static bool
deliver(void *arg, struct queue_job *job)
{
	struct bench *b = arg;

	b->jobs[b->njobs++] = queue_job_id(job);
	return true;
}

static void
wake(void *arg, int64_t at_ms)
{
	if (at_ms == 0)
		((struct bench *)arg)->soon = true;
}

static uint32_t
next_random(void *arg)
{
	struct bench *b = arg;

	b->random = b->random * 1664525u + 1013904223u;
	return b->random >> 8;
}

static void
answer(struct bench *b)
{
	size_t n = b->nasks;

	b->nasks = 0;
	for (size_t i = 0; i < n; i++) {
		struct span address = span_str(b->address[i]);
		struct queue_target t = { .agent = AGENT_REMOTE, .address = address, .nexthop = span_from(address, span_chr(address, '@') + 1) };

		(void)queue_target(b->queue, b->asks[i], &t);
		(void)queue_routed(b->queue, b->asks[i], SPAN_NONE);
	}
	n = b->njobs;
	b->njobs = 0;
	for (size_t i = 0; i < n; i++) {
		struct queue_result good = { .code = SPAN("2.0.0"), .peer = SPAN("host[192.0.2.1]:25"), .reply = SPAN("250 2.0.0 queued") };
		struct queue_result bad = { .outcome = OUTCOME_DEFERRED, .code = SPAN("4.4.1"), .reply = SPAN("connection timed out") };

		(void)queue_job_result(b->queue, b->jobs[i], 0, b->dead ? &bad : &good);
		(void)queue_job_done(b->queue, b->jobs[i], b->dead ? HEALTH_UNREACHED : HEALTH_GOOD, SPAN("connection timed out"));
		b->delivered += !b->dead;
	}
}

static void
run(struct bench *b)
{
	do {
		b->soon = false;
		queue_run(b->queue);
		answer(b);
	} while (b->soon || b->nasks || b->njobs);
}

static void
on_sparse(void *arg, uint64_t segment)
{
	struct bench *b = arg;

	if (b->queue)
		queue_compact(b->queue, segment);
}

static void
open_all(struct bench *b)
{
	struct journal_options o = { .vfs = b->vfs, .dir = "journal", .kind = "queu", .segment_size = 64 * 1024 * 1024, .on_sparse = on_sparse,
		.arg = b };
	struct queue_params p = { .maximal_queue_lifetime = 432000000, .bounce_queue_lifetime = 432000000, .minimal_backoff_time = b->backoff_ms,
		.maximal_backoff_time = 4000000, .queue_run_delay = 300000, .concurrency_limit = 1000, .initial_concurrency = 1000,
		.local_concurrency_limit = 100, .recipient_limit = 50, .bounce_size_limit = 50000, .inline_max = 61440,
		.content_cache = 4 * 1024 * 1024, .myhostname = SPAN("bench.test") };
	struct queue_ports ports = { .arg = b, .now_ms = now_ms, .route = route, .agent_ready = agent_ready, .deliver = deliver, .wake = wake,
		.random = next_random };
	struct fail why;

	b->journal = journal_open(&o, &why);
	b->queue = b->journal ? queue_new(b->journal, b->vfs, &p, &ports) : NULL;
	if (!b->queue || !queue_recover(b->queue, NULL, &why)) {
		(void)fprintf(stderr, "%s\n", why.text);
		exit(2);
	}
}

static void
post(struct bench *b, const char *to)
{
	static char body[CONTENT];
	struct record_recipient r = { .address = span_str(to) };
	struct record_envelope e = { .id = queueid_new(&b->last_id, now_ms(NULL) * 1000, 0), .sender = SPAN("somebody@sender.example"),
		.client_name = SPAN("mail.sender.example"), .client_addr = SPAN("192.0.2.77"), .helo = SPAN("mail.sender.example"),
		.protocol = SPAN("ESMTPS"), .message_id = SPAN("<20261121120000.12345@sender.example>"), .size = CONTENT, .recipients = 1 };
	struct content *c = content_new(CONTENT);
	struct buf list;
	struct fail why;

	buf_put(&c->bytes, span_of(body, CONTENT));
	buf_init(&list, 4096);
	(void)record_list_put(&list, &record_desc_recipient, &r);
	e.list = buf_span(&list);
	if (!queue_accept(b->queue, &e, c, NULL, NULL, &why)) {
		(void)fprintf(stderr, "%s\n", why.text);
		exit(2);
	}
	buf_free(&list);
}

static size_t
resident(void)
{
	FILE *f = fopen("/proc/self/statm", "r");
	size_t pages = 0;

	if (f && fscanf(f, "%*u %zu", &pages) != 1)
		pages = 0;
	if (f)
		(void)fclose(f);
	return pages * (size_t)sysconf(_SC_PAGESIZE);
}

static void
fresh_mail(struct bench *b, unsigned n)
{
	double cpu = seconds(CLOCK_PROCESS_CPUTIME_ID), wall = seconds(CLOCK_MONOTONIC);

	b->dead = false;
	for (unsigned i = 0; i < n; i++) {
		post(b, "user@healthy.example");
		if (i % BATCH == BATCH - 1) {
			(void)journal_sync(b->journal, NULL);
			run(b);
		}
	}
	(void)journal_sync(b->journal, NULL);
	run(b);
	(void)printf("fresh mail: %u accepted and delivered, %.1f us CPU each, %.0f/s, %" PRIu64 " syncs\n", n,
	    (seconds(CLOCK_PROCESS_CPUTIME_ID) - cpu) * 1e6 / n, n / (seconds(CLOCK_MONOTONIC) - wall), journal_stats(b->journal).syncs);
}

static void
fill(struct bench *b, unsigned n, unsigned domains)
{
	char to[48];
	size_t before = resident();
	double t0 = seconds(CLOCK_MONOTONIC), cpu = seconds(CLOCK_PROCESS_CPUTIME_ID);

	b->dead = true;
	for (unsigned i = 0; i < n; i++) {
		(void)snprintf(to, sizeof(to), "recipient%u@domain%u.example", i, i % domains);
		post(b, to);
		if (i % BATCH == BATCH - 1) {
			(void)journal_sync(b->journal, NULL);
			run(b);
		}
	}
	(void)journal_sync(b->journal, NULL);
	run(b);
	(void)journal_sync(b->journal, NULL);
	b->bytes = (double)(resident() - before) / n;
	(void)printf("%u deferred to %u dead domains in %.1f s, %.1f us CPU each: %.0f bytes of memory each, %u segments\n", n, domains,
	    seconds(CLOCK_MONOTONIC) - t0, (seconds(CLOCK_PROCESS_CPUTIME_ID) - cpu) * 1e6 / n, b->bytes,
	    journal_stats(b->journal).segments);
}

static double
restart(struct bench *b)
{
	double t0, cpu, took;

	t0 = seconds(CLOCK_MONOTONIC);
	cpu = seconds(CLOCK_PROCESS_CPUTIME_ID);
	open_all(b);
	post(b, "user@healthy.example");
	b->dead = false;
	b->delivered = 0;
	(void)journal_sync(b->journal, NULL);
	while (b->delivered == 0) {
		queue_run(b->queue);
		answer(b);
	}
	took = (seconds(CLOCK_MONOTONIC) - t0) * 1000;
	(void)printf("restart to first new delivery: %.0f ms (%.0f ms CPU) with %zu queued\n", took,
	    (seconds(CLOCK_PROCESS_CPUTIME_ID) - cpu) * 1000, queue_stats(b->queue).messages);
	return took;
}

int
main(int argc, char **argv)
{
	static struct bench b;
	const char *keep = argc > 2 && (strcmp(argv[1], "-k") == 0 || strcmp(argv[1], "-r") == 0) ? argv[2] : NULL;
	int at = keep ? 3 : 1;
	unsigned n = argc > at ? (unsigned)atoi(argv[at]) : 100000, domains = argc > at + 1 ? (unsigned)atoi(argv[at + 1]) : 10000;
	char dir[] = "/var/tmp/bench_queue.XXXXXX", command[80];
	double took;

	log_set_level(LOG_LEVEL_ERROR + 1);
	b.vfs = vfs_posix_new(keep ? keep : mkdtemp(dir), NULL);
	b.backoff_ms = keep ? KEEP_BACKOFF_MS : BACKOFF_MS;
	if (!b.vfs || b.vfs->ops->mkdir(b.vfs, "blob") < 0)
		return 2;
	if (keep && argv[1][1] == 'r') {
		took = restart(&b);
		fresh_mail(&b, 20000);
		return took > RESTART_LIMIT_MS;
	}
	open_all(&b);
	if (keep) {
		fill(&b, n, domains);
		journal_close(&b.journal); /* the queue dies with the process, as in a crash */
		return 0;
	}
	fresh_mail(&b, 20000);
	fill(&b, n, domains);
	fresh_mail(&b, 20000);
	queue_free(&b.queue);
	journal_close(&b.journal);
	took = restart(&b);
	queue_free(&b.queue);
	journal_close(&b.journal);
	vfs_posix_free(&b.vfs);
	(void)snprintf(command, sizeof(command), "rm -rf %s", dir);
	if (system(command) != 0)
		return 2;
	return b.bytes > MESSAGE_LIMIT || took > RESTART_LIMIT_MS;
}
