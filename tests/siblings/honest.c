/* SPDX-License-Identifier: ISC
 *
 * Siblings that keep to the rules: they answer what they are asked, and hold whole conversations, for a
 * while; then chance alone speaks, for a while.  A field of what they say is not as it should be now and then.
 */
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include "mail/status.h"
#include "tests/siblings/siblings.h"

enum { VARIED = 24, VARIED_BEGUN = 100, /* which breaks what else is under way there */
	 ALONE = 1000, JOBS = 50, OWNERS = 40, IDLE = 20, GENERATION = 1, PEM_MAX = 16384, ANSWERED = 0 };

/* In what an answer, or one more message of ours, is said. */
struct talk {
	struct rig *r;
	struct end *e;
	uint64_t id;
};

static void
say(const struct talk *t, unsigned type, const void *m, size_t size, int fd)
{
	const struct ipc_message *msg = &t->e->type->messages[type];
	struct conv *c = conv_find(t->e, t->id);
	bool varied = rnd(t->r, t->e->side == CHANNEL_CLIENT ? VARIED_BEGUN : VARIED) == 0;
	union frame_message as = { .align = 0 };

	memcpy(&as, m, size);
	if (varied)
		message_vary(t->r, t->e, msg, c, &as, rig_room(t->r));
	if (rnd(t->r, 4) == 0)
		rig_remember(t->r, t->e, msg, &as);
	if (!end_add(t->e, type, &as, fd))
		return;
	t->r->sent++;
	if (t->e->tally) {
		t->e->tally->sent++;
		t->e->tally->kept += !varied;
	}
	if (c && msg->from & c->state)
		conv_said(t->r, t->e, c, msg, &as);
}

#define SAY_FD(t, name, fd, ...) say(t, IPC_##name, &(struct ipc_##name){ .id = (t)->id, __VA_ARGS__ }, sizeof(struct ipc_##name), fd)
#define SAY(t, name, ...) SAY_FD(t, name, -1, __VA_ARGS__)

static const char letter[] = "Subject: x\r\n\r\nx\r\n";

/* ---- answers: by channel, and what was asked ---- */

static void
on_rcpt(const struct talk *t, unsigned type, const void *asked)
{
	(void)type, (void)asked;
	SAY(t, rcpt_answer, .status = STATUS_OK);
}

static void
on_auth(const struct talk *t, unsigned type, const void *asked)
{
	static const char signature[32] = "thirty-two bytes of a signature";
	const struct ipc_auth_scram *first = asked;
	bool smtp = strcmp(t->r->target->name, "smtpd") == 0;
	struct buf message;

	if (type != IPC_auth_scram) {
		SAY(t, auth_answer, .ok = true, .user = SPAN("bob@example.test"), .ticket = smtp ? SPAN_NONE : SPAN("0123456789abcdef"),
		    .signature = type == IPC_auth_proof ? span_of(signature, sizeof(signature)) : SPAN_NONE);
		return;
	}
	buf_init(&message, B_SCRAM);
	buf_printf(&message, "r=%.*ssrv,s=c2FsdHNhbHQ=,i=4096", SPAN_ARG(first->nonce));
	SAY(t, auth_challenge, .message = buf_span(&message));
	buf_free(&message);
}

static void
on_intake(const struct talk *t, unsigned type, const void *asked)
{
	(void)asked;
	if (type == IPC_intake_end)
		say(t, IPC_intake_accepted, &(struct ipc_intake_accepted){ .id = t->id }, sizeof(struct ipc_intake_accepted), -1);
	else if (type == IPC_intake_flush)
		SAY(t, intake_flushed, .status = STATUS_OK, .count = 1);
}

static void
on_filter(const struct talk *t, unsigned type, const void *asked)
{
	const struct conv *c = conv_find(t->e, t->id);

	(void)asked;
	if (type == IPC_filter_pull)
		SAY(t, filter_piece, .state = 2, .bytes = span_str(letter));
	else if (c && (type == IPC_filter_mail || type == IPC_filter_rcpt || type == IPC_filter_data || type == IPC_filter_end))
		SAY(t, filter_answer, .question = c->question, .status = STATUS_OK,
		    .content = (type == IPC_filter_data || type == IPC_filter_end) && rnd(t->r, 2));
}

