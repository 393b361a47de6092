/* SPDX-License-Identifier: ISC
 *
 * siblings [-n MESSAGES] [-s SEED] [-t SECONDS] [-p PROGRAM] BUILD DIR
 *   -n  over all programs (200,000)
 *   -s  where chance begins (1)
 *   -t  at most so long with each program; the others get what it has left (no limit)
 *   -p  this one alone
 *   -u  root is so in its own user namespace only: it need not become nobody
 * BUILD holds the daemons, DIR an instance of tools/setup/instance.sh.  See tests/siblings/run.
 */
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "sys/priv.h"
#include "tests/siblings/siblings.h"

enum { ATTACKS_A_ROUND = 32, WILD_ROUNDS = 300, HONEST_ROUNDS = 3000, STARTS_MAX = 100000, SPEAK_MS = 120000, STOPPED_MS = 25000 };

uint32_t
rnd(struct rig *r, uint32_t below)
{
	r->random ^= r->random << 13;
	r->random ^= r->random >> 7;
	r->random ^= r->random << 17;
	return below ? (uint32_t)((r->random >> 16) % below) : 0;
}

int64_t
now_ms(void)
{
	static int64_t last, stopped;
	struct timespec t;
	int64_t now;

	(void)clock_gettime(CLOCK_MONOTONIC, &t);
	now = (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
	if (last && now - last > STOPPED_MS) /* we were, and the daemon with us: that is no time for anybody to answer in */
		stopped += now - last;
	last = now;
	return now - stopped;
}

bool
broke(struct rig *r, const char *fmt, ...)
{
	va_list ap;

	if (r->wrong[0])
		return false;
	va_start(ap, fmt);
	(void)vsnprintf(r->wrong, sizeof(r->wrong), fmt, ap);
	va_end(ap);
	return false;
}

static bool
open_log(struct rig *r)
{
	char path[B_PATH];

	(void)snprintf(path, sizeof(path), "%s/%s.log", r->dir, r->target->name);
	r->log = open(path, O_RDWR | O_CREAT | O_TRUNC | O_APPEND | O_CLOEXEC, 0644);
	return r->log >= 0 && dup2(r->log, STDERR_FILENO) >= 0;
}

static void
show_log(const struct rig *r)
{
	char bytes[6000];
	off_t end = lseek(r->log, 0, SEEK_END), from = end > (off_t)sizeof(bytes) ? end - (off_t)sizeof(bytes) : 0;
	ssize_t n = pread(r->log, bytes, sizeof(bytes), from);
	const char *line = bytes;

	for (ssize_t i = 0; i < n; i++)
		if (bytes[i] == '\n') {
			(void)printf("# | %.*s\n", (int)(bytes + i - line), line);
			line = bytes + i + 1;
		}
}

static void
attack(struct rig *r)
{
	if (rnd(r, r->honest ? HONEST_ROUNDS : WILD_ROUNDS) == 0)
		r->honest = !r->honest;
	for (int i = 0; i < ATTACKS_A_ROUND && r->nends; i++) {
		struct end *e = r->ends[rnd(r, (uint32_t)r->nends)];

		if (e->type == &ipc_channel_certs && e->side == CHANNEL_SERVER && rnd(r, 500))
			continue; /* whoever asks there waits for the answer: that would be all that happens */
		if (tally_leads(r, e->tally))
			continue;
		if (honest_for_now(r, e)) {
			honest_begin(r, e);
			continue;
		}
		if (e->kind == END_WIRE || e->kind == END_CONTROL || e->kind == END_GIVEN)
			end_attack(r, e);
	}
}

/* What it needs in the first third is its own; more and more is not. */
static void
watch_size(struct rig *r, uint64_t done, uint64_t share, size_t peak[3])
{
	size_t rss = target_rss(r), *at = &peak[done * 3 / (share ? share : 1) > 2 ? 2 : done * 3 / (share ? share : 1)];

	if (rss > *at)
		*at = rss;
}

/* Until its share is done or its time is over, and longer where a channel was too silent to show anything. */
static bool
goes_on(struct rig *r, uint64_t done, uint64_t share, int64_t until_ms, int64_t began_ms)
{
	if (r->wrong[0])
		return false;
	return (done < share && now_ms() < until_ms) || (now_ms() < began_ms + SPEAK_MS && !tally_enough(r, false));
}

static bool
run(struct rig *r, uint64_t share, int64_t until_ms)
{
	uint64_t begun = r->sent;
	int64_t began_ms = now_ms();
	size_t peak[3] = { 0 };
	bool tickets = strcmp(r->target->name, "userd") == 0, up;

	r->polite = tickets;
	up = target_start(r);
	if (up && tickets && tickets_tried(r))
		(void)printf("ok - replayed and forged tickets let nobody in\n");
	r->polite = false;
	for (unsigned round = 0; goes_on(r, r->sent - begun, share, until_ms, began_ms); round++) {
		if (!up || !target_healthy(r)) {
			if (!r->wrong[0]) { /* it was its right */
				while (r->nends)
					end_free(r, r->ends[0]);
				up = r->started < STARTS_MAX ? target_start(r) : broke(r, "it does not stay");
			}
			continue;
		}
		attack(r);
		clients_turn(r);
		ends_read(r, round % 8 ? 0 : 1);
		if (round % 64 == 0 && r->started == 1)
			watch_size(r, r->sent - begun, share, peak);
	}
	(void)tally_enough(r, true);
	if (!r->wrong[0] && peak[0] && peak[2] > peak[0] + r->target->may_grow)
		(void)broke(r, "it grows: %zu MiB at first, %zu MiB later", peak[0] >> 20, peak[2] >> 20);
	if (r->wrong[0]) {
		target_kill(r);
		return false;
	}
	(void)printf("# %s: %zu MiB in the first third, %zu MiB in the last\n", r->target->name, peak[0] >> 20, peak[2] >> 20);
	clients_leave(r);
	return target_stop(r);
}

static bool
attack_target(struct rig *r, const struct target *t, uint64_t share, int64_t seconds)
{
	uint64_t sent = r->sent, closed = r->closed, received = r->received;
	int64_t began = now_ms();
	bool ok;

	r->target = t;
	r->wrong[0] = '\0';
	r->nlast = 0;
	r->started = 0;
	r->nwords = 0;
	r->ntallies = 0;
	r->honest = true;
	ok = open_log(r) && clients_open(r) && (!target_is_wired(r) || blame_tried(r)) && run(r, share, seconds ? now_ms() + seconds * 1000 : INT64_MAX);
	clients_close(r);
	(void)printf("%sok - %s among hostile siblings: %llu messages, %llu answers, %llu channels closed, %lld ms\n", ok ? "" : "not ", t->name,
	    (unsigned long long)(r->sent - sent), (unsigned long long)(r->received - received), (unsigned long long)(r->closed - closed), (long long)(now_ms() - began));
	tally_print(r);
	if (!ok) {
		(void)printf("# %s\n", r->wrong);
		for (size_t i = r->nlast > LAST ? r->nlast - LAST : 0; i < r->nlast; i++)
			(void)printf("# > %s\n", r->last[i % LAST]);
		show_log(r);
	}
	(void)fflush(stdout);
	(void)close(r->log);
	return ok;
}

/* Root in a namespace of its own has no other users that maild could start programs as. */
static bool
chosen(const struct target *t, const char *only, bool stay)
{
	return (!only || strcmp(only, t->name) == 0) && !(stay && strcmp(t->name, "maild") == 0);
}

/* Whom chance may take anywhere must be able to do no harm. */
static bool
become_nobody(bool stay, struct fail *why)
{
	const struct priv_identity nobody = { .uid = 65534, .gid = 65534 };

	return stay || geteuid() != 0 || priv_become(&nobody, why);
}

static bool
load(struct rig *r, bool stay, struct arena *arena)
{
	char path[B_PATH], loud[B_PATH];
	struct fail why = { .text = "" };

	(void)snprintf(path, sizeof(path), "%s/etc/pillarpost.conf", r->dir);
	(void)snprintf(loud, sizeof(loud), "%s/etc/loud.conf", r->dir);
	arena_init(arena, 2 * CONF_ARENA_MAX);
	r->null = open("/dev/null", O_RDWR | O_CLOEXEC);
	if (r->null >= 0 && chdir(r->build) == 0 && conf_load(path, arena, &r->conf, NULL, &why) && conf_load(loud, arena, &r->loud, NULL, &why) &&
	    become_nobody(stay, &why))
		return true;
	(void)fprintf(stderr, "siblings: %s: %s\n", path, why.text);
	return false;
}

int
main(int argc, char **argv)
{
	static struct rig rig;
	unsigned long long messages = 200000, left;
	long long seconds = 0;
	struct arena arena;
	size_t n = 0, failed = 0;
	const char *only = NULL;
	bool stay = false;
	int opt;

	rig.random = 1;
	rig.stand_in = -1;
	while ((opt = getopt(argc, argv, "n:p:s:t:u")) != -1)
		if (opt == 'n')
			messages = strtoull(optarg, NULL, 10);
		else if (opt == 's')
			rig.random = strtoull(optarg, NULL, 10);
		else if (opt == 'p')
			only = optarg;
		else if (opt == 'u')
			stay = true;
		else if (opt == 't')
			seconds = strtoll(optarg, NULL, 10);
	if (optind + 2 > argc)
		return 64;
	rig.build = argv[optind];
	rig.dir = argv[optind + 1];
	rig.random = rig.random * 0x9E3779B97F4A7C15ULL | 1;
	(void)signal(SIGPIPE, SIG_IGN);
	if (!load(&rig, stay, &arena))
		return 1;
	for (size_t i = 0; i < ntargets; i++)
		n += chosen(&targets[i], only, stay);
	left = messages;
	for (size_t i = 0; i < ntargets; i++) {
		uint64_t before = rig.sent, share;

		if (!chosen(&targets[i], only, stay))
			continue;
		share = left / n--;
		failed += !attack_target(&rig, &targets[i], share, seconds);
		left -= rig.sent - before < share ? rig.sent - before : share; /* more than its share is at nobody's cost */
	}
	(void)printf("# %llu messages in all\n", (unsigned long long)rig.sent);
	arena_free(&arena);
	return failed != 0;
}
