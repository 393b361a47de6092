/* SPDX-License-Identifier: ISC */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "ipc/channel_sync.h"
#include "ipc/control.h"
#include "ipc/frame.h"
#include "ipc/messages.h"
#include "sys/passrights.h"

struct seen {
	unsigned asks, answers, opens, fds, closed;
	char last[B_ADDRESS + 1], why[256];
	enum fail_class class; /* of why */
	bool refuse;
};

static bool
on_rcpt_ask(struct channel *c, const struct ipc_rcpt_ask *m)
{
	struct seen *seen = channel_owner(c);

	seen->asks++;
	(void)span_cstr(m->address, seen->last, sizeof(seen->last));
	if (seen->refuse)
		return false;
	return ipc_send_rcpt_answer(c, &(struct ipc_rcpt_answer){ .id = m->id, .status = 7, .why = SPAN("because") });
}
#define DISPATCH_DEF "ipc/rcpt.def"
#define DISPATCH_SIDE SERVER
#include "ipc/dispatch.h"

static bool
on_session_owner(struct channel *c, const struct ipc_session_owner *m)
{
	(void)c, (void)m;
	return true;
}

static bool
on_session_enter(struct channel *c, const struct ipc_session_enter *m, int fd)
{
	struct seen *seen = channel_owner(c);

	(void)m;
	seen->fds += fcntl(fd, F_GETFD) >= 0;
	(void)close(fd);
	return true;
}

static bool
on_session_resume(struct channel *c, const struct ipc_session_resume *m, int fd)
{
	(void)c, (void)m, (void)close(fd);
	return true;
}

static bool
on_session_unwatch(struct channel *c, const struct ipc_session_unwatch *m, int fd)
{
	(void)c, (void)m, (void)close(fd);
	return true;
}

static bool
on_session_arrived(struct channel *c, const struct ipc_session_arrived *m, int fd)
{
	(void)c, (void)m, (void)close(fd);
	return true;
}

static bool
on_session_sharer(struct channel *c, const struct ipc_session_sharer *m)
{
	(void)c, (void)m;
	return true;
}

static bool
on_session_answered(struct channel *c, const struct ipc_session_answered *m)
{
	(void)c, (void)m;
	return true;
}

static bool
on_session_limits(struct channel *c, const struct ipc_session_limits *m)
{
	(void)c, (void)m;
	return true;
}

static bool
on_session_measure(struct channel *c, const struct ipc_session_measure *m)
{
	(void)m;
	((struct seen *)channel_owner(c))->opens++;
	return true;
}

static bool
on_session_quota_is(struct channel *c, const struct ipc_session_quota_is *m)
{
	(void)c, (void)m;
	return true;
}

static bool
on_session_shared(struct channel *c, const struct ipc_session_shared *m)
{
	(void)c, (void)m;
	return true;
}
#define DISPATCH_DEF "ipc/session.def"
#define DISPATCH_SIDE SERVER
#include "ipc/dispatch.h"

static void
on_closed(struct channel *c, const struct fail *why)
{
	struct seen *seen = channel_owner(c);

	seen->closed++;
	seen->class = why->class;
	memcpy(seen->why, why->text, sizeof(why->text));
}

static const struct channel_ops rcpt_ops = { dispatch_rcpt, on_closed, NULL };
static const struct channel_ops session_ops = { dispatch_session, on_closed, NULL };

struct pair {
	struct loop *loop;
	struct channel *server;
	struct channel_sync *client;
	int raw, served; /* the client's descriptor, the server's */
	struct seen seen;
};

static void
pair_make(struct pair *p, const struct ipc_channel *type, const struct channel_ops *ops)
{
	int fds[2];

	memset(p, 0, sizeof(*p));
	assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_NONBLOCK, 0, fds), 0);
	p->loop = loop_new();
	p->server = channel_new(p->loop, fds[0], type, CHANNEL_SERVER, ops, &p->seen);
	p->client = channel_sync_new(fds[1], type, CHANNEL_CLIENT, NULL);
	p->raw = fds[1];
	p->served = fds[0];
	assert_non_null(p->server);
	assert_non_null(p->client);
}

static void
pair_drop(struct pair *p)
{
	channel_free(&p->server);
	channel_sync_free(&p->client);
	loop_free(&p->loop);
}

static void
turns(struct pair *p)
{
	for (int i = 0; i < 4; i++)
		assert_true(loop_turn(p->loop, 0));
}