static void
on_dns(const struct talk *t, unsigned type, const void *asked)
{
	static const struct {
		const char *name, *data;
		size_t n;
	} answers[] = { { "mail.example.test", "", 0 }, { "", "\x7f\0\0\1", 4 }, { "client.example.test", "", 0 }, { "", "v=STSv1; id=20261122;", 21 } };
	const struct ipc_dns_ask *m = asked;
	bool known = m->type < sizeof(answers) / sizeof(answers[0]);

	(void)type;
	if (known)
		SAY(t, dns_record, .type = m->type, .name = span_str(answers[m->type].name), .data = span_of(answers[m->type].data, answers[m->type].n));
	SAY(t, dns_done, .result = known ? 0 : 2, .secure = rnd(t->r, 2), .ttl = 60);
}

static void
on_sign(const struct talk *t, unsigned type, const void *asked)
{
	static const char keys[160];
	struct buf signature;
	bool ok;

	if (type == IPC_sign_tickets) {
		SAY(t, sign_ticket_keys, .current = span_of(keys, 80), .before = span_of(keys + 80, 80), .valid_ms = 3600000);
		return;
	}
	buf_init(&signature, 1024);
	ok = crypt_sign(t->r, asked, &signature);
	SAY(t, sign_answer, .ok = ok, .signature = buf_span(&signature), .generation = GENERATION);
	buf_free(&signature);
}

/* Whoever asks stands still until that is answered. */
static void
on_certs(const struct talk *t, unsigned type, const void *asked)
{
	char path[B_PATH], pem[PEM_MAX];
	int fd;
	ssize_t n;

	(void)type, (void)asked;
	(void)snprintf(path, sizeof(path), "%s/tls/cert.pem", t->r->dir);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	n = fd >= 0 ? read(fd, pem, sizeof(pem)) : -1;
	if (fd >= 0)
		(void)close(fd);
	if (n > 0 && rnd(t->r, 32))
		SAY(t, certs_chain, .path = span_str(path), .pem = span_of(pem, (size_t)n));
	if (rnd(t->r, 64))
		SAY(t, certs_chains, .generation = rnd(t->r, 8) ? GENERATION : 1 + rnd(t->r, 3));
}

static void
on_route(const struct talk *t, unsigned type, const void *asked)
{
	bool local = rnd(t->r, 2);

	(void)asked;
	if (type != IPC_route_ask)
		return;
	SAY(t, route_target, .agent = local, .nexthop = local ? SPAN("mail.example.test") : SPAN("[127.0.0.1]:25"), .address = SPAN("bob@example.test"),
	    .home = local ? SPAN("example.test/bob") : SPAN_NONE);
	SAY(t, route_done, .why = SPAN("as it should be"));
}

static void
on_deliver(const struct talk *t, unsigned type, const void *asked)
{
	const struct conv *c = conv_find(t->e, t->id);

	(void)asked;
	if (type != IPC_deliver_content && type != IPC_deliver_content_fd)
		return;
	for (uint32_t i = 0, n = c ? c->indexes : 0; i < n; i++)
		SAY(t, deliver_result, .index = i, .outcome = rnd(t->r, 4) ? 0 : (uint8_t)rnd(t->r, 4), .code = SPAN("2.0.0"), .reply = SPAN("250 ok"),
		    .kept = true);
	SAY(t, deliver_done, .health = ANSWERED, .host = SPAN("mail.example.test"));
}

static void
on_owner(const struct talk *t, unsigned type, const void *asked)
{
	struct end *child = NULL;
	int fds[2];

	(void)type, (void)asked;
	if (rnd(t->r, 8) && t->r->nends < ENDS / 2 && socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, fds) == 0) {
		child = end_new(t->r, END_GIVEN, &ipc_channel_mailbox, CHANNEL_SERVER, "deliverd", fds[0]);
		SAY_FD(t, owner_child, fds[1], .crashed = rnd(t->r, 8) == 0);
	}
	if (child)
		child->tally = tally_of(t->r, child->type, child->peer);
	else
		SAY(t, owner_refused, .why = SPAN("none to be had"));
}

