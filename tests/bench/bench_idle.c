/* SPDX-License-Identifier: ISC
 *
 * bench_idle: sessions that are open and say nothing, and how long others wait for a greeting meanwhile.
 *
 *   bench_idle -p PORT [-n SESSIONS] [-d DIALS] [-T]
 *
 * Opens SESSIONS connections, DIALS at a time, waits for the greeting of each and says EHLO;
 * with -T also STARTTLS, the handshake, and EHLO again.  All are held open.  Then it prints {"open": n, "refused": n, "seconds": s},
 * refused being those that were told 421, and does what is said on its standard input:
 *   greet N    N new sessions, one after the other: {"count", "p50_us", "p99_us", "max_us"} from the dial to the greeting, QUIT behind it
 *   alive      how many of those held open answer NOOP: {"alive": n}
 * until the end of its input.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <openssl/ssl.h>
#include <poll.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { SOURCES = 64 }; /* addresses that connections come from */
enum step { GREETING, EHLO, STARTTLS, HANDSHAKE, EHLO_TLS, OPEN, GONE };

struct session {
	int fd;
	SSL *ssl;
	enum step step;
	bool answered;
};

struct idle {
	struct sockaddr_in to;
	SSL_CTX *tls;
	int epoll;
	unsigned want, dials, begun, pending, open, refused;
	struct session *all;
};

static _Noreturn void
die(const char *what, const char *detail)
{
	(void)fprintf(stderr, "bench_idle: %s: %s\n", what, detail);
	exit(1);
}

static double
now(void)
{
	struct timespec t;

	(void)clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static int
dial(const struct idle *w, unsigned number, int flags)
{
	struct sockaddr_in from = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK + 1 + number % SOURCES) };
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | flags, 0), one = 1;

	if (fd < 0 || setsockopt(fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, &one, sizeof(one)) < 0 || setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one)) < 0 ||
	    bind(fd, (struct sockaddr *)&from, sizeof(from)) < 0 || (connect(fd, (const struct sockaddr *)&w->to, sizeof(w->to)) < 0 && errno != EINPROGRESS))
		die("connect", strerror(errno));
	return fd;
}

static void
say(struct session *s, const char *text)
{
	size_t n = strlen(text);

	if ((s->ssl ? SSL_write(s->ssl, text, (int)n) : (int)send(s->fd, text, n, MSG_NOSIGNAL)) != (int)n)
		die("send", strerror(errno));
}

static void
ended(struct idle *w, struct session *s, enum step step)
{
	s->step = step;
	w->pending--;
	*(step == OPEN ? &w->open : &w->refused) += 1;
	if (step == GONE) {
		(void)close(s->fd);
		s->fd = -1;
	}
}

static void
shake(struct idle *w, struct session *s)
{
	int rc = SSL_do_handshake(s->ssl);

	(void)w;
	if (rc == 1) {
		s->step = EHLO_TLS;
		say(s, "EHLO idle.bench.test\r\n");
	} else if (SSL_get_error(s->ssl, rc) != SSL_ERROR_WANT_READ)
		die("TLS", "the handshake failed");
}

/* A reply has come. */
static void
advance(struct idle *w, struct session *s)
{
	switch (s->step) {
	case GREETING:
		s->step = EHLO;
		say(s, "EHLO idle.bench.test\r\n");
		break;
	case EHLO:
		if (w->tls) {
			s->step = STARTTLS;
			say(s, "STARTTLS\r\n");
		} else
			ended(w, s, OPEN);
		break;
	case STARTTLS:
		s->step = HANDSHAKE;
		s->ssl = SSL_new(w->tls);
		if (!s->ssl || !SSL_set_fd(s->ssl, s->fd))
			die("TLS", "no memory");
		SSL_set_connect_state(s->ssl);
		shake(w, s);
		break;
	case EHLO_TLS:
		ended(w, s, OPEN);
		break;
	default:
		s->answered = true;
	}
}

/* Replies are short and come whole: the last line tells. */
static void
on_ready(struct idle *w, struct session *s)
{
	char in[4096];
	ssize_t n;

	if (s->step == HANDSHAKE) {
		shake(w, s);
		return;
	}
	n = s->ssl ? SSL_read(s->ssl, in, sizeof(in)) : recv(s->fd, in, sizeof(in), 0);
	if (n <= 0) {
		if (s->ssl ? SSL_get_error(s->ssl, (int)n) == SSL_ERROR_WANT_READ : n < 0 && errno == EAGAIN)
			return;
		if (s->step == OPEN)
			die("the server", "closed an idle session");
		ended(w, s, GONE);
		return;
	}
	for (char *line = in, *end; (end = memchr(line, '\n', (size_t)(in + n - line))); line = end + 1) {
		if (line[3] == '-')
			continue;
		if (line[0] == '4' && s->step != OPEN)
			ended(w, s, GONE);
		else
			advance(w, s);
		return;
	}
}

