/* SPDX-License-Identifier: ISC */
#include "daemons/remoted/delivery.h"

#include <stdlib.h>
#include <string.h>

#include "daemons/remoted/remoted.h"
#include "mail/charset.h"
#include "mail/downgrade.h"

/* --- what it has to tell --------------------------------------------------------- */

static void
send_result(struct job *j, size_t i)
{
	static const uint8_t outcomes[] = {
		[VERDICT_PENDING] = DELIVER_DEFERRED, [VERDICT_DELIVERED] = DELIVER_DELIVERED, [VERDICT_RELAYED] = DELIVER_RELAYED,
		[VERDICT_DEFERRED] = DELIVER_DEFERRED, [VERDICT_FAILED] = DELIVER_FAILED,
	};
	const struct verdict *v = &j->mail.rcpts[i].verdict;
	struct remoted *r = j->remoted;

	r->delivered += v->outcome == VERDICT_DELIVERED || v->outcome == VERDICT_RELAYED;
	r->failed += v->outcome == VERDICT_FAILED;
	r->deferred += v->outcome == VERDICT_DEFERRED || v->outcome == VERDICT_PENDING;
	(void)ipc_send_deliver_result(j->base.queued, &(struct ipc_deliver_result){
		.id = j->base.id, .index = (uint32_t)i, .outcome = outcomes[v->outcome], .code = span_str(v->code),
		.peer = j->origins[i].peer, .reply = span_sub(v->text, 0, B_REPLY), .tls = j->origins[i].tls, .maybe_done = v->maybe_done,
		.tell = v->tell });
}

static void
tell(struct job *j)
{
	bool trouble = j->health == DELIVER_OVERLOADED || j->health == DELIVER_UNREACHED;

	for (size_t i = 0; i < j->mail.nrcpts && j->base.queued; i++)
		send_result(j, i);
	if (j->base.queued)
		(void)ipc_send_deliver_done(j->base.queued, &(struct ipc_deliver_done){
			.id = j->base.id, .health = (uint8_t)j->health, .host = span_str(j->host), .text = trouble ? span_str(j->trouble) : SPAN_NONE,
			.connect_ms = j->connect_ms, .transfer_ms = j->transfer_ms, .reused = j->reused });
}

static void
forget(struct job *j)
{
	agent_forget(&j->base);
}

static const struct job_kind delivery = { .fallback = true, .tell = tell, .forget = forget };

/* --- what the client asks about the content ------------------------------------------ */

static bool
is_8bit(const struct client_mail *mail)
{
	return content_is_8bit(&OWNER_OF(mail, struct job, mail)->content);
}

static bool
to_7bit(const struct client_mail *mail, struct fail *why)
{
	struct job *j = OWNER_OF(mail, struct job, mail);

	if (!content_convert(&j->content, DOWNGRADE_8BIT, why))
		return false;
	j->mail.size = j->content.size;
	return true;
}

static bool
to_lines(const struct client_mail *mail, bool to_7bit, struct fail *why)
{
	struct job *j = OWNER_OF(mail, struct job, mail);

	if (!content_convert(&j->content, DOWNGRADE_BINARY | (to_7bit ? DOWNGRADE_8BIT : 0u), why))
		return false;
	j->mail.size = j->content.size;
	j->mail.binary = false;
	return true;
}

static int64_t
by_left(const struct client_mail *mail)
{
	const struct job *j = OWNER_OF(mail, struct job, mail);
	int64_t ms = j->by_ms - loop_wall_ms(j->remoted->loop);

	return ms >= 0 ? ms / 1000 : -((999 - ms) / 1000);
}

/* --- what queued tells ------------------------------------------------------------- */

/* RFC 9228: where it has been delivered, comes in front.  What the next host may not be able to take is left out. */
static struct span
head_of(struct job *j, struct span via, bool utf8)
{
	static const struct span name = SPAN_INIT("Delivered-To: ");
	struct buf lines;
	struct span head;

	buf_init(&lines, (size_t)B_VIA * (name.n + 2));
	while (via.n) {
		struct span address = span_cut(&via, '\t');

		if (utf8 || !utf8_has_8bit(address))
			buf_printf(&lines, "%.*s%.*s\r\n", SPAN_ARG(name), SPAN_ARG(address));
	}
	head = arena_dup(&j->arena, buf_span(&lines));
	j->arena.failed |= !buf_ok(&lines);
	buf_free(&lines);
	return head;
}

static struct agent_job *
on_job(struct agent *a, const struct ipc_deliver_job *m)
{
	struct job *j = job_new(OWNER_OF(a, struct remoted, agent), &delivery, m->nexthop, m->logins);

	if (!j)
		return NULL;
	j->message = m->message;
	j->tls_optional = m->tls_optional;
	j->by_ms = m->by_ms;
	j->mail = (struct client_mail){
		.sender = arena_dup(&j->arena, m->sender), .envid = arena_dup(&j->arena, m->envid), .size = m->size,
		.body8 = m->body8, .smtputf8 = m->smtputf8, .ret = m->ret, .arena = &j->arena, .is_8bit = is_8bit, .to_7bit = to_7bit,
		.binary = m->binary, .requiretls = m->requiretls, .priority = m->priority, .by_mode = m->by_mode, .by_left = by_left, .to_lines = to_lines,
	};
	j->content.head = head_of(j, m->via, m->smtputf8);
	return &j->base;
}

static bool
on_rcpt(struct agent_job *base, const struct ipc_deliver_rcpt *m)
{
	struct job *j = OWNER_OF(base, struct job, base);

	return m->index == j->mail.nrcpts && job_add(j, m->address, m->orcpt, m->notify);
}

static bool
on_content(struct agent_job *base, const struct agent_content *given)
{
	struct job *j = OWNER_OF(base, struct job, base);
	char *bytes = given->fd < 0 ? malloc(given->bytes.n ? given->bytes.n : 1) : NULL;

	if (given->fd < 0 && !bytes)
		return false;
	if (bytes && given->bytes.n)
		memcpy(bytes, given->bytes.p, given->bytes.n);
	j->content.bytes = bytes;
	j->content.fd = given->fd;
	j->content.offset = given->offset;
	j->mail.size = j->content.size = j->content.head.n + given->size;
	if (j->arena.failed) /* no memory for the sender, for one: it would be <>; or for the head */
		return false;
	job_run(j);
	return true;
}

static void
on_cancel(struct agent_job *base)
{
	job_call_off(OWNER_OF(base, struct job, base));
}

static void
on_abort(struct agent_job *base)
{
	job_free(OWNER_OF(base, struct job, base));
}

const struct agent_ops delivery_ops = { on_job, on_rcpt, on_content, on_cancel, on_abort };
