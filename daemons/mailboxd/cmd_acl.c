/* SPDX-License-Identifier: ISC
 *
 * cmd_acl: SETACL, DELETEACL, GETACL, LISTRIGHTS, MYRIGHTS (RFC 4314 3).
 *
 * The broker knows of a user who has rights before the mailbox's list does, and
 * of one who has none any more after it: so who is on a list can always ask.
 */
#include <string.h>

#include "daemons/mailboxd/guest.h"

struct setting {
	struct broker_request request;
	struct cmd *c;
	char who[ACL_IDENTIFIER + 1];
	enum flag_op op;
	unsigned rights;
	bool answered, ok;
};

/* The mailbox, and 'a' in it. */
static bool
may_administer(struct cmd *c)
{
	if (!imap_permits(c, c->arg[0], ACL_ADMIN))
		return false;
	if (store_exists(cmd_home(c), c->arg[0]))
		return true;
	(void)cmd_no(c, "[NONEXISTENT] Mailbox doesn't exist: %.*s", SPAN_ARG(c->arg[0]));
	return false;
}

static bool
is_owner(const struct cmd *c, const char *who)
{
	return span_caseeq(span_str(who), c->s->user->name);
}

static void
on_answered(struct broker_request *r, bool ok, int fd, struct span why)
{
	struct setting *x = OWNER_OF(r, struct setting, request);

	(void)fd, (void)why;
	x->answered = true;
	x->ok = ok;
	cmd_wake(x->c);
}

static enum cmd_result
set_completed(struct cmd *c)
{
	return cmd_completed(c);
}

static enum cmd_result
change(struct cmd *c)
{
	struct setting *x = c->state;
	struct user *user = c->s->user;
	struct fail why;

	if (x->answered && !x->ok)
		return cmd_no(c, "[UNAVAILABLE] Sharing is not possible just now, or with so many.");
	if (!store_exists(cmd_home(c), c->arg[0])) /* meanwhile */
		return cmd_no(c, "[NONEXISTENT] Mailbox doesn't exist.");
	if (!acl_change(cmd_home(c), c->arg[0], span_str(x->who), x->op, x->rights, &why))
		return cmd_failed(c, &why);
	if (x->answered || !user->broker || acl_names(cmd_home(c), span_str(x->who)))
		return cmd_completed(c);
	user->broker->share(user, span_str(x->who), false, &x->request); /* a stale entry there gives nobody a right */
	return x->answered ? cmd_completed(c) : cmd_wait(c, set_completed);
}

static void
setting_release(struct cmd *c)
{
	struct setting *x = c->state;

	broker_cancel(&x->request);
}

/* RFC 4314 3.1: "+rights", "-rights", or just these. */
static bool
take_modification(struct setting *x, struct span text)
{
	x->op = FLAGS_SET;
	if (text.n && (text.p[0] == '+' || text.p[0] == '-')) {
		x->op = text.p[0] == '+' ? FLAGS_ADD : FLAGS_REMOVE;
		text = span_from(text, 1);
	}
	return acl_take_rights(text, &x->rights);
}

/* What the owner's rights are is no setting. */
static enum cmd_result
set_owner(struct cmd *c, const struct setting *x)
{
	bool all = (x->op == FLAGS_ADD) || (x->op == FLAGS_SET && x->rights == ACL_ALL) || (x->op == FLAGS_REMOVE && !x->rights);

	return all ? cmd_completed(c) : cmd_no(c, "[CANNOT] The owner has every right.");
}