static void
test_question_and_answer(void **state)
{
	struct pair p;
	struct ipc_rcpt_ask ask = { .id = 42, .address = SPAN("bob@example.test") };
	const void *m;
	unsigned type;

	(void)state;
	pair_make(&p, &ipc_channel_rcpt, &rcpt_ops);
	assert_true(channel_sync_send(p.client, IPC_rcpt_ask, &ask, -1, 1000, NULL));
	turns(&p);
	assert_int_equal(p.seen.asks, 1);
	assert_string_equal(p.seen.last, "bob@example.test");
	assert_true(channel_sync_recv(p.client, &type, &m, NULL, 1000, NULL));
	assert_int_equal(type, IPC_rcpt_answer);
	assert_int_equal(((const struct ipc_rcpt_answer *)m)->id, 42);
	assert_int_equal(((const struct ipc_rcpt_answer *)m)->status, 7);
	assert_true(span_eq(((const struct ipc_rcpt_answer *)m)->why, SPAN("because")));
	pair_drop(&p);
}

static void
on_room(struct channel *c)
{
	((struct seen *)channel_owner(c))->opens++;
}

/* A listing of a million messages stood still for ever when the tool read faster than it was written. */
static void
test_who_waits_for_room_is_told_however_fast_the_peer_reads(void **state)
{
	static const struct channel_ops ops = { dispatch_rcpt, on_closed, on_room };
	static char text[100];
	struct ipc_rcpt_answer answer = { .id = 1, .why = span_of(text, sizeof(text)) };
	int room = 64 * 1024 * 1024;
	struct pair p;

	(void)state;
	memset(text, 'x', sizeof(text));
	pair_make(&p, &ipc_channel_rcpt, &ops);
	if (setsockopt(p.served, SOL_SOCKET, SO_SNDBUFFORCE, &room, sizeof(room)) == 0) {
		while (!channel_congested(p.server))
			assert_true(ipc_send_rcpt_answer(p.server, &answer));
		turns(&p);
		assert_false(channel_congested(p.server));
		assert_int_equal(p.seen.opens, 1);
	}
	pair_drop(&p);
}

/* Who is told that the kernel takes no more is told when nothing is left, not at the usual mark. */
static void
test_a_blocked_sender_hears_when_all_is_gone(void **state)
{
	static const struct channel_ops ops = { dispatch_rcpt, on_closed, on_room };
	static char text[100], got[IPC_PACKET_MAX];
	struct ipc_rcpt_answer answer = { .id = 1, .why = span_of(text, sizeof(text)) };
	struct pair p;

	(void)state;
	memset(text, 'x', sizeof(text));
	pair_make(&p, &ipc_channel_rcpt, &ops);
	assert_false(channel_blocked(p.server));
	for (int i = 0; i < 10000 && !channel_blocked(p.server); i++) {
		assert_true(ipc_send_rcpt_answer(p.server, &answer));
		turns(&p);
	}
	assert_true(channel_blocked(p.server));
	assert_false(channel_congested(p.server)); /* far from it */
	turns(&p);
	assert_int_equal(p.seen.opens, 0);
	while (recv(p.raw, got, sizeof(got), MSG_DONTWAIT) > 0)
		turns(&p);
	assert_int_equal(p.seen.opens, 1);
	assert_false(channel_blocked(p.server));
	pair_drop(&p);
}

/* A packet with nothing in it is read as the end. */
static void
test_what_cannot_be_said_leaves_no_packet_behind(void **state)
{
	static char text[B_REPLY + 1];
	struct ipc_rcpt_answer answer = { .why = span_of(text, sizeof(text)) };
	struct pair p;
	const void *m;
	unsigned type;

	(void)state;
	pair_make(&p, &ipc_channel_rcpt, &rcpt_ops);
	assert_true(channel_flush(p.server));
	assert_false(ipc_send_rcpt_answer(p.server, &answer));
	assert_true(channel_flush(p.server));
	answer.why = SPAN("because");
	assert_true(ipc_send_rcpt_answer(p.server, &answer));
	assert_true(channel_flush(p.server));
	assert_true(channel_sync_recv(p.client, &type, &m, NULL, 1000, NULL));
	assert_int_equal(type, IPC_rcpt_answer);
	pair_drop(&p);
}

static void
test_handler_refusal_closes_the_peer(void **state)
{
	struct pair p;
	struct ipc_rcpt_ask ask = { .id = 1, .address = SPAN("x") };

	(void)state;
	pair_make(&p, &ipc_channel_rcpt, &rcpt_ops);
	p.seen.refuse = true;
	assert_true(channel_sync_send(p.client, IPC_rcpt_ask, &ask, -1, 1000, NULL));
	turns(&p);
	assert_int_equal(p.seen.closed, 1);
	assert_int_equal(p.seen.class, FAIL_PEER);
	assert_false(channel_is_open(p.server));
	pair_drop(&p);
}

