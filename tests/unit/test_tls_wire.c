/* SPDX-License-Identifier: ISC
 *
 * What nobody waits for is kept and leaves with what follows; nothing of it is lost.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>
#include <errno.h>
#include <sys/socket.h>
#include <unistd.h>

#include "tests/unit/tls_fixture.h"

struct pair {
	struct fixture f;
	struct tls_server *server;
	struct tls_client *client;
	struct tls_conn *ours, *theirs;
	int fd[2];
};

static int
open_pair(void **state)
{
	static struct pair p;
	struct tls_signer signer = { .sign = fixture_sign, .ctx = &p.f };
	struct tls_want want = { .level = TLS_LEVEL_ENCRYPT };
	enum tls_io a = TLS_IO_READ, b = TLS_IO_READ;
	struct fail why = { 0 };

	assert_true(fixture_make(&p.f, "EC", "mail.example.test"));
	p.server = tls_server_new(&signer, &why);
	assert_true(p.server && tls_server_add_chain(p.server, buf_span(&p.f.chain), &why));
	p.client = tls_client_new(NULL, NULL, &why);
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, p.fd), 0);
	p.ours = tls_accept_new(p.server, p.fd[0], TLS_ASK_NOTHING, &why);
	p.theirs = tls_connect_new(p.client, p.fd[1], &want, &why);
	for (int i = 0; i < 20 && (a != TLS_IO_DONE || b != TLS_IO_DONE); i++) {
		a = a == TLS_IO_DONE ? a : tls_handshake(p.theirs, &why);
		b = b == TLS_IO_DONE ? b : tls_handshake(p.ours, &why);
	}
	assert_true(a == TLS_IO_DONE && b == TLS_IO_DONE);
	*state = &p;
	return 0;
}

static int
close_pair(void **state)
{
	struct pair *p = *state;

	tls_conn_free(&p->ours);
	tls_conn_free(&p->theirs);
	tls_server_unref(&p->server);
	tls_client_unref(&p->client);
	(void)close(p->fd[0]);
	(void)close(p->fd[1]);
	fixture_free(&p->f);
	return 0;
}

/* Octets on their way to the client. */
static size_t
waiting(const struct pair *p)
{
	char text[8192];
	ssize_t n = recv(p->fd[1], text, sizeof(text), MSG_PEEK | MSG_DONTWAIT);

	assert_true(n >= 0 || errno == EAGAIN);
	return n > 0 ? (size_t)n : 0;
}

/* All that comes until nothing more does; *end: the connection's end came with it. */
static size_t
take_all(struct pair *p, char *last, bool *end)
{
	struct fail why = { 0 };
	size_t total = 0, n;
	char text[4096];
	enum tls_io io;

	while ((io = tls_read(p->theirs, text, sizeof(text), &n, &why)) == TLS_IO_DONE) {
		*last = text[n - 1];
		total += n;
	}
	*end = io == TLS_IO_END;
	return total;
}

static void
test_the_ticket_leaves_with_the_first_words(void **state)
{
	struct pair *p = *state;
	struct fail why = { 0 };
	char last = 0;
	size_t n;
	bool end;

	assert_int_equal(waiting(p), 0);
	assert_int_equal(tls_write(p->ours, SPAN("hello"), &n, &why), TLS_IO_DONE);
	assert_true(waiting(p) > 150); /* both */
	assert_int_equal(take_all(p, &last, &end), 5);
	assert_false(end);
}

static void
test_last_words_and_the_end_leave_at_once(void **state)
{
	struct pair *p = *state;
	struct fail why = { 0 };
	char last = 0;
	size_t n;
	bool end;

	tls_hold(p->ours);
	assert_int_equal(tls_write(p->ours, SPAN("bye"), &n, &why), TLS_IO_DONE);
	assert_int_equal(waiting(p), 0);
	assert_int_equal(tls_bye(p->ours), TLS_IO_DONE);
	assert_int_equal(take_all(p, &last, &end), 3);
	assert_true(end);
}

/* Until the system takes no more, and the last record of these is out. */
static void
fill(struct pair *p)
{
	struct fail why = { 0 };
	char record[400], raw[4096];
	size_t n;

	memset(record, 'x', sizeof(record));
	while (tls_write(p->ours, span_of(record, sizeof(record)), &n, &why) == TLS_IO_DONE)
		continue;
	assert_true(recv(p->fd[1], raw, 400 + 22, 0) > 0); /* forgotten: the client's TLS is not asked any more */
	while (tls_write(p->ours, span_of(record, sizeof(record)), &n, &why) != TLS_IO_DONE)
		assert_true(recv(p->fd[1], raw, 400 + 22, 0) > 0);
}

static void
test_last_words_wait_for_a_full_socket(void **state)
{
	struct pair *p = *state;
	struct fail why = { 0 };
	size_t n, got = 0;
	char raw[65536];
	ssize_t some;
	int tries = 0;

	fill(p);
	tls_hold(p->ours);
	assert_int_equal(tls_write(p->ours, SPAN("221 Bye\r\n"), &n, &why), TLS_IO_DONE);
	while (tls_bye(p->ours) == TLS_IO_WRITE) {
		tries++;
		if ((some = recv(p->fd[1], raw, sizeof(raw), 0)) > 0)
			got += (size_t)some;
	}
	assert_true(tries > 0 && got > 0);
	got = 0;
	while ((some = recv(p->fd[1], raw, sizeof(raw), 0)) > 0)
		got += (size_t)some;
	assert_true(got >= 9 + 22 + 2 + 22); /* the words and the alert, as records of TLS 1.3 */
	assert_int_equal(tls_bye(p->ours), TLS_IO_DONE); /* and not said twice */
	assert_int_equal(waiting(p), 0);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_the_ticket_leaves_with_the_first_words, open_pair, close_pair),
		cmocka_unit_test_setup_teardown(test_last_words_and_the_end_leave_at_once, open_pair, close_pair),
		cmocka_unit_test_setup_teardown(test_last_words_wait_for_a_full_socket, open_pair, close_pair),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
