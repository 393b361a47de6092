/* SPDX-License-Identifier: ISC */
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "tests/unit/tls_pair.h"

char *
write_ca(const struct fixture *f)
{
	static char path[] = "/tmp/test_tls_ca.XXXXXX";
	int fd;

	(void)snprintf(path, sizeof(path), "/tmp/test_tls_ca.XXXXXX");
	fd = mkstemp(path);
	assert_true(fd >= 0);
	assert_int_equal(write(fd, buf_span(&f->chain).p, buf_len(&f->chain)), buf_len(&f->chain));
	(void)close(fd);
	return path;
}

void
pair_open(struct pair *p, struct tls_server *server, struct tls_client *client, const struct tls_want *want)
{
	struct fail why = { 0 };

	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, p->fd), 0);
	p->server = tls_accept_new(server, p->fd[0], TLS_ASK_NOTHING, &why);
	assert_non_null(p->server);
	p->client = tls_connect_new(client, p->fd[1], want, &why);
	assert_non_null(p->client);
}

void
pair_close(struct pair *p)
{
	tls_conn_free(&p->server);
	tls_conn_free(&p->client);
	(void)close(p->fd[0]);
	(void)close(p->fd[1]);
}

bool
shake(struct pair *p, struct fail *why)
{
	enum tls_io a = TLS_IO_READ, b = TLS_IO_READ;

	for (int i = 0; i < 20 && (a != TLS_IO_DONE || b != TLS_IO_DONE); i++) {
		if (a != TLS_IO_DONE)
			a = tls_handshake(p->client, why);
		if (a == TLS_IO_FAIL)
			return false;
		if (b != TLS_IO_DONE)
			b = tls_handshake(p->server, why);
		if (b == TLS_IO_FAIL)
			return false;
	}
	return a == TLS_IO_DONE && b == TLS_IO_DONE;
}

struct tls_server *
server_of(struct fixture *f)
{
	struct tls_signer signer = { fixture_sign, f, NULL };
	struct fail why = { 0 };
	struct tls_server *server = tls_server_new(&signer, &why);

	if (!server || !tls_server_add_chain(server, buf_span(&f->chain), &why))
		fail_msg("%s", why.text);
	return server;
}

static bool
sign_either(void *ctx, const struct tls_sign_request *ask, struct buf *signature, struct fail *why)
{
	struct two *two = ctx;

	for (size_t i = 0; i < 2; i++)
		if (memcmp(two->key[i].id, ask->key_id, TLS_KEY_ID) == 0)
			return fixture_sign(&two->key[i], ask, signature, why);
	return fail_set(why, FAIL_PERM, 0, "no such key");
}

void
two_open(struct two *two, const char *kind0, const char *name0, const char *kind1, const char *name1)
{
	two->signer = (struct tls_signer){ sign_either, two, NULL };
	two->client = tls_client_new(NULL, NULL, NULL);
	two->server = tls_server_new(&two->signer, NULL);
	assert_true(fixture_make(&two->key[0], kind0, name0));
	assert_true(fixture_make(&two->key[1], kind1, name1));
}

bool
two_add(struct two *two, size_t which)
{
	struct fail why = { 0 };
	bool ok = tls_server_add_chain(two->server, buf_span(&two->key[which].chain), &why);

	assert_true(ok || why.class != FAIL_NONE);
	return ok;
}

void
two_close(struct two *two)
{
	tls_server_unref(&two->server);
	tls_client_unref(&two->client);
	fixture_free(&two->key[0]);
	fixture_free(&two->key[1]);
}
