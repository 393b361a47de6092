/* SPDX-License-Identifier: ISC
 *
 * locald and deliverd in one process: the test is queued and userd.
 */
#include <dirent.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "daemons/deliverd/deliverd.h"
#include "daemons/locald/locald.h"

enum { RESULTS = 64 };

struct result {
	unsigned index, outcome;
	char code[16], reply[300];
	bool maybe_done;
};

struct fixture {
	char dir[64];
	struct loop *loop;
	struct conf conf;
	struct service locald, deliverd;
	struct channel *queue; /* our end */
	struct channel *userd; /* our end */
	struct channel *ruler, *ruled; /* deliverd's ctl: our end, and its own */
	uint64_t idle;         /* that deliverd has said: peers that have come and gone */
	struct result results[RESULTS];
	unsigned nresults, done, health, questions;
	bool refuse, hold; /* how the test's userd answers */
	int held;          /* the deliverd end that nobody serves */
};

/* A daemon's state ends with its process: here, too. */
static struct fixture *kept[16];

/* ---- the test as queued ---- */

static bool
on_deliver_capacity(struct channel *c, const struct ipc_deliver_capacity *m)
{
	(void)c;
	assert_true(m->jobs > 0);
	return true;
}

static bool
on_deliver_result(struct channel *c, const struct ipc_deliver_result *m)
{
	struct fixture *f = channel_owner(c);
	struct result *r = &f->results[f->nresults++];

	assert_true(f->nresults <= RESULTS);
	*r = (struct result){ .index = m->index, .outcome = m->outcome, .maybe_done = m->maybe_done };
	(void)span_cstr(m->code, r->code, sizeof(r->code));
	(void)snprintf(r->reply, sizeof(r->reply), "%.*s", SPAN_ARG(m->reply));
	return true;
}

static bool
on_deliver_done(struct channel *c, const struct ipc_deliver_done *m)
{
	struct fixture *f = channel_owner(c);

	f->done++;
	f->health = m->health;
	return true;
}

#define DISPATCH_DEF "ipc/deliver.def"
#define DISPATCH_SIDE CLIENT
#include "ipc/dispatch.h"

/* ---- the test as userd ---- */

static const struct service_channel *
channel_of(const struct service_ops *ops, const struct ipc_channel *type)
{
	for (size_t i = 0; i < ops->nchannels; i++)
		if (ops->channels[i].type == type)
			return &ops->channels[i];
	fail_msg("no channel %s", type->name);
	return NULL;
}

/* Gives one end of a new pair to the service, returns the other. */
static int
wire(struct service *s, const struct service_ops *ops, const struct ipc_channel *type)
{
	const struct service_channel *sc = channel_of(ops, type);
	struct channel *c;
	int pair[2];

	assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, pair), 0);
	c = channel_new(s->loop, pair[0], sc->type, sc->side, sc->ops, s);
	assert_non_null(c);
	sc->on_open(s, c, SPAN("test"), 0);
	return pair[1];
}

static bool
on_owner_ask(struct channel *c, const struct ipc_owner_ask *m)
{
	struct fixture *f = channel_owner(c);
	int pair[2];

	f->questions++;
	if (f->refuse)
		return ipc_send_owner_refused(c, &(struct ipc_owner_refused){ .id = m->id, .why = SPAN("no such owner") });
	if (!f->hold)
		return ipc_send_owner_child(c, &(struct ipc_owner_child){ .id = m->id }, wire(&f->deliverd, &deliverd_ops, &ipc_channel_mailbox));
	assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, pair), 0);
	f->held = pair[0];
	return ipc_send_owner_child(c, &(struct ipc_owner_child){ .id = m->id }, pair[1]);
}

#define DISPATCH_DEF "ipc/owner.def"
#define DISPATCH_SIDE SERVER
#include "ipc/dispatch.h"

static void
on_closed(struct channel *c, const struct fail *why)
{
	(void)c;
	fail_msg("channel closed: %s", why->text);
}

