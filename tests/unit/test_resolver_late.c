/* SPDX-License-Identifier: ISC
 *
 * The resolver where one of two answers never comes, and where name servers pass no signatures for a while;
 * libunbound is played here, which validates what it says.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <fcntl.h>
#include <unbound.h>
#include <unistd.h>

#include "daemons/dnsd/resolver.h"

enum { TYPE_A = 1, TYPE_DNSKEY = 48 };

struct ub_ctx {
	int pipe[2];
	bool validates;
	ub_callback_type callback; /* of the question for A or DNSKEY; one for AAAA has no answer */
	void *arg;
};

static struct ub_ctx played[2];
static unsigned made, probes;
static bool stripped; /* the name servers pass no signatures */

struct ub_ctx *
ub_ctx_create(void)
{
	struct ub_ctx *c = &played[made++ % 2];

	c->validates = false;
	return pipe2(c->pipe, O_CLOEXEC | O_NONBLOCK) < 0 ? NULL : c;
}

void
ub_ctx_delete(struct ub_ctx *c)
{
	(void)close(c->pipe[0]);
	(void)close(c->pipe[1]);
}

int
ub_ctx_debuglevel(struct ub_ctx *c, int d)
{
	(void)c;
	(void)d;
	return 0;
}

int
ub_ctx_set_option(struct ub_ctx *c, const char *name, const char *value)
{
	(void)c;
	(void)name;
	(void)value;
	return 0;
}

int
ub_ctx_set_fwd(struct ub_ctx *c, const char *addr)
{
	(void)c;
	(void)addr;
	return 0;
}

int
ub_ctx_add_ta_file(struct ub_ctx *c, const char *name)
{
	(void)name;
	c->validates = true;
	return 0;
}

int
ub_ctx_async(struct ub_ctx *c, int dothread)
{
	(void)c;
	(void)dothread;
	return 0;
}

int
ub_ctx_zone_remove(struct ub_ctx *c, const char *name)
{
	(void)c;
	(void)name;
	return 0;
}

int
ub_fd(struct ub_ctx *c)
{
	return c->pipe[0];
}

const char *
ub_strerror(int err)
{
	(void)err;
	return "an error";
}

void
ub_resolve_free(struct ub_result *r)
{
	(void)r;
}

int
ub_resolve_async(struct ub_ctx *c, const char *name, int rrtype, int rrclass, void *arg, ub_callback_type callback, int *id)
{
	(void)name;
	(void)rrclass;
	(void)id;
	if (rrtype != TYPE_A && rrtype != TYPE_DNSKEY)
		return 0;
	probes += rrtype == TYPE_DNSKEY;
	c->callback = callback;
	c->arg = arg;
	return write(c->pipe[1], "", 1) == 1 ? 0 : -1;
}

int
ub_process(struct ub_ctx *c)
{
	static char address[] = { 127, 0, 0, 1 };
	static char *data[] = { address, NULL };
	static int len[] = { sizeof address, 0 };
	static struct ub_result r;
	char byte;

	if (read(c->pipe[0], &byte, 1) != 1)
		return 0;
	r = (struct ub_result){ .data = data, .len = len, .havedata = 1, .secure = c->validates && !stripped, .bogus = c->validates && stripped, .ttl = 300 };
	c->callback(c->arg, 0, &r);
	return 0;
}

struct ask {
	struct resolver_waiter waiter;
	bool done, secure;
	enum dns_result result;
	size_t n;
	uint32_t ttl;
};

static void
on_answer(struct resolver_waiter *w, const struct answer *a)
{
	struct ask *q = OWNER_OF(w, struct ask, waiter);

	*q = (struct ask){ .done = true, .secure = a->secure, .result = a->result, .n = a->nrecords, .ttl = a->ttl };
}

/* RFC 7672 2.1: that an answer is secure is what DANE stands on; who keeps packets away must not make it another. */
static void
test_half_an_answer_is_as_secure_as_it_is(void **state)
{
	struct resolver_settings settings = { .cache_size = 1 << 20, .timeout_ms = 300, .v4 = true, .v6 = true, .trust_anchor = "played" };
	struct ask q = { .waiter = { .on_answer = on_answer } };
	struct loop *loop = loop_new();
	struct resolver *r;
	struct fail why;

	(void)state;
	r = resolver_new(loop, &settings, &why);
	assert_non_null(r);
	(void)resolver_start(r, &why);
	resolver_ask(r, DNS_ADDR, SPAN("mx.signed.test"), &q.waiter);
	for (int i = 0; i < 400 && !q.done; i++)
		(void)loop_turn(loop, 50);
	assert_true(q.done);
	assert_int_equal(q.result, DNS_OK);
	assert_int_equal(q.n, 1);
	assert_true(q.secure);
	assert_int_equal(q.ttl, 0); /* the other half may come the next time */
	resolver_free(&r);
	loop_free(&loop);
}

static struct ask
answer_of(struct loop *loop, struct resolver *r)
{
	struct ask q = { .waiter = { .on_answer = on_answer } };

	resolver_ask(r, DNS_ADDR, SPAN("mx.signed.test"), &q.waiter);
	while (!q.done)
		(void)loop_turn(loop, 50);
	return q;
}

/* They may not be ready when we start, or make way for others. */
static void
test_answers_are_validated_again_when_signatures_are_passed(void **state)
{
	const struct span server = SPAN("192.0.2.53");
	struct resolver_settings settings = { .servers = &server, .nservers = 1, .cache_size = 1 << 20, .timeout_ms = 3000, .v4 = true, .trust_anchor = "played", .probe_ms = 1 };
	struct loop *loop = loop_new();
	struct resolver *r;
	struct fail why;
	struct ask q;

	(void)state;
	probes = 0;
	stripped = true;
	r = resolver_new(loop, &settings, &why);
	assert_non_null(r);
	assert_true(resolver_start(r, &why));
	for (int i = 0; i < 400 && (resolver_validates(r) || probes < 3); i++)
		(void)loop_turn(loop, 50);
	assert_true(probes >= 3 && !resolver_validates(r));
	q = answer_of(loop, r);
	assert_int_equal(q.result, DNS_OK);
	assert_false(q.secure);
	stripped = false;
	for (int i = 0; i < 400 && !resolver_validates(r); i++)
		(void)loop_turn(loop, 50);
	assert_true(resolver_validates(r));
	q = answer_of(loop, r);
	assert_int_equal(q.result, DNS_OK);
	assert_true(q.secure);
	resolver_free(&r);
	loop_free(&loop);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_half_an_answer_is_as_secure_as_it_is),
		cmocka_unit_test(test_answers_are_validated_again_when_signatures_are_passed),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
