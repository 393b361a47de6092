/* SPDX-License-Identifier: ISC */
#include "client.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { READ_MAX = 1 << 18 };

double
now(void)
{
	struct timespec t;

	(void)clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

_Noreturn void
die(const char *what, const char *detail)
{
	(void)fprintf(stderr, "bench_client: %s: %s\n", what, detail);
	exit(1);
}

void
numbered(char *to, const char *text, unsigned user)
{
	size_t n = 0;

	for (; *text && n + 12 < HEAD_MAX; text++) {
		if (*text == '%')
			n += (size_t)sprintf(to + n, "%u", user);
		else
			to[n++] = *text;
	}
	to[n] = '\0';
}

/* ---- connections ---- */

void
conn_dial(struct conn *c, unsigned port)
{
	struct sockaddr_in to = { .sin_family = AF_INET, .sin_port = htons((uint16_t)port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	int one = 1;

	*c = (struct conn){ .fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0) };
	if (c->fd < 0 || connect(c->fd, (struct sockaddr *)&to, sizeof(to)) < 0)
		die("connect", strerror(errno));
	(void)setsockopt(c->fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
}

void
conn_tls(struct conn *c, SSL_CTX *tls)
{
	c->ssl = SSL_new(tls);
	if (!c->ssl || !SSL_set_fd(c->ssl, c->fd) || SSL_connect(c->ssl) != 1)
		die("TLS", "the handshake failed");
}

void
conn_put(struct conn *c, const char *text, size_t n)
{
	while (n > 0) {
		ssize_t put = c->ssl ? SSL_write(c->ssl, text, (int)n) : send(c->fd, text, n, MSG_NOSIGNAL);

		if (put <= 0)
			die("send", strerror(errno));
		text += put;
		n -= (size_t)put;
	}
}

void
conn_say(struct conn *c, const char *text)
{
	char *line;
	int n = asprintf(&line, "%s\r\n", text);

	if (n < 0)
		die("send", "no memory");
	conn_put(c, line, (size_t)n);
	free(line);
}

size_t
conn_get(struct conn *c, char *to, size_t n)
{
	ssize_t got = c->ssl ? SSL_read(c->ssl, to, (int)n) : recv(c->fd, to, n, 0);

	if (got <= 0)
		die("receive", got < 0 ? strerror(errno) : "the server hung up");
	return (size_t)got;
}

void
conn_close(struct conn *c)
{
	SSL_free(c->ssl);
	(void)close(c->fd);
	*c = (struct conn){ .fd = -1 };
}

/* ---- lines ---- */

static void
keep(struct scan *s, const char *p, size_t n)
{
	size_t room = HEAD_MAX - 1 - s->nhead, first = n < room ? n : room, last = n < TAIL_MAX ? n : TAIL_MAX, stay = TAIL_MAX - last;

	memcpy(s->head + s->nhead, p, first);
	s->nhead += first;
	if (stay > s->ntail)
		stay = s->ntail;
	memmove(s->tail, s->tail + s->ntail - stay, stay);
	memcpy(s->tail + stay, p + n - last, last);
	s->ntail = stay + last;
}

/* The size that "{n}" or "{n+}" at the end of the line announces; false: there is none. */
static bool
announces(const struct scan *s, uint64_t *size)
{
	size_t at = s->ntail;
	uint64_t unit = 1;

	*size = 0;
	if (at < 5 || memcmp(s->tail + at - 3, "}\r\n", 3) != 0)
		return false;
	for (at -= 3; at > 0 && s->tail[at - 1] >= '0' && s->tail[at - 1] <= '9'; at--, unit *= 10)
		*size += (uint64_t)(s->tail[at - 1] - '0') * unit;
	return at > 0 && s->tail[at - 1] == '{' && unit > 1;
}

void
scan_feed(struct scan *s, const char *p, size_t n, void (*on_line)(void *arg, const char *head), void *arg)
{
	while (n > 0) {
		size_t some = s->literal < n ? (size_t)s->literal : n;
		const char *end;

		s->literal -= some;
		p += some;
		n -= some;
		end = n ? memchr(p, '\n', n) : NULL;
		some = end ? (size_t)(end - p) + 1 : n;
		keep(s, p, some);
		p += some;
		n -= some;
		if (!end || announces(s, &s->literal))
			continue;
		while (s->nhead && (s->head[s->nhead - 1] == '\n' || s->head[s->nhead - 1] == '\r'))
			s->nhead--;
		s->head[s->nhead] = '\0';
		s->nhead = s->ntail = 0;
		on_line(arg, s->head);
	}
}

/* ---- IMAP ---- */

static void
on_line(void *arg, const char *head)
{
	struct answer *a = arg;

	if (head[0] == '*') {
		(void)snprintf(a->untagged, sizeof(a->untagged), "%s", head);
		if (strstr(head, " EXISTS"))
			a->exists = (unsigned)strtoul(head + 2, NULL, 10);
		return;
	}
	(void)snprintf(a->last, sizeof(a->last), "%s", head);
	a->done = true;
	a->ok = strncmp(head, "x OK", 4) == 0 || head[0] == '+';
}

bool
imap_answer(struct conn *c, struct answer *a)
{
	static char in[READ_MAX];

	*a = (struct answer){ .bytes = 0 };
	while (!a->done) {
		size_t got = conn_get(c, in, sizeof(in));

		a->bytes += got;
		scan_feed(&a->scan, in, got, on_line, a);
	}
	return a->ok;
}

bool
imap_ask(struct conn *c, const char *command, struct answer *a)
{
	char *line;
	int n = asprintf(&line, "x %s\r\n", command);

	if (n < 0)
		die("send", "no memory");
	conn_put(c, line, (size_t)n);
	free(line);
	return imap_answer(c, a);
}

void
imap_enter(struct conn *c, const struct options *o, unsigned user)
{
	char in[4096], login[HEAD_MAX * 2 + 16], name[HEAD_MAX];
	struct answer a;

	conn_dial(c, o->port);
	for (size_t n = 0; n == 0 || in[n - 1] != '\n';)
		n += conn_get(c, in + n, sizeof(in) - n);
	if (o->tls) {
		if (!imap_ask(c, "STARTTLS", &a))
			die("STARTTLS", a.last);
		conn_tls(c, o->tls);
	}
	numbered(name, o->user, user);
	(void)snprintf(login, sizeof(login), "LOGIN %s %s", name, o->password);
	if (!imap_ask(c, login, &a))
		die("LOGIN", a.last);
}

/* ---- times ---- */

static int
by_value(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return x < y ? -1 : x > y;
}

void
put_times(double *times, size_t n)
{
	if (n == 0)
		die("times", "there are none");
	qsort(times, n, sizeof(times[0]), by_value);
	(void)printf("\"count\": %zu, \"p50_us\": %.0f, \"p95_us\": %.0f, \"p99_us\": %.0f", n, times[n / 2] * 1e6, times[n * 95 / 100] * 1e6, times[n * 99 / 100] * 1e6);
}
