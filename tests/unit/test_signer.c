/* SPDX-License-Identifier: ISC
 *
 * Certificates asked of a keyd that is played here.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include "ipc/channel_sync.h"
#include "ipc/messages.h"
#include "net/signer.h"
#include "sys/loop.h"
#include "tests/unit/tls_fixture.h"

struct rig {
	struct loop *loop;
	struct signer *signer;
	struct channel_sync *certs; /* keyd's end */
	int sign[2];                /* keyd's ends, of which nobody takes anything */
	struct channel *other;      /* the second one's other end, not attached yet */
	uint64_t asked;             /* the id of the last fetch */
	struct fixture f;
};

static struct channel *
front_end(struct rig *r, const struct ipc_channel *type, const struct channel_ops *ops, int *other)
{
	int fds[2];
	struct channel *c;

	assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, fds), 0);
	c = channel_new(r->loop, fds[0], type, CHANNEL_CLIENT, ops, NULL);
	assert_non_null(c);
	*other = fds[1];
	return c;
}

static void
make(struct rig *r)
{
	struct channel *sign, *certs;
	int fd;

	*r = (struct rig){ .loop = loop_new() };
	assert_non_null(r->loop);
	assert_true(fixture_make(&r->f, "EC", "one.test"));
	r->signer = signer_new(false, 3600 * 1000);
	assert_non_null(r->signer);
	sign = front_end(r, &ipc_channel_sign, &signer_channel_ops, &r->sign[0]);
	r->other = front_end(r, &ipc_channel_sign, &signer_channel_ops, &r->sign[1]);
	signer_attach_sign(r->signer, sign); /* asks for tickets: id 1 */
	certs = front_end(r, &ipc_channel_certs, NULL, &fd);
	signer_attach_certs(r->signer, certs);
	r->certs = channel_sync_new(fd, &ipc_channel_certs, CHANNEL_SERVER, NULL);
	assert_non_null(r->certs);
}

static void
drop(struct rig *r)
{
	signer_free(&r->signer);
	channel_sync_free(&r->certs);
	(void)close(r->sign[0]);
	(void)close(r->sign[1]);
	fixture_free(&r->f);
	loop_free(&r->loop);
}

static void
hear_fetch(struct rig *r)
{
	const void *m = NULL;
	unsigned type = 0;

	assert_true(channel_sync_recv(r->certs, &type, &m, NULL, 1000, NULL));
	assert_int_equal(type, IPC_certs_fetch);
	r->asked = ((const struct ipc_certs_fetch *)m)->id;
}

static void
say_chain(struct rig *r, uint64_t id)
{
	struct ipc_certs_chain chain = { .id = id, .path = SPAN("one.pem"), .pem = buf_span(&r->f.chain) };

	assert_true(channel_sync_send(r->certs, IPC_certs_chain, &chain, -1, 1000, NULL));
}

static void
say_all(struct rig *r, uint64_t id, uint32_t generation)
{
	struct ipc_certs_chains end = { .id = id, .generation = generation };

	assert_true(channel_sync_send(r->certs, IPC_certs_chains, &end, -1, 1000, NULL));
}

static void
turns(struct rig *r)
{
	for (int i = 0; i < 20; i++)
		assert_true(loop_turn(r->loop, 0));
}

static void
test_who_is_quick_is_waited_for(void **state)
{
	struct rig r;
	struct fail why;

	(void)state;
	make(&r);
	say_chain(&r, 2);
	say_all(&r, 2, 1);
	assert_non_null(signer_context(r.signer, &why));
	hear_fetch(&r);
	assert_int_equal(r.asked, 2);
	channel_free(&r.other);
	drop(&r);
}

static void
test_a_keyd_without_keys_is_not_ready(void **state)
{
	struct rig r;
	struct fail why = { .text = "" };

	(void)state;
	make(&r);
	say_all(&r, 2, 0);
	assert_null(signer_context(r.signer, &why));
	assert_string_equal(why.text, "keyd is not ready");
	channel_free(&r.other);
	drop(&r);
}

/* What comes beside everything else is taken, many chains too; what was waited for in vain no more. */
static void
test_who_was_slow_once_is_waited_for_no_more(void **state)
{
	struct rig r;
	struct fail why = { .text = "" };
	struct tls_server *before;

	(void)state;
	make(&r);
	assert_null(signer_context(r.signer, &why)); /* as long as it takes */
	hear_fetch(&r);
	assert_int_equal(r.asked, 2);
	signer_reload(r.signer);
	hear_fetch(&r); /* at once */
	assert_int_equal(r.asked, 3);
	say_chain(&r, 2);
	say_all(&r, 2, 9); /* too late */
	say_chain(&r, 3);
	turns(&r);
	signer_attach_sign(r.signer, r.other); /* which asks for tickets: another question meanwhile */
	assert_null(signer_context(r.signer, &why));
	for (int i = 0; i < 30; i++)
		say_chain(&r, 3);
	say_all(&r, 3, 1);
	turns(&r);
	before = signer_context(r.signer, &why);
	assert_non_null(before);

	signer_reload(r.signer); /* meanwhile the old ones serve */
	hear_fetch(&r);
	assert_int_equal(r.asked, 5);
	assert_ptr_equal(signer_context(r.signer, &why), before);
	channel_sync_free(&r.certs); /* and where nothing comes any more */
	turns(&r);
	assert_ptr_equal(signer_context(r.signer, &why), before);
	drop(&r);
}

static unsigned given_up;

static void
on_given_up(struct channel *c, struct channel_note *note)
{
	(void)c, (void)note;
	given_up++;
}

static void
on_freed(struct channel_note *note)
{
	(void)note;
}

static void
test_a_channel_that_there_is_no_descriptor_for_is_given_up(void **state)
{
	struct channel_note note = { on_given_up, on_freed };
	struct rlimit before, none;
	struct channel *certs;
	struct rig r;
	int fd;

	(void)state;
	make(&r);
	certs = front_end(&r, &ipc_channel_certs, NULL, &fd);
	channel_set_note(certs, &note);
	assert_int_equal(getrlimit(RLIMIT_NOFILE, &before), 0);
	none = (struct rlimit){ .rlim_cur = 0, .rlim_max = before.rlim_max };
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &none), 0);
	signer_attach_certs(r.signer, certs);
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &before), 0);
	assert_int_equal(given_up, 1);
	(void)close(fd);
	channel_free(&r.other);
	drop(&r);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_who_is_quick_is_waited_for),
		cmocka_unit_test(test_a_keyd_without_keys_is_not_ready),
		cmocka_unit_test(test_a_channel_that_there_is_no_descriptor_for_is_given_up),
		cmocka_unit_test(test_who_was_slow_once_is_waited_for_no_more),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
