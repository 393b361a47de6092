/* SPDX-License-Identifier: ISC
 *
 * Requests of peers: each runs a route job, waits for users, sends the reply.
 */
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "mail/status.h"
#include "relaycert.h"
#include "request.h"

enum { INCLUDE_FILE_MAX = 16 * 1024 * 1024, EXPLAIN_LINES_MAX = 2000, ACCESS_MEMORY = 8 * 1024 * 1024 };

static void
request_free(struct request *r)
{
	users_drop(&r->client->daemon->users, &r->user);
	repute_drop(&r->repute);
	verify_drop(&r->client->daemon->verify, &r->verify);
	route_free(&r->way);
	list_remove(&r->node);
	route_free(&r->job);
	arena_free(&r->access_mem);
	free(r);
}

/* Bounded and on one line, as a TEXT must be. */
static struct span
one_line(struct span s, size_t max, struct buf *out)
{
	buf_init(out, max);
	for (size_t i = 0; i < s.n && i < max; i++)
		buf_putc(out, (unsigned char)s.p[i] < ' ' || s.p[i] == 0x7f ? ' ' : s.p[i]);
	return buf_span(out);
}

/* ---- include files ---- */

bool
request_include(void *arg, struct span path, struct arena *arena, struct span *text, struct fail *why)
{
	char name[B_PATH];
	struct stat st;
	char *memory;
	ssize_t got = -1;
	int fd;

	(void)arg;
	if (!span_cstr(path, name, sizeof(name)))
		return fail_set(why, FAIL_TEMP, 0, "the name of an include file is too long");
	fd = open(name, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
	if (fd < 0)
		return fail_errno(why, 0, "open %s", name);
	if (fstat(fd, &st) != 0 || !S_ISREG(st.st_mode) || st.st_size > INCLUDE_FILE_MAX)
		fail_set(why, FAIL_TEMP, 0, "%s is not a file, or is too large", name);
	else if (!(memory = arena_alloc(arena, (size_t)st.st_size + 1)))
		fail_set(why, FAIL_TEMP, 0, "no memory for %s", name);
	else if ((got = pread(fd, memory, (size_t)st.st_size, 0)) < 0)
		fail_errno(why, 0, "read %s", name);
	else
		*text = span_of(memory, (size_t)got);
	(void)close(fd);
	return got >= 0;
}

/* ---- replies ---- */

/* Which rules decided, and what callouts told. */
static void
put_why(const struct request *r, bool taken, struct buf *out)
{
	const struct access_verdict *a = &r->access;
	struct span by = a->status || (taken && a->note) ? a->why : route_why(r->job);

	buf_init(out, 2 * B_REPLY);
	buf_put(out, span_sub(by, 0, B_REPLY - r->verified.n));
	if (taken)
		buf_put(out, r->verified);
}

/* A refusal by an access rule, or else what the route says, with what the rules want done. */
void
request_reply(struct request *r)
{
	const struct access_verdict *a = &r->access;
	struct span text = a->text;
	unsigned status = a->status ? a->status : route_verdict(r->job, &text);
	bool taken = status_get(status)->class == FAIL_NONE;
	struct buf clean, why, line;
	struct ipc_rcpt_answer m = { .id = r->id, .status = (uint16_t)status, .reply = (uint16_t)a->reply };

	if (taken) {
		m.hold = a->hold;
		m.discard = a->discard;
		m.note = a->note;
		m.redirect = a->redirect;
		m.prepend = a->prepend;
	}
	put_why(r, taken, &why);
	m.text = one_line(text, 500, &clean);
	m.why = one_line(buf_span(&why), B_REPLY, &line);
	(void)ipc_send_rcpt_answer(r->client->channel, &m);
	buf_free(&clean);
	buf_free(&why);
	buf_free(&line);
	r->client->daemon->checked++;
	request_free(r);
}

static void
send_target(struct request *r, const struct route_target *t)
{
	struct buf text;
	struct ipc_route_target m = { .id = r->id, .agent = (uint8_t)t->agent, .nexthop = t->nexthop,
	    .address = t->address, .home = t->home,
		.uid = t->uid, .gid = t->gid, .quota = t->quota, .messages = t->messages, .sender = t->sender, .logins = t->logins, .status = (uint16_t)t->status };

	m.text = one_line(t->text, 1000, &text);
	(void)ipc_send_route_target(r->client->channel, &m);
	buf_free(&text);
}

/* A long list goes out as fast as the peer takes it. */
static void
reply_route(struct request *r)
{
	struct channel *c = r->client->channel;
	struct ipc_route_done done = { .id = r->id };
	struct buf why;

	for (; r->unsent; r->unsent = r->unsent->next) {
		if (channel_congested(c))
			return;
		send_target(r, r->unsent);
	}
	done.why = one_line(route_why(r->job), B_REPLY, &why);
	(void)ipc_send_route_done(c, &done);
	buf_free(&why);
	r->client->daemon->resolved++;
	request_free(r);
}

static void
send_line(struct request *r, unsigned depth, bool target, struct span nexthop, struct span text)
{
	struct ipc_route_admin_line m = { .id = r->id, .depth = (uint8_t)(depth > 255 ? 255 : depth),
	    .target = target, .nexthop = nexthop };
	struct buf clean;

	if (r->lines++ >= EXPLAIN_LINES_MAX)
		return;
	m.text = one_line(text, B_REPLY, &clean);
	(void)ipc_send_route_admin_line(r->client->channel, &m);
	buf_free(&clean);
}

void
request_say(struct request *r, struct span text)
{
	send_line(r, 0, false, SPAN_NONE, text);
}

void
request_done(struct request *r, bool ok, struct span text)
{
	(void)ipc_send_route_admin_done(r->client->channel, &(struct ipc_route_admin_done){ .id = r->id, .ok = ok, .text = text });
	request_free(r);
}

static void
explain_step(void *arg, unsigned depth, struct span text)
{
	send_line(arg, depth, false, SPAN_NONE, text);
}

static void
explain_target(struct request *r, const struct route_target *t)
{
	const struct status *status = status_get(t->status);
	struct buf b;

	buf_init(&b, B_REPLY);
	switch (t->agent) {
	case ROUTE_REMOTE:
		buf_printf(&b, "%.*s: sent to %.*s", SPAN_ARG(t->address), SPAN_ARG(t->nexthop));
		break;
	case ROUTE_LOCAL:
		buf_printf(&b, "%.*s: delivered to the mailbox %.*s", SPAN_ARG(t->address), SPAN_ARG(t->home));
		if (t->uid)
			buf_printf(&b, " of uid %u", t->uid);
		break;
	case ROUTE_DISCARD:
		buf_printf(&b, "%.*s: thrown away", SPAN_ARG(t->address));
		break;
	default:
		r->failing = true;
		buf_printf(&b, "%.*s: %s: %s %.*s", SPAN_ARG(t->address), t->agent == ROUTE_FAIL ? "refused"
		    : "put off", status->code,
		    SPAN_ARG(t->text.n ? t->text : span_str(status->text)));
		break;
	}
	if (t->sender.n > 0)
		buf_printf(&b, ", sender %.*s", SPAN_ARG(t->sender));
	send_line(r, 0, true, t->agent == ROUTE_REMOTE ? t->nexthop : SPAN_NONE, buf_span(&b));
	buf_free(&b);
}

static void
reply_explain(struct request *r)
{
	for (; r->unsent; r->unsent = r->unsent->next)
		explain_target(r, r->unsent);
	request_done(r, !r->failing, r->failing ? SPAN("mail for this address would be refused or put off")
	    : r->lines > EXPLAIN_LINES_MAX ? SPAN("there is more than can be shown") : SPAN(""));
}

/* ---- life ---- */

static void on_user(struct users_question *q, const struct route_user *user);

static bool
begin(struct request *r)
{
	struct route_job_ops ops = { request_include, r->kind == REQUEST_EXPLAIN ? explain_step : NULL, r };

	r->job = route_new(r->client->daemon->rules, &r->question, &ops);
	return r->job != NULL;
}

/* Deliveries go on to be tried; only who asks at RCPT is told what became of the last one. */
static void
answer_user(struct request *r, const struct route_user *user)
{
	struct routed *d = r->client->daemon;
	struct route_user known = *user;

	if (known.exists && r->kind == REQUEST_RCPT)
		known.full = full_status(&d->full, known.home, (struct full_limits){ known.quota, known.messages }, loop_now_ms(d->service->loop));
	route_answer_user(r->job, &known);
}

/* Runs the job as far as it goes; r may be gone afterwards. */
static void
go_on(struct request *r)
{
	struct routed *d = r->client->daemon;
	struct route_user user;

	while (route_run(r->job) == ROUTE_ASK_USER) {
		if (!users_ask(&d->users, &r->user, route_wanted_user(r->job), &user))
			return;
		answer_user(r, &user);
	}
	r->replying = true;
	r->unsent = r->kind == REQUEST_RCPT ? NULL : route_targets(r->job);
	if (r->kind == REQUEST_RCPT)
		vet(r);
	else if (r->kind == REQUEST_VERIFY)
		vet_address(r);
	else if (r->kind == REQUEST_ROUTE)
		reply_route(r);
	else
		reply_explain(r);
}

static void
on_user(struct users_question *q, const struct route_user *user)
{
	struct request *r = OWNER_OF(q, struct request, user);

	if (r->way) {
		vet_on_user(r, user);
		return;
	}
	answer_user(r, user);
	go_on(r);
}

static struct request *
request_new(struct client *cl, enum request_kind kind, uint64_t id, const struct route_question *q, struct span client_addr)
{
	struct request *r = calloc(1, sizeof(*r) + q->address.n + q->sender.n + client_addr.n + 1);

	if (!r)
		return NULL;
	arena_init(&r->access_mem, ACCESS_MEMORY);
	r->client = cl;
	r->kind = kind;
	r->id = id;
	r->question = *q;
	r->user.on_answer = on_user;
	if (q->address.n > 0)
		memcpy(r->text, q->address.p, q->address.n);
	if (q->sender.n > 0)
		memcpy(r->text + q->address.n, q->sender.p, q->sender.n);
	if (client_addr.n > 0)
		memcpy(r->text + q->address.n + q->sender.n, client_addr.p, client_addr.n);
	r->client_addr = span_of(r->text + q->address.n + q->sender.n, client_addr.n);
	vet_init(r);
	r->question.address = span_of(r->text, q->address.n);
	r->question.sender = span_of(r->text + q->address.n, q->sender.n);
	list_push(&cl->requests, &r->node);
	return r;
}

static bool
request_run(struct request *r)
{
	if (!begin(r)) {
		request_free(r);
		return false;
	}
	go_on(r);
	return true;
}

static bool
request_start(struct client *cl, enum request_kind kind, uint64_t id, const struct route_question *q)
{
	struct request *r = request_new(cl, kind, id, q, SPAN_NONE);

	return r && request_run(r);
}

static struct client *
client_of(struct channel *c)
{
	struct client *cl = channel_owner(c);

	rules_refresh(cl->daemon->rules, loop_now_ms(cl->daemon->service->loop));
	return cl;
}

/* True: it is answered. */
static bool
answer_rate(struct channel *c, struct routed *d, const struct ipc_rcpt_ask *m, bool *sent)
{
	const char *option = rate_exceeded(&d->rates, d->service->conf, m, loop_now_ms(d->service->loop));
	struct ipc_rcpt_answer no = { .id = m->id, .status = STATUS_RATE_LIMIT, .why = option ? span_str(option) : SPAN_NONE };

	if (!option && m->about != RCPT_CONNECTION)
		return false;
	if (!option)
		no.status = STATUS_OK;
	*sent = ipc_send_rcpt_answer(c, &no);
	return true;
}

static bool
on_rcpt_ask(struct channel *c, const struct ipc_rcpt_ask *m)
{
	struct route_question q = { ROUTE_CHECK, m->address, m->sender, m->may_relay, m->smtputf8 };
	struct ipc_rcpt_answer busy = { .id = m->id, .status = STATUS_SYSTEM_LOCAL_TEMP };
	struct client *cl = client_of(c);
	struct request *r;
	bool sent = true;

	if (answer_rate(c, cl->daemon, m, &sent))
		return sent;
	if (!relaycert_ask(cl->daemon, m, &q.may_relay))
		return ipc_send_rcpt_answer(c, &busy);
	r = request_new(cl, REQUEST_RCPT, m->id, &q, m->client_addr);
	if (!r)
		return ipc_send_rcpt_answer(c, &busy);
	r->vrfy = m->about == RCPT_VRFY;
	access_check(cl->daemon->rules, &(struct access_question){ m->client_addr, m->client_name, m->helo, m->sasl_user,
	    m->sender, m->address }, &r->access_mem, &r->access);
	if (r->access.broken)
		log_put(LOG_table, "not a value an access table can have: %.*s", SPAN_ARG(r->access.why));
	if (r->access.status) {
		request_reply(r);
		return true;
	}
	return request_run(r) || ipc_send_rcpt_answer(c, &busy);
}

static bool
on_route_ask(struct channel *c, const struct ipc_route_ask *m)
{
	struct route_question q = { ROUTE_RESOLVE, m->address, m->sender, true, true };
	struct ipc_route_target busy = { .id = m->id, .agent = ROUTE_DEFER, .address = m->address,
	    .status = STATUS_SYSTEM_LOCAL_TEMP };
	struct ipc_route_done done = { .id = m->id };

	return request_start(client_of(c), REQUEST_ROUTE, m->id, &q) || (ipc_send_route_target(c, &busy) &&
	    ipc_send_route_done(c, &done));
}

static bool
on_route_full(struct channel *c, const struct ipc_route_full *m)
{
	struct routed *d = client_of(c)->daemon;

	full_note(&d->full, m->home, (struct full_limits){ m->quota, m->messages }, m->lasting, loop_now_ms(d->service->loop));
	return true;
}

static bool
on_route_admin_explain(struct channel *c, const struct ipc_route_admin_explain *m)
{
	struct route_question q = { ROUTE_RESOLVE, m->address, m->sender, true, true };
	struct ipc_route_admin_done done = { .id = m->id, .text = SPAN("out of memory") };

	return request_start(client_of(c), REQUEST_EXPLAIN, m->id, &q) || ipc_send_route_admin_done(c, &done);
}

/* ---- what callouts have told ---- */

struct listing {
	struct channel *c;
	uint64_t id;
	unsigned lines;
};

static bool
list_known(void *arg, const struct verify_known *k)
{
	struct listing *l = arg;
	struct buf clean;

	(void)ipc_send_route_admin_known(l->c, &(struct ipc_route_admin_known){ .id = l->id, .address = k->address, .outcome = (uint8_t)k->answer.outcome,
	    .nexthop = k->nexthop, .host = k->answer.peer, .reply = one_line(k->answer.reply, B_REPLY, &clean), .age_s = k->answer.age_s, .left_s = k->left_s });
	buf_free(&clean);
	return ++l->lines < EXPLAIN_LINES_MAX;
}

static bool
reply_listing(struct client *cl, const struct ipc_route_admin_verify *m)
{
	struct listing l = { cl->channel, m->id, 0 };
	struct ipc_route_admin_done done = { .id = m->id };
	struct fail why = { .text = "" };

	done.ok = verify_each(&cl->daemon->verify, m->address, list_known, &l, &why);
	done.more = l.lines >= EXPLAIN_LINES_MAX;
	done.text = done.ok ? SPAN("") : fail_text(&why);
	return ipc_send_route_admin_done(cl->channel, &done);
}

static bool
reply_forgotten(struct client *cl, const struct ipc_route_admin_verify *m)
{
	struct ipc_route_admin_done done = { .id = m->id };
	struct fail why = { .text = "" };

	done.ok = (m->verb == VERIFY_COUNT ? verify_count : verify_forget)(&cl->daemon->verify, m->address, &done.count, &why);
	done.more = m->verb == VERIFY_FORGET && done.count == VERIFY_FORGET_MAX;
	done.text = done.ok ? SPAN("") : fail_text(&why);
	return ipc_send_route_admin_done(cl->channel, &done);
}

static bool
on_route_admin_verify(struct channel *c, const struct ipc_route_admin_verify *m)
{
	struct client *cl = client_of(c);
	struct route_question q = { ROUTE_RESOLVE, m->address, verify_sender(cl->daemon->service->conf), true, true };
	struct ipc_route_admin_done busy = { .id = m->id, .text = SPAN("out of memory") };
	struct request *r;

	if (m->verb == VERIFY_LIST)
		return reply_listing(cl, m);
	if (m->verb == VERIFY_FORGET || m->verb == VERIFY_COUNT)
		return reply_forgotten(cl, m);
	r = request_new(cl, REQUEST_VERIFY, m->id, &q, SPAN_NONE);
	if (!r)
		return ipc_send_route_admin_done(c, &busy);
	r->fresh = m->verb == VERIFY_ASK;
	return request_run(r) || ipc_send_route_admin_done(c, &busy);
}

static bool
on_route_admin_rebuild(struct channel *c, const struct ipc_route_admin_rebuild *m)
{
	struct ipc_route_admin_done done = { .id = m->id };
	struct fail why = { .text = "" };

	done.ok = rules_rebuild(client_of(c)->daemon->rules, &why);
	done.text = done.ok ? SPAN("") : fail_text(&why);
	return ipc_send_route_admin_done(c, &done);
}

#define DISPATCH_DEF "ipc/rcpt.def"
#define DISPATCH_SIDE SERVER
#include "ipc/dispatch.h"
#define DISPATCH_DEF "ipc/route.def"
#define DISPATCH_SIDE SERVER
#include "ipc/dispatch.h"
#define DISPATCH_DEF "ipc/route_admin.def"
#define DISPATCH_SIDE SERVER
#include "ipc/dispatch.h"

/* ---- clients ---- */

static void
client_free(struct client *cl)
{
	LIST_EACH(&cl->requests, it)
		request_free(OWNER_OF(it, struct request, node));
	list_remove(&cl->node);
	channel_free(&cl->channel);
	free(cl);
}

static void
on_client_closed(struct channel *c, const struct fail *why)
{
	if (why->class == FAIL_PEER) /* a tool that has its answer, or a daemon whose end maild reports, is no news */
		log_put(LOG_channel, "%s: %s", channel_type(c)->name, why->text);
	client_free(channel_owner(c));
}

static void
on_route_drained(struct channel *c)
{
	struct client *cl = channel_owner(c);

	LIST_EACH(&cl->requests, it) {
		struct request *r = OWNER_OF(it, struct request, node);

		if (channel_congested(c))
			return;
		if (r->replying)
			reply_route(r);
	}
}

const struct channel_ops request_rcpt_ops = { dispatch_rcpt, on_client_closed, NULL };
const struct channel_ops request_route_ops = { dispatch_route, on_client_closed, on_route_drained };
const struct channel_ops request_admin_ops = { dispatch_route_admin, on_client_closed, NULL };

void
request_client_open(struct service *s, struct channel *c, struct span peer, unsigned instance)
{
	struct routed *d = s->state;
	struct client *cl = calloc(1, sizeof(*cl));

	(void)peer, (void)instance;
	if (!cl) {
		channel_give_up(&c);
		return;
	}
	cl->daemon = d;
	cl->channel = c;
	list_init(&cl->requests);
	list_push(&d->clients, &cl->node);
	channel_set_owner(c, cl);
}

void
request_restart_all(struct routed *d)
{
	LIST_EACH(&d->clients, at) {
		struct client *cl = OWNER_OF(at, struct client, node);

		LIST_EACH(&cl->requests, it) {
			struct request *r = OWNER_OF(it, struct request, node);

			if (r->way) {
				users_drop(&d->users, &r->user);
				vet_again(r);
				continue;
			}
			if (r->replying)
				continue;
			users_drop(&d->users, &r->user);
			route_free(&r->job);
			if (begin(r))
				go_on(r);
			else
				request_free(r);
		}
	}
}

void
request_drop_all(struct routed *d)
{
	LIST_EACH(&d->clients, at)
		client_free(OWNER_OF(at, struct client, node));
}
