/* SPDX-License-Identifier: ISC
 *
 * bench_sink: a cheap SMTP server that throws the mail away, the same for every
 * server that is measured: one epoll loop, no copy.
 *
 *   bench_sink -p PORT [-m COUNT]... [-C CERTIFICATE -K KEY] [-t]
 *
 * At each COUNT of messages it prints one line of JSON (how many, bytes, connections), after
 * the last it ends.  With a certificate it offers STARTTLS.  With -t it prints a line
 * "MICROSECONDS ADDRESS" for each message to one recipient, when it has it all.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <openssl/ssl.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "base/list.h"

enum { LINE = 1024, OUT = 4096, MARKS = 512 };

struct session {
	struct list node;
	int fd;
	SSL *ssl;
	bool data, handshake;
	size_t nline, nout;
	unsigned matched; /* of CRLF . CRLF */
	unsigned rcpts;
	char line[LINE], out[OUT], to[LINE];
};

struct sink {
	int epoll, listener;
	struct list sessions;
	SSL_CTX *tls;
	unsigned long marks[MARKS], nmarks, mark, messages, connections;
	unsigned long long bytes;
	bool times;
};

static _Noreturn void
die(const char *what, const char *detail)
{
	(void)fprintf(stderr, "bench_sink: %s: %s\n", what, detail);
	exit(1);
}

static void
put(struct session *s, const char *text)
{
	size_t n = strlen(text);

	if (s->nout + n > sizeof(s->out))
		die("a client", "pipelines too much");
	memcpy(s->out + s->nout, text, n);
	s->nout += n;
}

static void
flush_out(struct session *s)
{
	if (s->nout == 0)
		return;
	/* replies are short: a peer that does not read them is not measured */
	if (s->ssl)
		(void)SSL_write(s->ssl, s->out, (int)s->nout);
	else
		(void)send(s->fd, s->out, s->nout, MSG_NOSIGNAL);
	s->nout = 0;
}

static void
drop(struct session *s)
{
	list_remove(&s->node);
	SSL_free(s->ssl);
	(void)close(s->fd);
	free(s);
}

/* Of a message to one alone: those of a list are many, and nobody asks for them. */
static void
put_time(const struct session *s)
{
	struct timespec t;

	if (s->rcpts != 1)
		return;
	(void)clock_gettime(CLOCK_MONOTONIC, &t);
	(void)printf("%lld %.*s\n", (long long)t.tv_sec * 1000000 + t.tv_nsec / 1000, (int)strcspn(s->to, ">"), s->to);
}

/* Says false when the session is at its end. */
static bool
command(struct sink *k, struct session *s)
{
	const char *verb = s->line;

	if (strncasecmp(verb, "EHLO", 4) == 0)
		put(s, k->tls && !s->ssl ? "250-sink.bench.test\r\n250-PIPELINING\r\n250-8BITMIME\r\n250-STARTTLS\r\n250 SIZE\r\n"
		                         : "250-sink.bench.test\r\n250-PIPELINING\r\n250-8BITMIME\r\n250 SIZE\r\n");
	else if (strncasecmp(verb, "DATA", 4) == 0) {
		put(s, "354 go on\r\n");
		s->data = true;
		s->matched = 2;
	} else if (k->times && strncasecmp(verb, "RCPT TO:<", 9) == 0) {
		if (s->rcpts++ == 0)
			memcpy(s->to, verb + 9, sizeof(s->to) - 9);
		put(s, "250 2.0.0 fine\r\n");
	} else if (strncasecmp(verb, "QUIT", 4) == 0) {
		put(s, "221 2.0.0 bye\r\n");
		return false;
	} else if (strncasecmp(verb, "STARTTLS", 8) == 0 && k->tls) {
		put(s, "220 2.0.0 go on\r\n");
		flush_out(s);
		s->ssl = SSL_new(k->tls);
		if (!s->ssl || !SSL_set_fd(s->ssl, s->fd))
			die("TLS", "no memory");
		SSL_set_accept_state(s->ssl);
		s->handshake = true;
	} else
		put(s, "250 2.0.0 fine\r\n");
	return true;
}

/* How much of p..p+n is content, its end included; done says whether it ended. */
static size_t
content(struct session *s, const char *p, size_t n, bool *done)
{
	static const char end[] = "\r\n.\r\n";
	size_t i = 0;

	*done = false;
	while (i < n) {
		if (s->matched == 0) {
			const char *cr = memchr(p + i, '\r', n - i);

			if (!cr)
				return n;
			i = (size_t)(cr - p);
		}
		if (p[i] == end[s->matched])
			s->matched++;
		else
			s->matched = p[i] == '\r' ? 1 : 0;
		i++;
		if (s->matched == 5) {
			*done = true;
			return i;
		}
	}
	return n;
}