enum cmd_result
cmd_setacl(struct cmd *c)
{
	bool set = span_caseeq(c->def->name, SPAN("SETACL"));
	struct setting *x = ARENA_NEW(c->arena, struct setting);
	struct user *user = c->s->user;

	if (!x)
		return cmd_no(c, "[LIMIT] Command too large.");
	x->c = c;
	x->request.on_done = on_answered;
	c->state = x;
	c->release = setting_release;
	if (set && !take_modification(x, c->arg[2]))
		return cmd_bad(c, "There is no such right.");
	if (!may_administer(c))
		return CMD_DONE;
	if (!acl_identifier(c->arg[1], user->name, x->who))
		return cmd_no(c, "[CANNOT] Rights are given to users and to anyone, and never negative.");
	if (!set)
		x->op = FLAGS_SET;
	if (is_owner(c, x->who))
		return set_owner(c, x);
	if (!user->broker || x->op == FLAGS_REMOVE || !x->rights)
		return cmd_go(c, change);
	user->broker->share(user, span_str(x->who), true, &x->request);
	return x->answered ? cmd_go(c, change) : cmd_wait(c, change);
}

static void
put_identifier(struct cmd *c, struct span identifier)
{
	imap_put_astring(cmd_out(c), acl_short(identifier, c->s->user->name));
}

static void
each_right(void *arg, struct span identifier, unsigned rights)
{
	struct cmd *c = arg;

	buf_putc(cmd_out(c), ' ');
	put_identifier(c, identifier);
	buf_putc(cmd_out(c), ' ');
	acl_put_rights(cmd_out(c), rights);
}

enum cmd_result
cmd_getacl(struct cmd *c)
{
	struct fail why;
	bool ok;

	if (!may_administer(c))
		return CMD_DONE;
	buf_put(cmd_out(c), SPAN("* ACL "));
	imap_put_mailbox(c->s, cmd_out(c), c->arg[0]);
	each_right(c, c->s->user->name, ACL_ALL);
	ok = acl_each(cmd_home(c), c->arg[0], each_right, c, &why);
	buf_put(cmd_out(c), SPAN("\r\n"));
	return ok ? cmd_completed(c) : cmd_failed(c, &why);
}

/* RFC 4314 3.7: each optional right stands alone, for none is tied to another. */
enum cmd_result
cmd_listrights(struct cmd *c)
{
	struct buf *out = cmd_out(c), letters;
	char who[ACL_IDENTIFIER + 1];

	if (!may_administer(c))
		return CMD_DONE;
	if (!acl_identifier(c->arg[1], c->s->user->name, who))
		return cmd_no(c, "[CANNOT] Rights are given to users and to anyone, and never negative.");
	buf_init(&letters, 64);
	acl_put_rights(&letters, ACL_ALL);
	buf_put(out, SPAN("* LISTRIGHTS "));
	imap_put_mailbox(c->s, out, c->arg[0]);
	buf_putc(out, ' ');
	imap_put_astring(out, c->arg[1]);
	buf_putc(out, ' ');
	if (is_owner(c, who)) {
		buf_put(out, buf_span(&letters));
	} else {
		buf_put(out, SPAN("\"\""));
		for (size_t i = 0; i < buf_len(&letters); i++) {
			buf_putc(out, ' ');
			buf_putc(out, buf_span(&letters).p[i]);
		}
	}
	buf_put(out, SPAN("\r\n"));
	buf_free(&letters);
	return cmd_completed(c);
}

enum cmd_result
cmd_myrights(struct cmd *c)
{
	unsigned rights = imap_rights(c->s, c->arg[0]);

	if (!store_exists(cmd_home(c), c->arg[0]) || !(rights & (ACL_LOOKUP | ACL_READ | ACL_INSERT | ACL_CREATE | ACL_DELETE | ACL_ADMIN)))
		return cmd_no(c, "[NONEXISTENT] Mailbox doesn't exist.");
	acl_put_mine(c->s, c->arg[0], rights);
	return cmd_completed(c);
}

void
acl_put_mine(struct imap *s, struct span folder, unsigned rights)
{
	struct buf *out = &s->base.out.mem;

	buf_put(out, SPAN("* MYRIGHTS "));
	imap_put_mailbox(s, out, folder);
	buf_putc(out, ' ');
	acl_put_rights(out, rights);
	buf_put(out, SPAN("\r\n"));
}
