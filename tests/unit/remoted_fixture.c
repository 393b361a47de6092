/* SPDX-License-Identifier: ISC */
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "tests/unit/remoted_fixture.h"

struct outcome got[64]; /* by job id */
struct service service;
struct channel *queued, *dnsd, *routed;
struct ipc_callout_answer told; /* the last one; its texts: */
char told_text[3][400];
unsigned ntold;
struct arena conf_arena;
unsigned asked; /* of dnsd */
bool dns_mute;

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
	struct outcome *o = &got[m->id];

	(void)c;
	assert_int_equal(m->index, o->results);
	o->outcome[o->results & 7] = m->outcome;
	(void)span_cstr(m->code, o->code[o->results & 7], sizeof(o->code[0]));
	(void)span_cstr(m->reply, o->reply, sizeof(o->reply));
	(void)span_cstr(m->peer, o->peer, sizeof(o->peer));
	(void)span_cstr(m->tls, o->tls, sizeof(o->tls));
	o->maybe_done = m->maybe_done;
	o->results++;
	return true;
}

static bool
on_deliver_done(struct channel *c, const struct ipc_deliver_done *m)
{
	(void)c;
	got[m->id].done++;
	got[m->id].health = m->health;
	got[m->id].reused = m->reused;
	(void)span_cstr(m->text, got[m->id].text, sizeof(got[m->id].text));
	return true;
}

#define DISPATCH_DEF "ipc/deliver.def"
#define DISPATCH_SIDE CLIENT
#include "ipc/dispatch.h"

static bool
on_callout_answer(struct channel *c, const struct ipc_callout_answer *m)
{
	(void)c;
	told = *m;
	(void)span_cstr(m->code, told_text[0], sizeof(told_text[0]));
	(void)span_cstr(m->peer, told_text[1], sizeof(told_text[1]));
	(void)span_cstr(m->reply, told_text[2], sizeof(told_text[2]));
	ntold++;
	return true;
}

#define DISPATCH_DEF "ipc/callout.def"
#define DISPATCH_SIDE CLIENT
#include "ipc/dispatch.h"

static bool
on_dns_ask(struct channel *c, const struct ipc_dns_ask *m)
{
	asked++;
	if (dns_mute)
		return true;
	if (m->type == 0 && span_eq(m->name, SPAN("mx.test"))) {
		assert_true(ipc_send_dns_record(c, &(struct ipc_dns_record){ .id = m->id, .type = 0, .preference = 10, .name = SPAN("dead.test") }));
		assert_true(ipc_send_dns_record(c, &(struct ipc_dns_record){ .id = m->id, .type = 0, .preference = 20, .name = SPAN("live.test") }));
		return ipc_send_dns_done(c, &(struct ipc_dns_done){ .id = m->id });
	}
	if (m->type == 0 && span_eq(m->name, SPAN("null.test"))) {
		assert_true(ipc_send_dns_record(c, &(struct ipc_dns_record){ .id = m->id }));
		return ipc_send_dns_done(c, &(struct ipc_dns_done){ .id = m->id });
	}
	if (m->type == 0)
		return ipc_send_dns_done(c, &(struct ipc_dns_done){ .id = m->id, .result = span_eq(m->name, SPAN("live.test")) ? 2 : 1 });
	for (char n = 2; n < 6 && span_eq(m->name, SPAN("many.test")); n++)
		assert_true(ipc_send_dns_record(c, &(struct ipc_dns_record){ .id = m->id, .type = 1, .data = span_of((char[]){ 127, 0, 0, n }, 4) }));
	if (span_eq(m->name, SPAN("both.test")))
		assert_true(ipc_send_dns_record(c, &(struct ipc_dns_record){ .id = m->id, .type = 1, .data = SPAN("\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\1") }));
	if (span_eq(m->name, SPAN("slow.test")))
		assert_true(ipc_send_dns_record(c, &(struct ipc_dns_record){ .id = m->id, .type = 1, .data = SPAN("\177\0\0\312") }));
	assert_true(ipc_send_dns_record(c, &(struct ipc_dns_record){ .id = m->id, .type = 1,
	    .data = span_eq(m->name, SPAN("dead.test")) || span_eq(m->name, SPAN("slow.test")) ? SPAN("\177\0\0\311") : SPAN("\177\0\0\1") }));
	return ipc_send_dns_done(c, &(struct ipc_dns_done){ .id = m->id });
}