static void
on_mailbox(const struct talk *t, unsigned type, const void *asked)
{
	struct conv *c = conv_find(t->e, t->id);
	bool ok = rnd(t->r, 8) > 0, forward = ok && c && c->forward && rnd(t->r, 2);

	if (type == IPC_mailbox_put && c)
		c->forward = ((const struct ipc_mailbox_put *)asked)->address.n > 0;
	else if (type == IPC_mailbox_content || type == IPC_mailbox_content_fd)
		SAY(t, mailbox_result, .ok = ok, .status = STATUS_MAILBOX_TEMP, .text = SPAN("new/1.mail"),
		    .forwards = forward && rnd(t->r, 8) ? SPAN("x@remote.test\nalice@example.test") : SPAN_NONE, .kept = ok && !(forward && rnd(t->r, 2)));
	if (rnd(t->r, IDLE) == 0) /* a deliverd that ends: another is asked for */
		t->e->gone = t->e->left = true;
}

static void
on_token(const struct talk *t, unsigned type, const void *asked)
{
	(void)type, (void)asked;
	SAY(t, token_answer, .result = 0, .user = SPAN("bob@example.test"), .seconds = 60);
}

static void
on_callout(const struct talk *t, unsigned type, const void *asked)
{
	(void)type, (void)asked;
	SAY(t, callout_answer, .outcome = (uint8_t)rnd(t->r, 3), .code = SPAN("2.1.5"), .reply = SPAN("250 ok"));
}

static void
on_login(const struct talk *t, unsigned type, const void *asked)
{
	(void)type, (void)asked;
	SAY(t, login_result, .ok = true);
}

static void
on_users(const struct talk *t, unsigned type, const void *asked)
{
	(void)type, (void)asked;
	SAY(t, users_answer, .exists = true, .home = SPAN("example.test/bob"));
}

static void
on_tlspolicy(const struct talk *t, unsigned type, const void *asked)
{
	(void)type, (void)asked;
	SAY(t, tlspolicy_answer, .result = 1);
}

/* ---- conversations of ours ---- */

/* Under an id that nobody has had. */
static bool
begin(struct talk *t)
{
	struct conv *c = &t->e->convs[rnd(t->r, CONVS)];

	if (c->state != CONV_NONE)
		return false;
	t->id = ++t->r->serial << 4 | (uint64_t)1 << 50;
	*c = (struct conv){ .id = t->id, .state = CONV_NONE };
	return true;
}

static void
begin_intake(struct talk *t)
{
	struct span content = span_str(letter);

	if (!begin(t))
		return;
	SAY(t, intake_open, .sender = rnd(t->r, 8) ? SPAN("alice@example.test") : SPAN_NONE, .client_name = SPAN("unknown"), .client_addr = SPAN("127.0.0.1"),
	    .helo = SPAN("client.test"), .protocol = SPAN("ESMTP"));
	for (uint32_t i = 1 + rnd(t->r, 3); i > 0; i--)
		SAY(t, intake_rcpt, .address = rnd(t->r, 2) ? SPAN("bob@example.test") : SPAN("x@remote.test"), .notify = (uint8_t)rnd(t->r, 8));
	SAY(t, intake_data, .bytes = content);
	SAY(t, intake_end, .size = content.n, .message_id = SPAN("<1@client.test>"));
}