static void
turn(struct idle *w, int ms)
{
	struct epoll_event ready[256];
	int n = epoll_wait(w->epoll, ready, 256, ms);

	for (int i = 0; i < n; i++)
		on_ready(w, ready[i].data.ptr);
}

static void
open_all(struct idle *w)
{
	double begun = now();

	while (w->open + w->refused < w->want) {
		while (w->begun < w->want && w->pending < w->dials) {
			struct session *s = &w->all[w->begun];
			struct epoll_event e = { .events = EPOLLIN, .data.ptr = s };

			s->fd = dial(w, w->begun++, SOCK_NONBLOCK);
			w->pending++;
			if (epoll_ctl(w->epoll, EPOLL_CTL_ADD, s->fd, &e) < 0)
				die("epoll", strerror(errno));
		}
		turn(w, 1000);
		if (now() - begun > 300)
			die("the server", "has not answered all in five minutes");
	}
	(void)printf("{\"open\": %u, \"refused\": %u, \"seconds\": %.2f}\n", w->open, w->refused, now() - begun);
}

static int
by_value(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return x < y ? -1 : x > y;
}

static double
one_greeting(const struct idle *w, unsigned number)
{
	double begun = now(), took;
	int fd = dial(w, number, 0);
	char in[1024];

	if (recv(fd, in, sizeof(in), 0) < 4 || memcmp(in, "220", 3) != 0)
		die("a new session", "was not greeted");
	took = now() - begun;
	if (send(fd, "QUIT\r\n", 6, MSG_NOSIGNAL) == 6)
		while (recv(fd, in, sizeof(in), 0) > 0)
			continue;
	(void)close(fd);
	return took;
}

static void
greet(const struct idle *w, unsigned n)
{
	double *took = calloc(n + 1, sizeof(*took));

	if (!took || n == 0)
		die("greet", "how many?");
	for (unsigned i = 0; i < n; i++) {
		took[i] = one_greeting(w, i);
		(void)poll(NULL, 0, 2);
	}
	qsort(took, n, sizeof(*took), by_value);
	(void)printf("{\"count\": %u, \"p50_us\": %.0f, \"p99_us\": %.0f, \"max_us\": %.0f}\n", n, took[n / 2] * 1e6, took[n * 99 / 100] * 1e6, took[n - 1] * 1e6);
	free(took);
}

static void
alive(struct idle *w)
{
	unsigned asked = 0, answered = 0;
	double begun = now();

	for (unsigned i = 0; i < w->want; i++)
		if (w->all[i].step == OPEN) {
			w->all[i].answered = false;
			say(&w->all[i], "NOOP\r\n");
			asked++;
		}
	while (answered < asked && now() - begun < 60) {
		turn(w, 1000);
		answered = 0;
		for (unsigned i = 0; i < w->want; i++)
			answered += w->all[i].step == OPEN && w->all[i].answered;
	}
	(void)printf("{\"alive\": %u}\n", answered);
}

static int
never_mind(X509_STORE_CTX *ctx, void *arg)
{
	(void)ctx, (void)arg;
	return 1;
}

static void
prepare(struct idle *w, bool tls)
{
	struct rlimit files;

	if (getrlimit(RLIMIT_NOFILE, &files) == 0) {
		files.rlim_cur = files.rlim_max;
		(void)setrlimit(RLIMIT_NOFILE, &files);
		if (files.rlim_cur < w->want + 32)
			die("RLIMIT_NOFILE", "too few descriptors for so many sessions");
	}
	w->epoll = epoll_create1(EPOLL_CLOEXEC);
	w->all = calloc(w->want, sizeof(*w->all));
	w->tls = tls ? SSL_CTX_new(TLS_client_method()) : NULL;
	if (w->epoll < 0 || !w->all || (tls && !w->tls))
		die("start", "no memory");
	if (tls) {
		SSL_CTX_set_cert_verify_callback(w->tls, never_mind, NULL);
		(void)SSL_CTX_set_mode(w->tls, SSL_MODE_RELEASE_BUFFERS);
	}
}

int
main(int argc, char **argv)
{
	struct idle w = { .want = 10000, .dials = 100, .to = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) } };
	bool tls = false;
	char line[64];
	int opt;

	while ((opt = getopt(argc, argv, "p:n:d:T")) != -1)
		switch (opt) {
		case 'p': w.to.sin_port = htons((uint16_t)atoi(optarg)); break;
		case 'n': w.want = (unsigned)atoi(optarg); break;
		case 'd': w.dials = (unsigned)atoi(optarg); break;
		case 'T': tls = true; break;
		default: return 2;
		}
	prepare(&w, tls);
	(void)setvbuf(stdout, NULL, _IOLBF, 0);
	open_all(&w);
	while (fgets(line, sizeof(line), stdin)) {
		if (strncmp(line, "greet ", 6) == 0)
			greet(&w, (unsigned)atoi(line + 6));
		else if (strncmp(line, "alive", 5) == 0)
			alive(&w);
		else
			die("unknown command", line);
	}
	return 0;
}
