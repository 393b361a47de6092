/* SPDX-License-Identifier: ISC
 *
 * cmd_quota: GETQUOTA, GETQUOTAROOT, SETQUOTA (RFC 9208).  One root holds all of
 * a user's mailboxes: "user", or to an administrator of quotas (of whom authd
 * knows) "user/NAME@DOMAIN" that of somebody else.  What these are and what
 * becomes of them the broker says; nobody else learns whether there are any.
 */
#include <string.h>

#include "daemons/mailboxd/acl.h"
#include "daemons/mailboxd/imap.h"

#define ROOT "user"
enum { UNIT = 1024 }; /* of STORAGE (RFC 9208 5.1) */

struct asking {
	struct broker_request request;
	struct cmd *c;
	struct span root; /* as the client has it */
	char whose[ACL_IDENTIFIER + 1];
	struct broker_quota quota; /* the limits wanted, then what there is */
	bool set, answered, ok;
};

static void
put_quota(struct cmd *c, struct span root, const struct broker_quota *q)
{
	struct buf *out = cmd_out(c);

	buf_put(out, SPAN("* QUOTA "));
	imap_put_astring(out, root);
	buf_put(out, SPAN(" ("));
	if (q->size)
		buf_printf(out, "STORAGE %llu %llu", (unsigned long long)((q->used_size + UNIT - 1) / UNIT),
		    (unsigned long long)((q->size + UNIT - 1) / UNIT));
	if (q->messages)
		buf_printf(out, "%sMESSAGE %llu %llu", q->size ? " " : "", (unsigned long long)q->used_messages, (unsigned long long)q->messages);
	buf_put(out, SPAN(")\r\n"));
}

static bool
put_own(struct cmd *c, struct fail *why)
{
	struct quota limit = store_quota(cmd_home(c)), used;

	if (!store_used(cmd_home(c), &used, why))
		return false;
	put_quota(c, SPAN(ROOT), &(struct broker_quota){ .size = limit.size, .messages = limit.messages, .used_size = used.size, .used_messages = used.messages });
	return true;
}

/* Without a limit there is no root at all. */
static bool
limited(struct cmd *c)
{
	struct quota limit = store_quota(cmd_home(c));

	return quota_limited(&limit);
}

/* ---- what authd has to say ---- */

static void
on_quota(struct broker_request *r, const struct broker_quota *quota)
{
	OWNER_OF(r, struct asking, request)->quota = *quota;
}

static void
on_answered(struct broker_request *r, bool ok, int fd, struct span why)
{
	struct asking *x = OWNER_OF(r, struct asking, request);

	(void)fd, (void)why;
	x->answered = true;
	x->ok = ok;
	cmd_wake(x->c);
}

static void
asking_release(struct cmd *c)
{
	struct asking *x = c->state;

	broker_cancel(&x->request);
}

static enum cmd_result
answered(struct cmd *c)
{
	const struct asking *x = c->state;
	bool any = x->quota.size || x->quota.messages;

	if (!x->ok)
		return cmd_no(c, "[CANNOT] There is no such user, or quotas cannot be had just now.");
	if (!x->set && !any)
		return cmd_no(c, "[NONEXISTENT] There is no such quota root.");
	if (!x->set && !x->quota.measured)
		return cmd_no(c, "[UNAVAILABLE] How much there is cannot be had just now.");
	if (any && x->quota.measured)
		put_quota(c, x->root, &x->quota);
	return cmd_completed(c);
}

/* NULL: the reply is set. */
static struct asking *
ask_about(struct cmd *c, struct span root)
{
	struct user *user = c->s->user;
	struct span name = span_starts(root, SPAN(ROOT "/")) ? span_from(root, sizeof(ROOT "/") - 1) : SPAN_NONE;
	struct asking *x = ARENA_NEW(c->arena, struct asking);

	if (!x) {
		(void)cmd_no(c, "[LIMIT] Command too large.");
		return NULL;
	}
	*x = (struct asking){ .request = { .on_quota = on_quota, .on_done = on_answered }, .c = c, .root = root };
	if (!(span_eq(root, SPAN(ROOT)) ? span_cstr(user->name, x->whose, sizeof x->whose) : acl_identifier(name, user->name, x->whose)) || !user->broker) {
		(void)cmd_no(c, "[NONEXISTENT] There is no such quota root.");
		return NULL;
	}
	c->state = x;
	c->release = asking_release;
	return x;
}

static enum cmd_result
ask(struct cmd *c)
{
	struct asking *x = c->state;

	c->s->user->broker->quota(c->s->user, span_str(x->whose), x->set ? &x->quota : NULL, &x->request);
	return x->answered ? cmd_go(c, answered) : cmd_wait(c, answered);
}

/* ---- commands ---- */

enum cmd_result
cmd_getquota(struct cmd *c)
{
	struct fail why;

	if (c->s->user->quotas && span_starts(c->arg[0], SPAN(ROOT "/")))
		return ask_about(c, c->arg[0]) ? cmd_go(c, ask) : CMD_DONE;
	if (!span_eq(c->arg[0], SPAN(ROOT)) || !limited(c))
		return cmd_no(c, "[NONEXISTENT] There is no such quota root.");
	return put_own(c, &why) ? cmd_completed(c) : cmd_failed(c, &why);
}

/* RFC 9208 4.1.2: the mailbox need not exist. */
enum cmd_result
cmd_getquotaroot(struct cmd *c)
{
	struct fail why;

	buf_put(cmd_out(c), SPAN("* QUOTAROOT "));
	imap_put_mailbox(c->s, cmd_out(c), c->arg[0]);
	buf_put(cmd_out(c), limited(c) ? SPAN(" " ROOT "\r\n") : SPAN("\r\n"));
	return !limited(c) || put_own(c, &why) ? cmd_completed(c) : cmd_failed(c, &why);
}

/* False: one that is not known here, comes twice, or is 0: RFC 9208 3.1.2 would have it forbid
 * everything, and to the user database it is no limit. */
static bool
take_limit(struct broker_quota *q, struct span resource, uint64_t limit)
{
	bool size = span_caseeq(resource, SPAN("STORAGE"));
	uint64_t *to = size ? &q->size : &q->messages;

	if ((!size && !span_caseeq(resource, SPAN("MESSAGE"))) || *to || !limit || (size && limit > INT64_MAX / UNIT))
		return false;
	*to = size ? limit * UNIT : limit;
	return true;
}

/* RFC 9208 4.1.3: what is not in the list has no limit from now on. */
enum cmd_result
cmd_setquota(struct cmd *c)
{
	struct imap_parse *p = &c->parse;
	struct broker_quota wanted = { .size = 0 };
	struct span resource;
	struct asking *x;
	uint64_t limit;
	bool known = true;

	(void)imap_take_char(p, '(');
	for (bool first = true; imap_ok(p) && !imap_try(p, ')'); first = false) {
		if ((!first && !imap_take_sp(p)) || !imap_take_atom(p, &resource) || !imap_take_sp(p) ||
		    !imap_take_u64(p, 0, INT64_MAX, &limit))
			break;
		known = known && take_limit(&wanted, resource, limit);
	}
	if (!imap_ok(p) || !imap_take_end(p))
		return cmd_syntax(c);
	if (!c->s->user->quotas)
		return cmd_no(c, "[NOPERM] Quotas are set by the administrator.");
	if (!known)
		return cmd_no(c, "[CANNOT] What can be set are STORAGE and MESSAGE, each once and not to 0.");
	if (!(x = ask_about(c, c->arg[0])))
		return CMD_DONE;
	x->quota = wanted;
	x->set = true;
	return cmd_go(c, ask);
}
