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

/* A renewed file is read while it is being written. */
static void
test_a_certificate_that_is_cut_off_spoils_its_file(void **state)
{
	struct fixture a, b;
	struct keys set, old;
	struct fail why;
	struct buf file;
	size_t whole;

	(void)state;
	assert_true(fixture_make(&a, "EC", "a.test") && fixture_make(&b, "EC", "b.test"));
	keys_init(&set);
	keys_init(&old);
	add_pair(&old, &a, "/a.pem");
	buf_init(&file, 1 << 20);
	buf_put(&file, buf_span(&a.private_key));
	buf_put(&file, buf_span(&a.chain));
	whole = buf_len(&file);
	buf_put(&file, buf_span(&b.chain));
	assert_false(keys_add(&set, SPAN("/a.pem"), span_sub(buf_span(&file), 0, whole - 100), &why));
	assert_false(keys_add(&set, SPAN("/a.pem"), span_sub(buf_span(&file), 0, buf_len(&file) - 100), &why)); /* of the chain behind it */
	assert_int_equal(set.nkeys + set.nchains, 0);
	assert_true(keys_carry(&set, &old, SPAN("/a.pem")));
	assert_non_null(keys_chain_next(&set, NULL));
	assert_true(keys_add(&set, SPAN("/a.pem"), buf_span(&file), &why));
	keys_free(&set);
	keys_free(&old);
	buf_wipe(&file);
	fixture_free(&a);
	fixture_free(&b);
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

/* A front and a keyd on the two ends of its channels. */
struct server_side {
	int certs_fd;
	struct keys set;
	uint32_t generation;
	int fetches, tickets, asked;
	bool silent;             /* chains are asked for in vain */
	struct channel *sign;    /* served by the loop of the test */
	bool slow;               /* answers wait in: */
	struct ipc_sign_ask held[4];
	char bytes[4][128];
	int nheld;
};

static void *
serve_certs(void *arg)
{
	struct server_side *side = arg;
	struct fail why;
	struct channel_sync *c = channel_sync_new(side->certs_fd, &ipc_channel_certs, CHANNEL_SERVER, &why);
	const void *m;
	unsigned type;

	while (channel_sync_recv(c, &type, &m, NULL, 5000, &why)) {
		uint64_t id = ((const struct ipc_certs_fetch *)m)->id;

		__atomic_fetch_add(&side->fetches, 1, __ATOMIC_SEQ_CST);
		if (__atomic_load_n(&side->silent, __ATOMIC_SEQ_CST))
			continue;
		for (const struct keys_chain *chain = NULL; (chain = keys_chain_next(&side->set, chain));)
			(void)channel_sync_send(c, IPC_certs_chain,
			    &(struct ipc_certs_chain){ .id = id, .path = span_str(chain->path), .pem = buf_span(&chain->pem) }, -1, 1000, &why);
		(void)channel_sync_send(c, IPC_certs_chains, &(struct ipc_certs_chains){ .id = id, .generation = side->generation }, -1, 1000, &why);
	}
	channel_sync_free(&c);
	return NULL;
}

static void
answer(struct server_side *side, const struct ipc_sign_ask *ask)
{
	struct ipc_sign_answer a = { .id = ask->id, .generation = side->generation };
	struct fail why;
	struct buf out;

	buf_init(&out, 1024);
	a.ok = keys_sign(&side->set, ask, &out, &why);
	a.signature = buf_span(&out);
	assert_true(ipc_send_sign_answer(side->sign, &a));
	buf_free(&out);
}

static bool
on_sign_ask(struct channel *c, const struct ipc_sign_ask *m)
{
	struct server_side *side = channel_owner(c);
	struct ipc_sign_ask *held = &side->held[side->nheld];
	char *bytes = side->bytes[side->nheld];

	side->asked++;
	if (!side->slow) {
		answer(side, m);
		return true;
	}
	*held = *m;
	memcpy(bytes, m->key.p, m->key.n);
	memcpy(bytes + 32, m->data.p, m->data.n);
	held->key = span_of(bytes, m->key.n);
	held->data = span_of(bytes + 32, m->data.n);
	held->digest = SPAN("SHA256");
	side->nheld++;
	return true;
}

static bool
on_sign_tickets(struct channel *c, const struct ipc_sign_tickets *m)
{
	struct server_side *side = channel_owner(c);
	unsigned char key[TICKETS_KEY] = { 1 };

	side->tickets++;
	return ipc_send_sign_ticket_keys(c, &(struct ipc_sign_ticket_keys){ .id = m->id, .valid_ms = 100000, .current = span_of(key, sizeof(key)), .before = span_of(key, sizeof(key)) });
}

#define DISPATCH_DEF "ipc/sign.def"
#define DISPATCH_SIDE SERVER
#include "ipc/dispatch.h"

static void
on_gone(struct channel *c, const struct fail *why)
{
	(void)why;
	((struct server_side *)channel_owner(c))->sign = NULL;
	channel_free(&c);
}

static const struct channel_ops sign_side = { dispatch_sign, on_gone, NULL };

struct front {
	struct server_side side;
	struct fixture f;
	struct loop *loop;
	struct signer *signer;
	struct tls_client *client;
	pthread_t thread;
};

static void
attach_sign(struct front *t)
{
	int fd[2];

	assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, fd), 0);
	t->side.sign = channel_new(t->loop, fd[0], &ipc_channel_sign, CHANNEL_SERVER, &sign_side, &t->side);
	signer_attach_sign(t->signer, channel_new(t->loop, fd[1], &ipc_channel_sign, CHANNEL_CLIENT, &signer_channel_ops, NULL));
}