static bool
told_ruler(struct channel *c, unsigned type, const void *m, int fd)
{
	assert_int_equal(type, IPC_ctl_idle);
	assert_int_equal(fd, -1);
	((struct fixture *)channel_owner(c))->idle = ((const struct ipc_ctl_idle *)m)->given;
	return true;
}

static const struct channel_ops ruler_ops = { told_ruler, on_closed, NULL };
static const struct channel_ops queue_ops = { dispatch_deliver, on_closed, NULL };
static const struct channel_ops userd_ops = { dispatch_owner, on_closed, NULL };

/* ---- set up ---- */

static int
setup(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));
	struct fail why = { .text = "" };
	int pair[2];

	(void)snprintf(f->dir, sizeof(f->dir), "/tmp/test_locald.XXXXXX");
	assert_non_null(mkdtemp(f->dir));
	f->held = -1;
	f->loop = loop_new();
	f->conf.virtual_mailbox_base = span_str(f->dir);
	f->conf.myhostname = SPAN("mail.test");
	f->locald = f->deliverd = (struct service){ .loop = f->loop, .conf = &f->conf };
	assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, pair), 0);
	f->ruler = channel_new(f->loop, pair[0], &ipc_channel_ctl, CHANNEL_CLIENT, &ruler_ops, f);
	f->deliverd.ruler = f->ruled = channel_new(f->loop, pair[1], &ipc_channel_ctl, CHANNEL_SERVER, &ruler_ops, f);
	assert_true(locald_ops.on_boot(&f->locald, &why));
	assert_true(deliverd_ops.on_boot(&f->deliverd, &why));
	assert_true(deliverd_ops.on_start(&f->deliverd, &why));
	f->queue = channel_new(f->loop, wire(&f->locald, &locald_ops, &ipc_channel_deliver), &ipc_channel_deliver, CHANNEL_CLIENT, &queue_ops, f);
	f->userd = channel_new(f->loop, wire(&f->locald, &locald_ops, &ipc_channel_owner), &ipc_channel_owner, CHANNEL_SERVER, &userd_ops, f);
	*state = f;
	return 0;
}

static int
teardown(void **state)
{
	struct fixture *f = *state;
	char command[128];

	channel_free(&f->queue);
	channel_free(&f->userd);
	channel_free(&f->ruler);
	channel_free(&f->ruled);
	if (f->held >= 0)
		(void)close(f->held);
	(void)snprintf(command, sizeof(command), "rm -rf %s", f->dir);
	assert_int_equal(system(command), 0);
	for (size_t i = 0; i < sizeof(kept) / sizeof(*kept); i++)
		if (!kept[i]) {
			kept[i] = f;
			return 0;
		}
	return -1;
}

static void
turn_until(struct fixture *f, unsigned done)
{
	for (int i = 0; i < 300 && f->done < done; i++)
		(void)loop_turn(f->loop, 10);
	assert_int_equal(f->done, done);
}

static void
send_job(struct fixture *f, uint64_t id, const char *const *addresses, const char *text)
{
	struct ipc_deliver_job job = { .id = id, .sender = SPAN("alice@example.test"), .size = strlen(text) };
	char home[100];

	assert_true(ipc_send_deliver_job(f->queue, &job));
	for (uint32_t i = 0; addresses[i]; i++) {
		struct ipc_deliver_rcpt rcpt = { .id = id, .index = i, .address = span_str(addresses[i]) };
		struct span name = span_str(addresses[i]);

		(void)snprintf(home, sizeof(home), "example.test/%.*s", (int)span_chr(name, '@'), addresses[i]);
		rcpt.home = span_str(home);
		assert_true(ipc_send_deliver_rcpt(f->queue, &rcpt));
	}
	assert_true(ipc_send_deliver_content(f->queue, &(struct ipc_deliver_content){ .id = id, .bytes = span_str(text) }));
}

