/* SPDX-License-Identifier: ISC */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>
#include <pthread.h>
#include <sys/socket.h>
#include <unistd.h>

#include "daemons/keyd/keys.h"
#include "daemons/keyd/tickets.h"
#include "ipc/channel_sync.h"
#include "net/signer.h"
#include "tests/unit/tls_fixture.h"

static struct span
key_id(const struct fixture *f)
{
	return span_of(f->id, TLS_KEY_ID);
}

static void
add_pair(struct keys *set, const struct fixture *f, const char *path)
{
	struct buf both;
	struct fail why = { 0 };

	buf_init(&both, 1 << 20);
	buf_put(&both, buf_span(&f->private_key));
	buf_put(&both, buf_span(&f->chain));
	if (!keys_add(set, span_str(path), buf_span(&both), &why))
		fail_msg("%s", why.text);
	buf_wipe(&both);
}

static void
test_files_are_paired_by_key(void **state)
{
	struct fixture a, b;
	struct keys set;
	struct fail why;
	const struct keys_chain *chain;

	(void)state;
	assert_true(fixture_make(&a, "EC", "a.test"));
	assert_true(fixture_make(&b, "RSA", "b.test"));
	keys_init(&set);
	assert_true(keys_add(&set, SPAN("/a.crt"), buf_span(&a.chain), &why));
	assert_null(keys_chain_next(&set, NULL)); /* no key yet */
	assert_true(keys_add(&set, SPAN("/a.key"), buf_span(&a.private_key), &why));
	add_pair(&set, &b, "/b.pem");
	assert_int_equal(set.nkeys, 2);
	chain = keys_chain_next(&set, NULL);
	assert_string_equal(chain->subject, "a.test");
	chain = keys_chain_next(&set, chain);
	assert_string_equal(chain->subject, "b.test");
	assert_true(span_find(buf_span(&chain->pem), SPAN("PRIVATE")) == SIZE_MAX);
	assert_null(keys_chain_next(&set, chain));
	keys_free(&set);
	fixture_free(&a);
	fixture_free(&b);
}

static void
test_a_bad_file_harms_only_itself(void **state)
{
	static const char *const bad[] = {
		"", "rubbish", "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n",
		"-----BEGIN PRIVATE KEY-----\n",
		"-----BEGIN RSA PRIVATE KEY-----\nProc-Type: 4,ENCRYPTED\nDEK-Info: AES-128-CBC,00000000000000000000000000000000\n\nAAAA\n"
		"-----END RSA PRIVATE KEY-----\n",
	};
	struct fixture a;
	struct keys set, old;
	struct fail why;

	(void)state;
	assert_true(fixture_make(&a, "EC", "a.test"));
	keys_init(&set);
	keys_init(&old);
	add_pair(&set, &a, "/a.pem");
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		if (keys_add(&set, SPAN("/bad.pem"), span_str(bad[i]), &why))
			fail_msg("taken: %s", bad[i]);
	assert_int_equal(set.nkeys, 1);
	/* A reload finds the file broken: what it held stays. */
	keys_take(&old, &set);
	assert_int_equal(set.nkeys, 0);
	assert_true(keys_carry(&set, &old, SPAN("/a.pem")));
	assert_false(keys_carry(&set, &old, SPAN("/other.pem")));
	keys_free(&old);
	assert_non_null(keys_chain_next(&set, NULL));
	keys_free(&set);
	fixture_free(&a);
}