/* As every tool does that has its answer. */
static void
test_a_peer_that_ends_has_broken_nothing(void **state)
{
	struct pair p;

	(void)state;
	pair_make(&p, &ipc_channel_rcpt, &rcpt_ops);
	channel_sync_free(&p.client);
	turns(&p);
	assert_int_equal(p.seen.closed, 1);
	assert_int_equal(p.seen.class, FAIL_TEMP);
	pair_drop(&p);
}

static void
test_descriptor_arrives_and_surplus_is_a_violation(void **state)
{
	struct pair p;
	struct ipc_session_enter enter = { .service = SPAN("imap"), .pending = SPAN("a NOOP\r\n") };
	struct ipc_session_measure measure = { .id = 1 };
	struct buf packet;
	bool full;
	int fd = dup(0);

	(void)state;
	pair_make(&p, &ipc_channel_session, &session_ops);
	assert_true(channel_sync_send(p.client, IPC_session_enter, &enter, dup(0), 1000, NULL));
	turns(&p);
	assert_int_equal(p.seen.fds, 1);

	buf_init(&packet, IPC_PACKET_MAX); /* measure carries none, the frame says 1 */
	assert_true(frame_put(&packet, &ipc_channel_session, IPC_session_measure, &measure, 1, IPC_PACKET_MAX, &full));
	assert_true(frame_send(p.raw, buf_span(&packet), &fd, 1, 0) > 0);
	turns(&p);
	assert_int_equal(p.seen.opens, 0);
	assert_int_equal(p.seen.closed, 1);
	(void)close(fd);
	buf_free(&packet);
	pair_drop(&p);
}

static void
test_other_build_does_not_join(void **state)
{
	struct pair p;
	static const char hello[16] = { '\xff', '\xff', 0, 0, 8, 0, 0, 0, 1, 2, 3, 4, 5, 6, 7, 8 };

	(void)state;
	pair_make(&p, &ipc_channel_rcpt, &rcpt_ops);
	assert_true(frame_send(p.raw, span_of(hello, sizeof(hello)), NULL, 0, 0) > 0);
	turns(&p);
	assert_int_equal(p.seen.closed, 1);
	assert_string_equal(p.seen.why, "the peer is from another build: the suite has to be stopped and started");
	pair_drop(&p);
}

/* Every truncation of a valid packet, and every byte of it changed, is either
 * taken or a violation: never more. */
static void
test_mangled_packets_only_close(void **state)
{
	struct ipc_rcpt_ask ask = { .id = 9, .address = SPAN("a@b"), .sender = SPAN("c@d"), .may_relay = true };
	struct buf packet;
	bool full;

	(void)state;
	buf_init(&packet, IPC_PACKET_MAX);
	frame_put_hello(&packet);
	assert_true(frame_put(&packet, &ipc_channel_rcpt, IPC_rcpt_ask, &ask, 0, IPC_PACKET_MAX, &full));
	for (size_t i = 0; i < buf_len(&packet) * 2; i++) {
		struct pair p;
		size_t n = i < buf_len(&packet) ? i : buf_len(&packet);

		pair_make(&p, &ipc_channel_rcpt, &rcpt_ops);
		if (i >= buf_len(&packet))
			packet.mem[i - n] = (char)~packet.mem[i - n];
		if (n > 0)
			assert_true(frame_send(p.raw, span_of(packet.mem, n), NULL, 0, 0) > 0);
		if (i >= buf_len(&packet))
			packet.mem[i - n] = (char)~packet.mem[i - n];
		turns(&p);
		assert_true(p.seen.asks <= 1 && p.seen.closed <= 1);
		assert_true(n == 0 || p.seen.asks + p.seen.closed >= 1 || n == 16);
		pair_drop(&p);
	}
	buf_free(&packet);
}

/* Where anybody may connect nobody hands over a descriptor, which we would have to close. */
static void
test_a_control_socket_takes_no_descriptors(void **state)
{
	struct sockaddr_un at = { .sun_family = AF_UNIX };
	int door, fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0), passes;
	socklen_t n = sizeof(passes);
	struct fail why;

	(void)state;
	if (getsockopt(fd, SOL_SOCKET, SO_PASSRIGHTS, &passes, &n) < 0)
		skip(); /* before Linux 6.16 */
	(void)snprintf(at.sun_path, sizeof(at.sun_path), "/tmp/test_channel.%d", (int)getpid());
	door = control_listen(at.sun_path, 0600, &why);
	assert_true(door >= 0);
	assert_int_equal(connect(fd, (struct sockaddr *)&at, sizeof(at)), 0);
	assert_int_equal(frame_send(fd, SPAN("x"), &door, 1, 0), -1);
	assert_int_equal(errno, EPERM);
	assert_int_equal(frame_send(fd, SPAN("x"), NULL, 0, 0), 1);
	(void)close(fd);
	(void)close(door);
	(void)unlink(at.sun_path);
}