/* The only message in new/ of a home. */
static void
read_new(struct fixture *f, const char *home, char *out, size_t size)
{
	char path[700], file[400] = "";
	struct dirent *e;
	FILE *in;
	DIR *d;

	(void)snprintf(path, sizeof(path), "%s/%s/new", f->dir, home);
	d = opendir(path);
	assert_non_null(d);
	while ((e = readdir(d)))
		if (e->d_name[0] != '.') {
			assert_string_equal(file, "");
			(void)snprintf(file, sizeof(file), "%s", e->d_name);
		}
	(void)closedir(d);
	assert_string_not_equal(file, "");
	(void)snprintf(path, sizeof(path), "%s/%s/new/%s", f->dir, home, file);
	in = fopen(path, "r");
	assert_non_null(in);
	out[fread(out, 1, size - 1, in)] = '\0';
	(void)fclose(in);
}

/* ---- tests ---- */

static const char *const bob[] = { "bob@example.test", NULL };
static const char *const two[] = { "bob@example.test", "carol@example.test", NULL };

static void
test_delivers_with_trace_lines(void **state)
{
	struct fixture *f = *state;
	char text[1000];

	send_job(f, 7, two, "Subject: hi\r\n\r\nhello\r\n");
	turn_until(f, 1);
	assert_int_equal(f->nresults, 2);
	assert_int_equal(f->results[0].outcome, DELIVER_DELIVERED);
	assert_string_equal(f->results[0].code, "2.0.0");
	assert_int_equal(f->health, DELIVER_ANSWERED);
	assert_int_equal(f->questions, 1);
	read_new(f, "example.test/bob", text, sizeof(text));
	assert_string_equal(text, "Return-Path: <alice@example.test>\r\nDelivered-To: bob@example.test\r\nSubject: hi\r\n\r\nhello\r\n");
	read_new(f, "example.test/carol", text, sizeof(text));
	assert_non_null(strstr(text, "Delivered-To: carol@example.test\r\n"));
	send_job(f, 8, bob, "Subject: hi\r\n\r\nhello\r\n"); /* the channel is kept */
	turn_until(f, 2);
	assert_int_equal(f->questions, 1);
}

static void
test_cuts_loops(void **state)
{
	struct fixture *f = *state;

	send_job(f, 7, two, "Delivered-To:  Bob@example.TEST\r\nSubject: hi\r\n\r\nDelivered-To: carol@example.test\r\n");
	turn_until(f, 1);
	assert_int_equal(f->nresults, 2);
	assert_int_equal(f->results[0].index, 0);
	assert_int_equal(f->results[0].outcome, DELIVER_FAILED);
	assert_string_equal(f->results[0].code, "5.4.6");
	assert_int_equal(f->results[1].outcome, DELIVER_DELIVERED);
}

static void
test_takes_content_by_descriptor(void **state)
{
	struct fixture *f = *state;
	struct ipc_deliver_job job = { .id = 9, .sender = SPAN(""), .size = 200000 };
	struct ipc_deliver_rcpt rcpt = { .id = 9, .address = SPAN("bob@example.test"), .home = SPAN("example.test/bob") };
	int fd = memfd_create("content", MFD_CLOEXEC);
	char *text = malloc(300000), *back = malloc(300000);

	memset(text, 'x', 200100);
	memcpy(text + 100, "A: b\r\n\r\n", 8);
	assert_int_equal(pwrite(fd, text, 200100, 0), 200100);
	assert_true(ipc_send_deliver_job(f->queue, &job));
	assert_true(ipc_send_deliver_rcpt(f->queue, &rcpt));
	assert_true(ipc_send_deliver_content_fd(f->queue, &(struct ipc_deliver_content_fd){ .id = 9, .offset = 100, .size = 200000 }, fd));
	turn_until(f, 1);
	assert_int_equal(f->results[0].outcome, DELIVER_DELIVERED);
	read_new(f, "example.test/bob", back, 300000);
	assert_memory_equal(back, "Return-Path: <>\r\nDelivered-To: bob@example.test\r\nA: b\r\n\r\nxxx", 60);
	assert_int_equal(strlen(back), 49 + 200000);
	free(text);
	free(back);
}