static void
test_only_what_the_table_allows_is_signed(void **state)
{
	static const char digest[64] = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcde";
	struct fixture rsa, ec, ed;
	struct keys set;
	struct fail why;
	struct buf out;
	uint8_t other[TLS_KEY_ID] = { 0 };
	struct {
		struct ipc_sign_ask ask;
		bool ok;
	} cases[] = {
		{ { .key = span_of(other, 32), .scheme = 2, .digest = SPAN("SHA256"), .data = span_of(digest, 32) }, false },
		{ { .scheme = 0, .digest = SPAN("SHA256"), .data = span_of(digest, 32) }, true },
		{ { .scheme = 1, .digest = SPAN("SHA384"), .data = span_of(digest, 48) }, true },
		{ { .scheme = 0, .digest = SPAN("SHA256"), .data = span_of(digest, 31) }, false },
		{ { .scheme = 0, .digest = SPAN("SHA256"), .data = span_of(digest, 0) }, false },
		{ { .scheme = 0, .digest = SPAN("MD5"), .data = span_of(digest, 16) }, false },
		{ { .scheme = 0, .digest = SPAN(""), .data = span_of(digest, 32) }, false },
		{ { .scheme = 2, .digest = SPAN("SHA256"), .data = span_of(digest, 32) }, false },
		{ { .scheme = 4, .digest = SPAN("SHA256"), .data = span_of(digest, 32) }, false },
	};

	(void)state;
	assert_true(fixture_make(&rsa, "RSA", "a.test"));
	assert_true(fixture_make(&ec, "EC", "a.test"));
	assert_true(fixture_make(&ed, "ED25519", "a.test"));
	keys_init(&set);
	add_pair(&set, &rsa, "/rsa");
	add_pair(&set, &ec, "/ec");
	add_pair(&set, &ed, "/ed");
	buf_init(&out, 1024);
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		if (!cases[i].ask.key.n)
			cases[i].ask.key = key_id(&rsa);
		buf_reset(&out);
		assert_int_equal(keys_sign(&set, &cases[i].ask, &out, &why), cases[i].ok);
	}
	buf_reset(&out);
	assert_true(keys_sign(&set, &(struct ipc_sign_ask){ .key = key_id(&ec), .scheme = 2, .digest = SPAN("SHA256"), .data = span_of(digest, 32) }, &out, &why));
	buf_reset(&out);
	assert_true(keys_sign(&set, &(struct ipc_sign_ask){ .key = key_id(&ed), .scheme = 3, .data = span_of(digest, 64) }, &out, &why));
	assert_int_equal(buf_len(&out), 64);
	assert_false(keys_sign(&set, &(struct ipc_sign_ask){ .key = key_id(&ed), .scheme = 3, .data = span_of(digest, 10) }, &out, &why));
	assert_false(keys_sign(&set, &(struct ipc_sign_ask){ .key = span_sub(key_id(&ed), 0, 31), .scheme = 3, .data = span_of(digest, 64) }, &out, &why));
	buf_free(&out);
	keys_free(&set);
	fixture_free(&rsa);
	fixture_free(&ec);
	fixture_free(&ed);
}

/* A front and a keyd on the two ends of a sign channel. */
struct server_side {
	int fd;
	struct keys set;
	uint32_t generation;
	int fetches, tickets;
};

static void *
serve(void *arg)
{
	struct server_side *side = arg;
	struct fail why;
	struct channel_sync *c = channel_sync_new(side->fd, &ipc_channel_sign, CHANNEL_SERVER, &why);
	const void *m;
	unsigned type;

	while (channel_sync_recv(c, &type, &m, NULL, 5000, &why)) {
		if (type == IPC_sign_fetch) {
			uint64_t id = ((const struct ipc_sign_fetch *)m)->id;

			side->fetches++;
			for (const struct keys_chain *chain = NULL; (chain = keys_chain_next(&side->set, chain));)
				(void)channel_sync_send(c, IPC_sign_chain,
				    &(struct ipc_sign_chain){ .id = id, .path = span_str(chain->path), .pem = buf_span(&chain->pem) }, -1, 1000, &why);
			(void)channel_sync_send(c, IPC_sign_chains, &(struct ipc_sign_chains){ .id = id, .generation = side->generation }, -1, 1000, &why);
		} else if (type == IPC_sign_tickets) {
			struct ipc_sign_ticket_keys keys = { .id = ((const struct ipc_sign_tickets *)m)->id, .valid_ms = 1000 };
			unsigned char key[TICKETS_KEY] = { 1 };

			side->tickets++;
			keys.current = keys.before = span_of(key, sizeof(key));
			(void)channel_sync_send(c, IPC_sign_ticket_keys, &keys, -1, 1000, &why);
		} else {
			const struct ipc_sign_ask *ask = m;
			struct ipc_sign_answer answer = { .id = ask->id };
			struct buf out;

			buf_init(&out, 1024);
			side->generation++; /* as if keyd had reloaded meanwhile */
			answer.generation = side->generation;
			answer.ok = keys_sign(&side->set, ask, &out, &why);
			answer.signature = buf_span(&out);
			(void)channel_sync_send(c, IPC_sign_answer, &answer, -1, 1000, &why);
			buf_free(&out);
		}
	}
	channel_sync_free(&c);
	return NULL;
}