static bool
take(struct sink *k, struct session *s, const char *p, size_t n)
{
	while (n > 0) {
		const char *end;
		size_t len;
		bool done;

		if (s->data) {
			len = content(s, p, n, &done);
			k->bytes += len;
			p += len;
			n -= len;
			if (!done)
				return true;
			s->data = false;
			k->messages++;
			if (k->times)
				put_time(s);
			s->rcpts = 0;
			put(s, "250 2.0.0 thrown away\r\n");
			continue;
		}
		end = memchr(p, '\n', n);
		len = end ? (size_t)(end - p) + 1 : n;
		if (s->nline + len >= sizeof(s->line))
			die("a client", "says too long a line");
		memcpy(s->line + s->nline, p, len);
		s->nline += len;
		s->line[s->nline] = '\0';
		p += len;
		n -= len;
		if (!end)
			return true;
		s->nline = 0;
		if (!command(k, s))
			return false;
	}
	return true;
}

static void
on_ready(struct sink *k, struct session *s)
{
	static char in[1 << 18];
	ssize_t n;

	if (s->handshake) {
		int rc = SSL_do_handshake(s->ssl);

		if (rc != 1) {
			if (SSL_get_error(s->ssl, rc) != SSL_ERROR_WANT_READ)
				drop(s);
			return;
		}
		s->handshake = false;
	}
	for (;;) {
		n = s->ssl ? SSL_read(s->ssl, in, sizeof(in)) : recv(s->fd, in, sizeof(in), 0);
		if (n <= 0) {
			if (!(s->ssl ? SSL_get_error(s->ssl, (int)n) == SSL_ERROR_WANT_READ : errno == EAGAIN && n < 0))
				drop(s);
			return;
		}
		if (!take(k, s, in, (size_t)n)) {
			flush_out(s);
			drop(s);
			return;
		}
		flush_out(s);
		if (s->handshake || !s->ssl)
			return;
	}
}

static void
on_connection(struct sink *k)
{
	int fd = accept4(k->listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC), one = 1;
	struct session *s = fd < 0 ? NULL : calloc(1, sizeof(*s));
	struct epoll_event e = { .events = EPOLLIN, .data.ptr = s };

	if (!s)
		return;
	s->fd = fd;
	list_push(&k->sessions, &s->node);
	k->connections++;
	(void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
	put(s, "220 sink.bench.test ESMTP\r\n");
	flush_out(s);
	if (epoll_ctl(k->epoll, EPOLL_CTL_ADD, fd, &e) < 0)
		die("epoll", strerror(errno));
}

static void
start(struct sink *k, uint16_t port, const char *cert, const char *key)
{
	struct sockaddr_in at = { .sin_family = AF_INET, .sin_port = htons(port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	struct epoll_event e = { .events = EPOLLIN, .data.ptr = NULL };
	int one = 1;

	if (cert) {
		k->tls = SSL_CTX_new(TLS_server_method());
		if (!k->tls || SSL_CTX_use_certificate_chain_file(k->tls, cert) != 1 || SSL_CTX_use_PrivateKey_file(k->tls, key, SSL_FILETYPE_PEM) != 1)
			die("TLS", "the certificate or its key cannot be used");
	}
	k->epoll = epoll_create1(EPOLL_CLOEXEC);
	k->listener = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (k->epoll < 0 || k->listener < 0 || setsockopt(k->listener, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one)) < 0 ||
	    bind(k->listener, (struct sockaddr *)&at, sizeof(at)) < 0 || listen(k->listener, 1024) < 0 ||
	    epoll_ctl(k->epoll, EPOLL_CTL_ADD, k->listener, &e) < 0)
		die("listen", strerror(errno));
}

int
main(int argc, char **argv)
{
	struct sink k = { .nmarks = 0 };
	const char *cert = NULL, *key = NULL;
	struct epoll_event ready[64];
	uint16_t port = 0;
	int opt;

	while ((opt = getopt(argc, argv, "p:m:C:K:t")) != -1)
		switch (opt) {
		case 'p': port = (uint16_t)atoi(optarg); break;
		case 'm':
			if (k.nmarks < MARKS)
				k.marks[k.nmarks++] = strtoul(optarg, NULL, 10);
			break;
		case 'C': cert = optarg; break;
		case 'K': key = optarg; break;
		case 't': k.times = true; break;
		default: return 2;
		}
	if (k.times)
		(void)setvbuf(stdout, NULL, _IOLBF, 0);
	list_init(&k.sessions);
	start(&k, port, cert, key ? key : cert);
	while (k.mark < k.nmarks) {
		int n = epoll_wait(k.epoll, ready, 64, -1);

		for (int i = 0; i < n; i++)
			if (ready[i].data.ptr)
				on_ready(&k, ready[i].data.ptr);
			else
				on_connection(&k);
		while (k.mark < k.nmarks && k.messages >= k.marks[k.mark]) {
			k.mark++;
			(void)printf("{\"count\": %lu, \"bytes\": %llu, \"connections\": %lu}\n", k.messages, k.bytes, k.connections);
			(void)fflush(stdout);
		}
	}
	while (!list_empty(&k.sessions))
		drop(OWNER_OF(k.sessions.next, struct session, node));
	SSL_CTX_free(k.tls);
	return 0;
}