static void
front_open(struct front *t)
{
	struct fail why = { 0 };
	int fd[2];

	*t = (struct front){ .side = { .generation = 1 }, .loop = loop_new(), .signer = signer_new(false, 3600 * 1000) };
	assert_true(fixture_make(&t->f, "EC", "a.test"));
	keys_init(&t->side.set);
	add_pair(&t->side.set, &t->f, "/a.pem");
	assert_null(signer_context(t->signer, &why));
	assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, fd), 0);
	t->side.certs_fd = fd[0];
	assert_int_equal(pthread_create(&t->thread, NULL, serve_certs, &t->side), 0);
	signer_attach_certs(t->signer, channel_new(t->loop, fd[1], &ipc_channel_certs, CHANNEL_CLIENT, NULL, NULL));
	attach_sign(t);
	t->client = tls_client_new(NULL, NULL, &why);
	if (!signer_context(t->signer, &why))
		fail_msg("%s", why.text);
}

static void
front_close(struct front *t)
{
	signer_free(&t->signer);
	(void)pthread_join(t->thread, NULL);
	channel_free(&t->side.sign);
	tls_client_unref(&t->client);
	keys_free(&t->side.set);
	fixture_free(&t->f);
	loop_free(&t->loop);
}

/* One connection: its two ends and how far they are. */
struct shake {
	struct tls_conn *server, *client;
	enum tls_io a, b;
	int fd[2];
	bool ready;
};

static void
on_ready(void *arg)
{
	((struct shake *)arg)->ready = true;
}

static void
shake_open(struct front *t, struct shake *s)
{
	struct tls_want want = { TLS_LEVEL_MAY, SPAN_INIT("a.test"), NULL, 0 };
	struct fail why;

	*s = (struct shake){ .a = TLS_IO_READ, .b = TLS_IO_READ };
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, s->fd), 0);
	s->server = tls_accept_new(signer_context(t->signer, &why), s->fd[0], TLS_ASK_NOTHING, &why);
	s->client = tls_connect_new(t->client, s->fd[1], &want, &why);
	assert_non_null(s->server);
	tls_conn_on_ready(s->server, on_ready, s);
}

static void
shake_close(struct shake *s)
{
	tls_conn_free(&s->server);
	tls_conn_free(&s->client);
	(void)close(s->fd[0]);
	(void)close(s->fd[1]);
}

static bool
shake_step(struct front *t, struct shake *s)
{
	struct fail why;

	for (int i = 0; i < 10 && s->a != TLS_IO_FAIL && s->b != TLS_IO_FAIL && (s->a != TLS_IO_DONE || s->b != TLS_IO_DONE); i++) {
		s->a = s->a == TLS_IO_DONE ? s->a : tls_handshake(s->client, &why);
		if (s->b == TLS_IO_READ || (s->b == TLS_IO_SIGN && s->ready))
			s->b = tls_handshake(s->server, &why);
		(void)loop_turn(t->loop, 0);
	}
	return s->a == TLS_IO_DONE && s->b == TLS_IO_DONE;
}

static void
test_a_front_shakes_hands_through_keyd(void **state)
{
	struct front t;
	struct shake s;
	struct fail why = { 0 };

	(void)state;
	front_open(&t);
	shake_open(&t, &s);
	assert_true(shake_step(&t, &s));
	assert_true(s.ready);
	shake_close(&s);
	assert_int_equal(t.side.fetches, 1);
	assert_int_equal(t.side.tickets, 1);
	t.side.generation++; /* keyd reloads; the next answer tells */
	shake_open(&t, &s);
	assert_true(shake_step(&t, &s));
	shake_close(&s);
	assert_non_null(signer_context(t.signer, &why));
	assert_int_equal(t.side.fetches, 2);
	assert_int_equal(t.side.tickets, 1); /* kept as long as they are good, over a reload too */
	front_close(&t);
}