static void
begin_deliver(struct talk *t)
{
	bool large = rnd(t->r, 4) == 0;
	struct span content = span_str(letter);
	char sink[64];
	int fd;

	if (!begin(t))
		return;
	if (rnd(t->r, 4))
		(void)snprintf(sink, sizeof(sink), "[127.0.0.1]:%u", t->r->sink_port);
	else /* a domain, whose policy is asked for */
		(void)snprintf(sink, sizeof(sink), "h%u.remote.test", rnd(t->r, 100000));
	SAY(t, deliver_job, .message = t->id, .nexthop = span_str(sink), .sender = SPAN("alice@example.test"), .size = content.n,
	    .via = rnd(t->r, 4) ? SPAN_NONE : SPAN("carol@example.test\tdave@example.test"));
	for (uint32_t i = 0, n = 1 + rnd(t->r, 2); i < n; i++) {
		uint32_t uid = rnd(t->r, OWNERS);

		SAY(t, deliver_rcpt, .index = i, .address = SPAN("bob@example.test"), .home = SPAN("example.test/bob"), .uid = uid, .forward = uid && rnd(t->r, 2));
	}
	fd = large ? memfd_create("content", MFD_CLOEXEC) : -1;
	if (fd >= 0 && write(fd, content.p, content.n) == (ssize_t)content.n)
		SAY_FD(t, deliver_content_fd, fd, .size = content.n);
	else if (fd < 0)
		SAY(t, deliver_content, .bytes = content);
	else
		(void)close(fd);
}

/* It is for us to say how much we take. */
static void
offer_deliver(struct talk *t)
{
	if (rnd(t->r, 200) == 0)
		(void)end_add(t->e, IPC_deliver_capacity, &(struct ipc_deliver_capacity){ .jobs = JOBS }, -1);
}

/* ---- */

static const struct manners {
	const struct ipc_channel *type;
	void (*answer)(const struct talk *t, unsigned type, const void *asked); /* as server */
	void (*begin)(struct talk *t); /* as client */
	void (*offer)(struct talk *t); /* as server, unasked */
} manners[] = {
	{ &ipc_channel_rcpt, on_rcpt },
	{ &ipc_channel_auth, on_auth },
	{ &ipc_channel_intake, on_intake, begin_intake },
	{ &ipc_channel_filter, on_filter },
	{ &ipc_channel_dns, on_dns },
	{ &ipc_channel_sign, on_sign },
	{ &ipc_channel_certs, on_certs },
	{ &ipc_channel_route, on_route },
	{ &ipc_channel_deliver, on_deliver, begin_deliver, offer_deliver },
	{ &ipc_channel_owner, on_owner },
	{ &ipc_channel_mailbox, on_mailbox },
	{ &ipc_channel_login, on_login },
	{ &ipc_channel_users, on_users },
	{ &ipc_channel_token, on_token },
	{ &ipc_channel_callout, on_callout },
	{ &ipc_channel_tlspolicy, on_tlspolicy },
};

/* How this end behaves, if it does. */
static const struct manners *
manners_of(const struct end *e)
{
	if (e->kind != END_WIRE && e->kind != END_GIVEN)
		return NULL;
	for (size_t i = 0; i < sizeof(manners) / sizeof(manners[0]); i++)
		if (manners[i].type == e->type && (e->side == CHANNEL_SERVER ? manners[i].answer != NULL : manners[i].begin != NULL))
			return &manners[i];
	return NULL;
}

bool
honest_for_now(struct rig *r, const struct end *e)
{
	return r->honest && (manners_of(e) || e->kind == END_CONTROL) && rnd(r, ALONE); /* a tool's flood would be all there is */
}

void
honest_told(struct rig *r, struct end *e, unsigned type, const void *m)
{
	const struct manners *how = e->side == CHANNEL_SERVER ? manners_of(e) : NULL;
	struct talk t = { .r = r, .e = e, .id = message_id_of(&e->type->messages[type], m) };

	if (how && t.id && (r->honest || e->type == &ipc_channel_certs) && (e->kind == END_WIRE || e->tally))
		how->answer(&t, type, m);
}

void
honest_begin(struct rig *r, struct end *e)
{
	const struct manners *how = manners_of(e);
	struct talk t = { .r = r, .e = e };
	void (*move)(struct talk *t) = !how || e->gone ? NULL : e->side == CHANNEL_CLIENT ? how->begin : how->offer;

	if (move)
		move(&t);
}