static void
test_conversation_states(void **state)
{
	struct pair p;
	uint8_t conv = CONV_NONE;

	(void)state;
	pair_make(&p, &ipc_channel_rcpt, &rcpt_ops);
	assert_false(channel_step(p.server, IPC_rcpt_answer, &conv));
	assert_true(channel_step(p.server, IPC_rcpt_ask, &conv));
	assert_false(channel_step(p.server, IPC_rcpt_ask, &conv));
	assert_true(channel_step(p.server, IPC_rcpt_answer, &conv));
	assert_int_equal(conv, CONV_NONE);
	pair_drop(&p);
}

/* desc: every row of every channel makes the round trip, at its bounds too, and no truncation of it is taken. */
static void
fill(const struct desc *d, void *m, struct span text, uint64_t number)
{
	memset(m, 0, d->size);
	for (size_t i = 0; i < d->nfields; i++) {
		const struct desc_field *f = &d->fields[i];
		char *at = (char *)m + f->offset;
		struct span s = span_sub(text, 0, f->bound < text.n ? f->bound : text.n);

		switch (f->kind) {
		case DESC_TEXT:
		case DESC_BYTES:
		case DESC_SECRET:
			memcpy(at, &s, sizeof(s));
			break;
		case DESC_BOOL:
			*(bool *)at = number & 1;
			break;
		case DESC_U8:
			*(uint8_t *)at = (uint8_t)(f->bound && number > f->bound ? f->bound : number);
			break;
		case DESC_U16:
			memcpy(at, &(uint16_t){ (uint16_t)(f->bound && number > f->bound ? f->bound : number) }, 2);
			break;
		case DESC_U32:
			memcpy(at, &(uint32_t){ (uint32_t)(f->bound && number > f->bound ? f->bound : number) }, 4);
			break;
		default:
			memcpy(at, &number, 8);
			break;
		}
	}
}

static void
test_every_row_round_trips(void **state)
{
	static char big[IPC_DATA_MAX + 1];
	struct buf out, again;

	(void)state;
	memset(big, 'x', sizeof(big));
	buf_init(&out, IPC_PACKET_MAX * 4);
	buf_init(&again, IPC_PACKET_MAX * 4);
	for (const struct ipc_channel *const *ch = ipc_channels; *ch; ch++)
		for (size_t i = 0; i < (*ch)->nmessages; i++) {
			const struct desc *d = &(*ch)->messages[i].desc;
			union frame_message m, back;

			for (int round = 0; round < 3; round++) {
				buf_reset(&out);
				buf_reset(&again);
				fill(d, &m, span_of(big, round == 0 ? 0 : round == 1 ? 5 : sizeof(big)), round == 0 ? 0 : UINT64_MAX);
				assert_true(desc_encode(d, &m, &out));
				assert_true(desc_decode(d, buf_span(&out), &back, NULL));
				assert_true(desc_encode(d, &back, &again));
				assert_true(span_eq(buf_span(&out), buf_span(&again)));
				if (round == 1)
					for (size_t n = 0; n < buf_len(&out); n++)
						assert_false(desc_decode(d, span_sub(buf_span(&out), 0, n), &back, NULL));
			}
			for (size_t k = 0; k < d->nfields; k++) { /* one over the bound */
				const struct desc_field *f = &d->fields[k];
				struct span over = span_of(big, f->bound + 1);

				if (f->kind < DESC_TEXT || f->bound >= sizeof(big))
					continue;
				fill(d, &m, SPAN_NONE, 0);
				memcpy((char *)&m + f->offset, &over, sizeof(over));
				buf_reset(&out);
				assert_false(desc_encode(d, &m, &out));
			}
		}
	buf_free(&out);
	buf_free(&again);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_question_and_answer),
		cmocka_unit_test(test_what_cannot_be_said_leaves_no_packet_behind),
		cmocka_unit_test(test_handler_refusal_closes_the_peer),
		cmocka_unit_test(test_a_peer_that_ends_has_broken_nothing),
		cmocka_unit_test(test_descriptor_arrives_and_surplus_is_a_violation),
		cmocka_unit_test(test_other_build_does_not_join),
		cmocka_unit_test(test_mangled_packets_only_close),
		cmocka_unit_test(test_a_control_socket_takes_no_descriptors),
		cmocka_unit_test(test_conversation_states),
		cmocka_unit_test(test_who_waits_for_room_is_told_however_fast_the_peer_reads),
		cmocka_unit_test(test_a_blocked_sender_hears_when_all_is_gone),
		cmocka_unit_test(test_every_row_round_trips),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
