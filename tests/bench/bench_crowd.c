/* SPDX-License-Identifier: ISC
 *
 * bench_crowd: the clients of crowd.py; in C, so that what is measured does not wait for them.
 *
 *   bench_crowd letters -p PORT -n NAME [-r RATE]   RATE letters a second, evenly, to NAME0@list.example, NAME1@other.example
 *       and so on, until its standard input ends; prints "MICROSECONDS ADDRESS" of each, when its MAIL is sent
 *   bench_crowd list -p PORT [-c COUNT]             one message to COUNT recipients; prints its queue id and the microseconds
 *       at which it began, its last recipient was accepted, and it was
 *
 * The clock is CLOCK_MONOTONIC, as bench_sink -t has it.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum {
	SESSIONS = 4,  /* that letters go by in turn: one that waits does not put off the next */
	PIPELINE = 500 /* recipients in one go (RFC 2920) */
};

struct peer {
	int fd;
	size_t n;
	char in[65536], line[1024];
};

struct letters {
	unsigned port;
	double rate;
	const char *name;
	long long begun;
	_Atomic bool stop;
};

struct share {
	struct letters *of;
	unsigned number;
	pthread_t thread;
};

static _Noreturn void
die(const char *what, const char *detail)
{
	(void)fprintf(stderr, "bench_crowd: %s: %s\n", what, detail);
	exit(1);
}

static long long
microseconds(void)
{
	struct timespec t;

	(void)clock_gettime(CLOCK_MONOTONIC, &t);
	return (long long)t.tv_sec * 1000000 + t.tv_nsec / 1000;
}

static void
put(struct peer *p, const char *text, size_t n)
{
	while (n > 0) {
		ssize_t sent = send(p->fd, text, n, MSG_NOSIGNAL);

		if (sent <= 0)
			die("send", strerror(errno));
		text += sent;
		n -= (size_t)sent;
	}
}

/* The last line of the next reply, which must begin with code. */
static void
expect(struct peer *p, const char *code)
{
	do {
		char *end;
		size_t n;

		while (!(end = memchr(p->in, '\n', p->n))) {
			ssize_t got = recv(p->fd, p->in + p->n, sizeof(p->in) - p->n, 0);

			if (got <= 0)
				die("receive", got < 0 ? strerror(errno) : "the server hung up");
			p->n += (size_t)got;
		}
		n = (size_t)(end - p->in) + 1;
		(void)snprintf(p->line, sizeof(p->line), "%.*s", (int)(n - 1), p->in);
		memmove(p->in, p->in + n, p->n -= n);
	} while (p->line[0] && p->line[3] == '-');
	if (strncmp(p->line, code, strlen(code)) != 0)
		die("refused", p->line);
}

static void
say(struct peer *p, const char *code, const char *text)
{
	put(p, text, strlen(text));
	expect(p, code);
}

static struct peer *
dial(unsigned port)
{
	struct sockaddr_in to = { .sin_family = AF_INET, .sin_port = htons((uint16_t)port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	struct peer *p = calloc(1, sizeof(*p));
	int one = 1;

	if (!p || (p->fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)) < 0 || connect(p->fd, (struct sockaddr *)&to, sizeof(to)) < 0)
		die("connect", strerror(errno));
	(void)setsockopt(p->fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
	expect(p, "220");
	say(p, "250", "EHLO crowd.bench.test\r\n");
	return p;
}

static void
hang_up(struct peer *p)
{
	say(p, "221", "QUIT\r\n");
	(void)close(p->fd);
	free(p);
}

static void
wait_until(long long at)
{
	struct timespec t = { .tv_sec = at / 1000000, .tv_nsec = at % 1000000 * 1000 };

	while (clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &t, NULL) == EINTR)
		;
}

static void *
send_letters(void *arg)
{
	const struct share *share = arg;
	struct letters *l = share->of;
	struct peer *p = dial(l->port);

	for (unsigned i = share->number; !l->stop; i += SESSIONS) {
		char text[600];
		long long at;

		wait_until(l->begun + (long long)(i * 1e6 / l->rate));
		if (l->stop)
			break;
		at = microseconds();
		(void)snprintf(text, sizeof(text), "MAIL FROM:<someone%u@else.test>\r\n", i % 7);
		say(p, "250", text);
		(void)snprintf(text, sizeof(text), "RCPT TO:<%s%u@%s.example>\r\n", l->name, i, i % 2 ? "list" : "other");
		say(p, "250", text);
		say(p, "354", "DATA\r\n");
		say(p, "250", "Subject: letter\r\n\r\nhello\r\n.\r\n");
		(void)printf("%lld %s%u@%s.example\n", at, l->name, i, i % 2 ? "list" : "other");
	}
	hang_up(p);
	return NULL;
}

static void
run_letters(unsigned port, const char *name, double rate)
{
	struct letters l = { .port = port, .rate = rate, .name = name, .begun = microseconds() + 50000 };
	struct share shares[SESSIONS];
	char c;

	for (unsigned i = 0; i < SESSIONS; i++) {
		shares[i] = (struct share){ .of = &l, .number = i };
		if (pthread_create(&shares[i].thread, NULL, send_letters, &shares[i]) != 0)
			die("thread", "no memory");
	}
	while (read(0, &c, 1) > 0)
		;
	l.stop = true;
	for (unsigned i = 0; i < SESSIONS; i++)
		(void)pthread_join(shares[i].thread, NULL);
}

static void
run_list(unsigned port, unsigned count)
{
	struct peer *p = dial(port);
	long long begun = microseconds(), listed;
	static char text[PIPELINE * 64];
	const char *id;

	say(p, "250", "MAIL FROM:<list@else.test>\r\n");
	for (unsigned at = 0; at < count;) {
		unsigned end = count - at < PIPELINE ? count : at + PIPELINE;
		size_t n = 0;

		for (unsigned i = at; i < end; i++)
			n += (size_t)snprintf(text + n, sizeof(text) - n, "RCPT TO:<member%u@list.example>\r\n", i);
		put(p, text, n);
		for (; at < end; at++)
			expect(p, "250");
	}
	listed = microseconds();
	say(p, "354", "DATA\r\n");
	say(p, "250", "Subject: to all\r\n\r\nhello\r\n.\r\n");
	id = strrchr(p->line, ' ');
	(void)printf("%.*s %lld %lld %lld\n", (int)strcspn(id ? id + 1 : "", "\r\n"), id ? id + 1 : "", begun, listed, microseconds());
	hang_up(p);
}

int
main(int argc, char **argv)
{
	unsigned port = 0, count = 100000;
	const char *name = "letter";
	double rate = 100;
	int opt;

	while ((opt = getopt(argc, argv, "p:n:r:c:")) != -1)
		switch (opt) {
		case 'p': port = (unsigned)atoi(optarg); break;
		case 'n': name = optarg; break;
		case 'r': rate = atof(optarg); break;
		case 'c': count = (unsigned)atoi(optarg); break;
		default: return 2;
		}
	if (optind + 1 != argc || rate <= 0)
		return 2;
	if (strcmp(argv[optind], "letters") == 0)
		run_letters(port, name, rate);
	else if (strcmp(argv[optind], "list") == 0)
		run_list(port, count);
	else
		return 2;
	return 0;
}