static bool
shake(struct tls_server *server, struct tls_client *client)
{
	struct tls_want want = { TLS_LEVEL_MAY, SPAN_INIT("a.test"), NULL, 0 };
	enum tls_io a = TLS_IO_READ, b = TLS_IO_READ;
	struct tls_conn *one, *two;
	struct fail why;
	int fd[2];

	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, fd), 0);
	one = tls_accept_new(server, fd[0], &why);
	two = tls_connect_new(client, fd[1], &want, &why);
	for (int i = 0; i < 10 && a != TLS_IO_FAIL && b != TLS_IO_FAIL && (a != TLS_IO_DONE || b != TLS_IO_DONE); i++) {
		a = a == TLS_IO_DONE ? a : tls_handshake(two, &why);
		b = b == TLS_IO_DONE ? b : tls_handshake(one, &why);
	}
	tls_conn_free(&one);
	tls_conn_free(&two);
	(void)close(fd[0]);
	(void)close(fd[1]);
	return a == TLS_IO_DONE && b == TLS_IO_DONE;
}

static void
test_a_front_shakes_hands_through_keyd(void **state)
{
	struct fixture a;
	struct server_side side = { .generation = 1 };
	struct loop *loop = loop_new();
	struct signer *signer = signer_new(false);
	struct tls_client *client;
	struct channel *c;
	struct fail why = { 0 };
	pthread_t thread;
	int fd[2];

	(void)state;
	assert_true(fixture_make(&a, "EC", "a.test"));
	keys_init(&side.set);
	add_pair(&side.set, &a, "/a.pem");
	assert_null(signer_context(signer, &why));
	assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, fd), 0);
	side.fd = fd[0];
	assert_int_equal(pthread_create(&thread, NULL, serve, &side), 0);
	c = channel_new(loop, fd[1], &ipc_channel_sign, CHANNEL_CLIENT, NULL, NULL);
	signer_attach(signer, c);
	client = tls_client_new(NULL, NULL, &why);
	if (!signer_context(signer, &why))
		fail_msg("%s", why.text);
	assert_true(shake(signer_context(signer, &why), client));
	assert_int_equal(side.fetches, 1);
	assert_non_null(signer_context(signer, &why)); /* the answer told of another generation */
	assert_int_equal(side.fetches, 2);
	assert_true(shake(signer_context(signer, &why), client));
	assert_int_equal(side.tickets, 1); /* kept as long as they are good, over a reload too */
	signer_free(&signer);
	(void)pthread_join(thread, NULL);
	tls_client_unref(&client);
	keys_free(&side.set);
	fixture_free(&a);
	loop_free(&loop);
}

static void
test_tickets_keys_go_by_kind_and_hour(void **state)
{
	unsigned char a[TICKETS_KEY], b[TICKETS_KEY];
	struct tickets t, other;
	struct fail why;

	(void)state;
	assert_true(tickets_init(&t, &why) && tickets_init(&other, &why));
	assert_true(tickets_key(&t, SPAN("imapd"), 490000, a) && tickets_key(&t, SPAN("imapd"), 490000, b));
	assert_memory_equal(a, b, sizeof(a));
	assert_true(tickets_key(&t, SPAN("imapd"), 490001, b));
	assert_memory_not_equal(a, b, 16);
	assert_memory_not_equal(a + 16, b + 16, 32);
	assert_memory_not_equal(a + 48, b + 48, 32);
	assert_true(tickets_key(&t, SPAN("smtpd"), 490000, b));
	assert_memory_not_equal(a + 16, b + 16, 32);
	assert_true(tickets_key(&other, SPAN("imapd"), 490000, b));
	assert_memory_not_equal(a + 16, b + 16, 32);
	assert_memory_not_equal(a + 16, a + 48, 32);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_files_are_paired_by_key),
		cmocka_unit_test(test_a_bad_file_harms_only_itself),
		cmocka_unit_test(test_only_what_the_table_allows_is_signed),
		cmocka_unit_test(test_a_front_shakes_hands_through_keyd),
		cmocka_unit_test(test_tickets_keys_go_by_kind_and_hour),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
