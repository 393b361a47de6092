/* SPDX-License-Identifier: ISC
 *
 * bench_handshake: OpenSSL's handshake and nothing else: what a TLS session costs a server at least.
 *
 *   bench_handshake -p PORT -C CERTIFICATE -K KEY
 *   bench_handshake -n COUNT -C CERTIFICATE -K KEY
 *
 * With a port: one epoll loop that accepts, shakes hands and closes, until it is killed; for `bench_load handshake`.
 * With -n: both sides in this process, bytes handed over in memory; CPU seconds of the server's calls.
 * One context for all, the key in it, no resumption, one ticket: as the servers that are measured do it.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <openssl/ssl.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

static _Noreturn void
die(const char *what, const char *detail)
{
	(void)fprintf(stderr, "bench_handshake: %s: %s\n", what, detail);
	exit(1);
}

static SSL_CTX *
context(const char *cert, const char *key)
{
	SSL_CTX *tls = SSL_CTX_new(TLS_server_method());

	if (!tls || SSL_CTX_use_certificate_chain_file(tls, cert) != 1 || SSL_CTX_use_PrivateKey_file(tls, key, SSL_FILETYPE_PEM) != 1)
		die("TLS", "the certificate or its key cannot be used");
	(void)SSL_CTX_set_session_cache_mode(tls, SSL_SESS_CACHE_OFF);
	(void)SSL_CTX_set_num_tickets(tls, 1);
	return tls;
}

/* ---- over TCP ---- */

static int
start(int epoll, uint16_t port)
{
	struct sockaddr_in at = { .sin_family = AF_INET, .sin_port = htons(port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	struct epoll_event e = { .events = EPOLLIN, .data.ptr = NULL };
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0), one = 1;

	if (fd < 0 || setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one)) < 0 || setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one)) < 0 ||
	    bind(fd, (struct sockaddr *)&at, sizeof(at)) < 0 || listen(fd, 1024) < 0 || epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &e) < 0)
		die("listen", strerror(errno));
	return fd;
}

static void
greet(SSL_CTX *tls, int epoll, int listener)
{
	int fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
	SSL *ssl = fd < 0 ? NULL : SSL_new(tls);
	struct epoll_event e = { .events = EPOLLIN, .data.ptr = ssl };

	if (fd < 0)
		return;
	if (!ssl || !SSL_set_fd(ssl, fd) || epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &e) < 0)
		die("a connection", "no memory");
	SSL_set_accept_state(ssl);
}

static void
shake(SSL *ssl)
{
	int rc = SSL_do_handshake(ssl);

	if (rc != 1 && SSL_get_error(ssl, rc) == SSL_ERROR_WANT_READ)
		return;
	(void)close(SSL_get_fd(ssl));
	SSL_free(ssl);
}

static _Noreturn void
serve(SSL_CTX *tls, uint16_t port)
{
	struct epoll_event ready[64];
	int epoll = epoll_create1(EPOLL_CLOEXEC), listener = start(epoll, port);

	for (;;) {
		int n = epoll_wait(epoll, ready, 64, -1);

		for (int i = 0; i < n; i++)
			if (!ready[i].data.ptr)
				greet(tls, epoll, listener);
			else
				shake(ready[i].data.ptr);
	}
}

/* ---- in memory ---- */

static double
now(void)
{
	struct timespec t;

	(void)clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
	return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static int
never_mind(X509_STORE_CTX *ctx, void *arg)
{
	(void)ctx, (void)arg;
	return 1;
}

static void
pair_up(SSL *server, SSL *client)
{
	BIO *a = NULL, *b = NULL;

	if (!server || !client || !BIO_new_bio_pair(&a, 0, &b, 0))
		die("a pair", "no memory");
	SSL_set_bio(server, a, a);
	SSL_set_bio(client, b, b);
	SSL_set_accept_state(server);
	SSL_set_connect_state(client);
}

static double
in_memory(SSL_CTX *tls, SSL_CTX *client_tls)
{
	double begun = now(), took;
	SSL *server = SSL_new(tls), *client;
	bool done = false;

	took = now() - begun;
	client = SSL_new(client_tls);
	pair_up(server, client);
	for (int i = 0; i < 10 && !done; i++) {
		(void)SSL_do_handshake(client);
		begun = now();
		done = SSL_do_handshake(server) == 1;
		took += now() - begun;
	}
	if (!done)
		die("TLS", "the handshake failed");
	begun = now();
	SSL_free(server);
	took += now() - begun;
	SSL_free(client);
	return took;
}

static void
alone(SSL_CTX *tls, unsigned long n)
{
	SSL_CTX *client = SSL_CTX_new(TLS_client_method());
	double took = 0;

	if (!client)
		die("TLS", "no memory");
	SSL_CTX_set_cert_verify_callback(client, never_mind, NULL);
	for (unsigned long i = 0; i < n / 5; i++)
		(void)in_memory(tls, client);
	for (unsigned long i = 0; i < n; i++)
		took += in_memory(tls, client);
	(void)printf("{\"count\": %lu, \"cpu\": %.6f}\n", n, took);
	SSL_CTX_free(client);
}

int
main(int argc, char **argv)
{
	unsigned long inside = 0;
	const char *cert = "", *key = "";
	uint16_t port = 0;
	SSL_CTX *tls;
	int opt;

	while ((opt = getopt(argc, argv, "p:n:C:K:")) != -1)
		switch (opt) {
		case 'p': port = (uint16_t)atoi(optarg); break;
		case 'n': inside = strtoul(optarg, NULL, 10); break;
		case 'C': cert = optarg; break;
		case 'K': key = optarg; break;
		default: return 2;
		}
	tls = context(cert, key);
	if (!inside)
		serve(tls, port);
	alone(tls, inside);
	SSL_CTX_free(tls);
	return 0;
}