static void
test_refused_owner_defers(void **state)
{
	struct fixture *f = *state;

	f->refuse = true;
	send_job(f, 7, bob, "\r\nhello\r\n");
	turn_until(f, 1);
	assert_int_equal(f->results[0].outcome, DELIVER_DEFERRED);
	assert_string_equal(f->results[0].code, "4.3.0");
	assert_int_equal(f->health, DELIVER_UNTRIED);
	f->refuse = false;
	send_job(f, 8, bob, "\r\nhello\r\n");
	turn_until(f, 2);
	assert_int_equal(f->results[1].outcome, DELIVER_DELIVERED);
}

static void
test_dead_deliverd_defers_what_it_had(void **state)
{
	struct fixture *f = *state;

	f->hold = true;
	send_job(f, 7, bob, "\r\nhello\r\n");
	for (int i = 0; i < 20; i++)
		(void)loop_turn(f->loop, 5);
	assert_int_equal(f->nresults, 0);
	f->hold = false;
	(void)close(f->held);
	f->held = -1;
	turn_until(f, 1);
	assert_int_equal(f->results[0].outcome, DELIVER_DEFERRED);
	assert_true(f->results[0].maybe_done);
	send_job(f, 8, bob, "\r\nhello\r\n");
	turn_until(f, 2);
	assert_int_equal(f->results[1].outcome, DELIVER_DELIVERED);
}

static void
test_refuses_paths_outside(void **state)
{
	struct fixture *f = *state;
	static const char *const homes[] = { "../x", "a//b", "/etc", "a/../b", ".", "a/./b" };

	for (size_t i = 0; i < sizeof(homes) / sizeof(*homes); i++) {
		struct ipc_deliver_rcpt rcpt = { .id = i, .address = SPAN("bob@example.test"), .home = span_str(homes[i]) };

		assert_true(ipc_send_deliver_job(f->queue, &(struct ipc_deliver_job){ .id = i }));
		assert_true(ipc_send_deliver_rcpt(f->queue, &rcpt));
		assert_true(ipc_send_deliver_content(f->queue, &(struct ipc_deliver_content){ .id = i, .bytes = SPAN("\r\n") }));
		turn_until(f, (unsigned)i + 1);
		assert_int_equal(f->results[i].outcome, DELIVER_FAILED);
	}
}

/* Each to a user with a uid of his own, the home's name. */
static void
send_to_uids(struct fixture *f, uint64_t id, uint32_t lo, uint32_t hi)
{
	struct ipc_deliver_job job = { .id = id, .sender = SPAN(""), .size = 2 };
	char home[40];

	assert_true(ipc_send_deliver_job(f->queue, &job));
	for (uint32_t uid = lo; uid <= hi; uid++) {
		struct ipc_deliver_rcpt rcpt = { .id = id, .index = uid - lo, .address = SPAN("bob@example.test"), .uid = uid, .gid = uid };

		(void)snprintf(home, sizeof(home), "example.test/u%u", uid);
		rcpt.home = span_str(home);
		assert_true(ipc_send_deliver_rcpt(f->queue, &rcpt));
	}
	assert_true(ipc_send_deliver_content(f->queue, &(struct ipc_deliver_content){ .id = id, .bytes = SPAN("\r\n") }));
}

static void
turn_for(struct fixture *f, int64_t ms)
{
	for (int64_t end = loop_now_ms(f->loop) + ms; loop_now_ms(f->loop) < end;)
		(void)loop_turn(f->loop, 5);
}

static void
test_no_more_deliverds_at_once_than_may_be(void **state)
{
	struct fixture *f = *state;
	struct locald *l = f->locald.state;

	l->most_open = 2;
	send_to_uids(f, 1, 1001, 1010);
	for (int i = 0; i < 1000 && f->done < 1; i++) {
		(void)loop_turn(f->loop, 10);
		assert_true(l->nopen <= 2);
	}
	assert_int_equal(f->nresults, 10);
	for (unsigned i = 0; i < f->nresults; i++)
		assert_int_equal(f->results[i].outcome, DELIVER_DELIVERED);
	assert_int_equal(f->questions, 10);
	assert_int_equal(l->owners.count, 2); /* who has nothing to do is forgotten */
	f->nresults = 0;
	send_to_uids(f, 2, 1010, 1010); /* the last is there */
	turn_until(f, 2);
	assert_int_equal(f->questions, 10);
}