#define DISPATCH_DEF "ipc/dns.def"
#define DISPATCH_SIDE SERVER
#include "ipc/dispatch.h"

static void
channel_gone(struct channel *c, const struct fail *why)
{
	(void)why;
	if (c == queued)
		queued = NULL;
	if (c == dnsd)
		dnsd = NULL;
	if (c == routed)
		routed = NULL;
	channel_free(&c);
}

const struct channel_ops queued_end = { dispatch_deliver, channel_gone, NULL };
const struct channel_ops routed_end = { dispatch_callout, channel_gone, NULL };
const struct channel_ops dnsd_end = { dispatch_dns, channel_gone, NULL };

struct channel *
wire(const struct ipc_channel *type, enum channel_side ours, const struct channel_ops *ops)
{
	struct channel *c = NULL;
	int pair[2];

	assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, pair), 0);
	for (size_t i = 0; i < remoted_ops.nchannels; i++)
		if (remoted_ops.channels[i].type == type) {
			c = channel_new(loop, pair[0], type, remoted_ops.channels[i].side, remoted_ops.channels[i].ops, &service);
			remoted_ops.channels[i].on_open(&service, c, SPAN("test"), 0);
		}
	assert_non_null(c);
	return channel_new(loop, pair[1], type, ours, ops, NULL);
}

void
start(const char *text)
{
	struct conf_errors errors = { .n = 0 };
	struct fail why;
	char all[2048];

	loop = loop_new();
	arena_init(&conf_arena, 1 << 24);
	(void)snprintf(all, sizeof(all), "myhostname = us.test\n%s%s%s", strstr(text, "inet_protocols") ? "" : "inet_protocols = ipv4\n",
	    strstr(text, "CAfile") ? "" : "smtp_tls_CAfile =\n", text);
	service = (struct service){ .loop = loop, .conf = conf_parse(span_str(all), &conf_arena, &errors), .name = "remoted" };
	if (!service.conf)
		fail_msg("%s", errors.items[0].text);
	assert_true(remoted_ops.on_boot(&service, &why));
	queued = wire(&ipc_channel_deliver, CHANNEL_CLIENT, &queued_end);
	routed = wire(&ipc_channel_callout, CHANNEL_CLIENT, &routed_end);
	ntold = 0;
	dnsd = wire(&ipc_channel_dns, CHANNEL_SERVER, &dnsd_end);
	memset(got, 0, sizeof(got));
	asked = 0;
	dns_mute = false;
}

struct remoted *
remoted(void)
{
	return service.state;
}

void
stop(void)
{
	struct remoted *r = remoted();

	pool_close(&r->pool);
	channel_free(&queued);
	channel_free(&routed);
	for (int i = 0; i < 100 && (r->agent.count || r->ncallouts || r->nsessions); i++)
		(void)loop_turn(loop, 20);
	assert_int_equal(r->agent.count, 0);
	assert_int_equal(r->ncallouts, 0);
	assert_int_equal(r->nsessions, 0);
	for (int i = 0; i < 5; i++)
		(void)loop_turn(loop, 5);
	channel_free(&dnsd);
	inquirer_free(&r->dns);
	pool_free(&r->pool);
	map_free(&r->agent.by_id);
	policy_unref(&r->policy);
	signer_free(&r->signer);
	free(r);
	loop_free(&loop);
	arena_free(&conf_arena);
}

void
give_head(uint64_t id, const char *nexthop, unsigned rcpts)
{
	assert_true(ipc_send_deliver_job(queued, &(struct ipc_deliver_job){
		.id = id, .message = id, .nexthop = span_str(nexthop), .sender = SPAN("alice@us.test"), .size = 10 }));
	for (unsigned i = 0; i < rcpts; i++) {
		char address[32];

		(void)snprintf(address, sizeof(address), "bob%u@peer.test", i);
		assert_true(ipc_send_deliver_rcpt(queued, &(struct ipc_deliver_rcpt){ .id = id, .index = i, .address = span_str(address), .notify = 2 }));
	}
}

void
give(uint64_t id, const char *nexthop, unsigned rcpts, const char *content)
{
	give_head(id, nexthop, rcpts);
	assert_true(ipc_send_deliver_content(queued, &(struct ipc_deliver_content){ .id = id, .bytes = span_str(content) }));
}

struct outcome *
wait_for(uint64_t id)
{
	for (int i = 0; i < 500 && !got[id].done; i++)
		(void)loop_turn(loop, 20);
	assert_int_equal(got[id].done, 1);
	return &got[id];
}