/* A keyd that does not answer holds up handshakes, and nothing else. */
static void
test_a_slow_keyd_delays_handshakes_alone(void **state)
{
	struct shake under_way, one, two, three;
	struct fail why = { 0 };
	struct front t;
	char text[16];
	size_t n;

	(void)state;
	front_open(&t);
	shake_open(&t, &under_way);
	assert_true(shake_step(&t, &under_way));
	t.side.slow = true;
	shake_open(&t, &one);
	shake_open(&t, &two);
	shake_open(&t, &three);
	assert_false(shake_step(&t, &one));
	assert_false(shake_step(&t, &two));
	assert_false(shake_step(&t, &three));
	assert_int_equal(one.b, TLS_IO_SIGN);
	assert_int_equal(two.b, TLS_IO_SIGN);
	assert_int_equal(t.side.nheld, 3);
	assert_int_equal(tls_handshake(one.server, &why), TLS_IO_SIGN); /* asking again changes nothing */
	assert_int_equal(tls_write(under_way.server, SPAN("still here"), &n, &why), TLS_IO_DONE);
	assert_int_equal(tls_read(under_way.client, text, sizeof(text), &n, &why), TLS_IO_DONE);
	assert_int_equal(n, 10);
	shake_close(&three);              /* its client has lost patience */
	answer(&t.side, &t.side.held[2]); /* nobody waits for this one */
	answer(&t.side, &t.side.held[1]); /* out of order */
	for (int i = 0; i < 5; i++)
		(void)loop_turn(t.loop, 0);
	assert_true(two.ready);
	assert_false(one.ready);
	t.side.slow = false;
	assert_true(shake_step(&t, &two));
	assert_false(shake_step(&t, &one));
	answer(&t.side, &t.side.held[0]);
	assert_true(shake_step(&t, &one));
	shake_close(&one);
	shake_close(&two);
	shake_close(&under_way);
	front_close(&t);
}

/* What is not answered is not asked for again and again: the front has others to serve. */
static void
test_a_silent_keyd_does_not_keep_a_front_waiting(void **state)
{
	struct tls_server *before;
	struct fail why = { 0 };
	struct front t;
	int fetches;

	(void)state;
	front_open(&t);
	before = signer_context(t.signer, &why);
	assert_non_null(before);
	fetches = __atomic_load_n(&t.side.fetches, __ATOMIC_SEQ_CST);
	__atomic_store_n(&t.side.silent, true, __ATOMIC_SEQ_CST);
	for (int i = 0; i < 1000; i++) {
		signer_reload(t.signer);
		assert_ptr_equal(signer_context(t.signer, &why), before); /* which goes on with what it has */
	}
	/* one that was waited for, and one that nobody waits for, which may lie unread */
	assert_in_range(__atomic_load_n(&t.side.fetches, __ATOMIC_SEQ_CST), fetches + 1, fetches + 2);
	front_close(&t);
}

static void
test_a_keyd_that_dies_fails_what_it_was_asked(void **state)
{
	struct front t;
	struct shake s;
	struct fail why;

	(void)state;
	front_open(&t);
	t.side.slow = true;
	shake_open(&t, &s);
	assert_false(shake_step(&t, &s));
	channel_free(&t.side.sign);
	for (int i = 0; i < 5; i++)
		(void)loop_turn(t.loop, 0);
	assert_true(s.ready);
	assert_int_equal(tls_handshake(s.server, &why), TLS_IO_FAIL);
	shake_close(&s);
	assert_null(signer_context(t.signer, &why));
	attach_sign(&t); /* it was started again */
	t.side.slow = false;
	shake_open(&t, &s);
	assert_true(shake_step(&t, &s));
	shake_close(&s);
	front_close(&t);
}

static void
test_tickets_keys_go_by_kind_and_period(void **state)
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
		cmocka_unit_test(test_a_certificate_that_is_cut_off_spoils_its_file),
		cmocka_unit_test(test_only_what_the_table_allows_is_signed),
		cmocka_unit_test(test_a_front_shakes_hands_through_keyd),
		cmocka_unit_test(test_a_slow_keyd_delays_handshakes_alone),
		cmocka_unit_test(test_a_silent_keyd_does_not_keep_a_front_waiting),
		cmocka_unit_test(test_a_keyd_that_dies_fails_what_it_was_asked),
		cmocka_unit_test(test_tickets_keys_go_by_kind_and_period),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