static void
test_an_idle_deliverd_is_let_go(void **state)
{
	struct fixture *f = *state;
	struct locald *l = f->locald.state;

	l->rest_ms = 1000;
	send_to_uids(f, 1, 1001, 1003);
	turn_until(f, 1);
	turn_for(f, 700);
	send_to_uids(f, 2, 1002, 1002);
	turn_until(f, 2);
	for (int i = 0; i < 1000 && l->owners.count > 1; i++)
		(void)loop_turn(f->loop, 10);
	assert_non_null(map_get_u64(&l->owners, (uint64_t)1002 << 32 | 1002)); /* who had something to do meanwhile */
	assert_int_equal(f->idle, 0); /* of this deliverd, which has three peers here */
	for (int i = 0; i < 1000 && !f->idle; i++)
		(void)loop_turn(f->loop, 10);
	assert_int_equal(l->owners.count, 0);
	assert_int_equal(l->nopen, 0);
	assert_int_equal(f->idle, 3);
	assert_false(timer_running(&l->rest));
	send_to_uids(f, 3, 1002, 1002);
	turn_until(f, 3);
	assert_int_equal(f->questions, 4);
}

static void
test_makes_a_removed_mailbox_anew(void **state)
{
	struct fixture *f = *state;
	char command[200], text[1000];

	send_job(f, 1, bob, "\r\none\r\n");
	turn_until(f, 1);
	(void)snprintf(command, sizeof(command), "rm -rf %s/example.test/bob", f->dir);
	assert_int_equal(system(command), 0);
	send_job(f, 2, bob, "\r\ntwo\r\n");
	turn_until(f, 2);
	assert_int_equal(f->results[1].outcome, DELIVER_DELIVERED);
	read_new(f, "example.test/bob", text, sizeof(text));
	assert_non_null(strstr(text, "two"));
}

static int
descriptors(void)
{
	int n = 0;

	for (int fd = 0; fd < 1024; fd++)
		n += fcntl(fd, F_GETFD) >= 0;
	return n;
}

/* Uses the homes u0 to u(n-1), one after the other. */
static void
visit(struct homes *h, int n, bool limited)
{
	const struct quota limit = { .size = 1 << 20 };

	for (int i = 0; i < n; i++) {
		char name[32];
		struct fail why;
		struct home *at;

		(void)snprintf(name, sizeof(name), "example.test/u%d", i);
		if (!(at = homes_use(h, span_str(name), SPAN_NONE, &why)))
			fail_msg("%s: %s", name, why.text);
		if (limited)
			assert_true(quota_load(&at->quota, &limit) || quota_count(&at->quota, &limit, &why));
		homes_unuse(h, at);
	}
}

static void
test_idle_homes_leave_descriptors_to_others(void **state)
{
	struct fixture *f = *state;
	struct rlimit before, few;
	struct homes h;
	struct fail why;
	int used;

	homes_init(&h);
	assert_true(homes_open(&h, span_str(f->dir), &why));
	used = descriptors();
	visit(&h, 20, true);
	visit(&h, 20, true);
	assert_int_equal(h.nidle, 20);
	assert_int_equal(descriptors() - used, 20);
	assert_int_equal(getrlimit(RLIMIT_NOFILE, &before), 0);
	few = (struct rlimit){ (rlim_t)used + 50, before.rlim_max };
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &few), 0);
	visit(&h, 100, false);
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &before), 0);
	homes_close(&h);
}

int
main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
	const struct CMUnitTest tests[] = {
		T(test_delivers_with_trace_lines),
		T(test_cuts_loops),
		T(test_takes_content_by_descriptor),
		T(test_refused_owner_defers),
		T(test_dead_deliverd_defers_what_it_had),
		T(test_refuses_paths_outside),
		T(test_no_more_deliverds_at_once_than_may_be),
		T(test_an_idle_deliverd_is_let_go),
		T(test_makes_a_removed_mailbox_anew),
		T(test_idle_homes_leave_descriptors_to_others),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
