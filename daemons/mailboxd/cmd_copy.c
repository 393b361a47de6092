/* SPDX-License-Identifier: ISC
 *
 * cmd_copy: COPY and MOVE (RFC 3501 6.4.7, RFC 6851), with COPYUID (RFC 4315 3).
 */
#include "daemons/mailboxd/guest.h"

struct copying {
	struct mailbox_op op;
	struct cmd *c;
	struct uidset uids;
	bool move, done;
	struct span copyuid; /* the response code, in the arena; empty when nothing was copied */
};

static void
note_copyuid(struct copying *x)
{
	struct buf b;

	if (!x->op.ok || uidset_empty(&x->op.to))
		return;
	buf_init(&b, 4 << 20);
	buf_printf(&b, "[COPYUID %u ", (unsigned)x->op.uidvalidity);
	uidset_text(&x->op.from, &b);
	buf_putc(&b, ' ');
	uidset_text(&x->op.to, &b);
	buf_put(&b, SPAN("] "));
	if (buf_ok(&b))
		x->copyuid = arena_dup(x->c->arena, buf_span(&b));
	buf_free(&b);
}

/* RFC 4314 4: flags that this user may not set are not copied. */
static void
drop_flags(struct cmd *c, const struct uidset *uids)
{
	unsigned rights = imap_rights(c->s, c->arg[1]);
	struct flag_change change = { .op = FLAGS_REMOVE, .flags = (uint8_t)(acl_flags(ACL_ALL) & ~acl_flags(rights)),
		.keywords = rights & ACL_WRITE ? 0 : UINT64_MAX, .unchanged_since = UINT64_MAX };
	struct view v = { .owner = NULL };

	if ((rights & ACL_FLAGS) == ACL_FLAGS || uidset_empty(uids) || !view_open(&v, cmd_home(c), c->arg[1], true, NULL))
		return;
	(void)mailbox_flags(&v, uids, &change, NULL, NULL);
	view_close(&v);
}

static void
on_copied(struct mailbox_op *op)
{
	struct copying *x = OWNER_OF(op, struct copying, op);

	note_copyuid(x);
	if (op->ok && x->c->s->guest)
		drop_flags(x->c, &op->to);
	x->done = true;
	cmd_wake(x->c);
}

static enum cmd_result
copied(struct cmd *c)
{
	struct copying *x = c->state;

	if (!x->op.ok)
		return cmd_failed(c, &x->op.why);
	if (x->copyuid.n && x->move) { /* RFC 6851 4.3: before the EXPUNGEs, so untagged */
		buf_put(cmd_out(c), SPAN("* OK "));
		buf_put(cmd_out(c), x->copyuid);
		buf_put(cmd_out(c), SPAN("Copied UIDs.\r\n"));
	} else {
		c->code = x->copyuid;
	}
	if (x->move && (c->s->enabled & ENABLED_QRESYNC))
		c->code = arena_printf(c->arena, "[HIGHESTMODSEQ %llu] ", (unsigned long long)mailbox_modseq(cmd_view(c)->mailbox));
	return cmd_completed(c);
}

static void
copy_release(struct cmd *c)
{
	struct copying *x = c->state;

	uidset_free(&x->uids);
}

enum cmd_result
cmd_copy(struct cmd *c)
{
	struct copying *x = ARENA_NEW(c->arena, struct copying);

	if (!x)
		return cmd_no(c, "[LIMIT] Command too large.");
	x->move = span_caseeq(c->def->name, SPAN("MOVE"));
	if (x->move && (~c->s->rights & (ACL_MARK | ACL_EXPUNGE))) /* RFC 6851 4.2 */
		return cmd_no(c, "[NOPERM] Permission denied.");
	if (!command_may(c) || !imap_permits(c, c->arg[1], ACL_INSERT))
		return CMD_DONE;
	if (!store_exists(cmd_home(c), c->arg[1]))
		return cmd_no(c, "[TRYCREATE] Mailbox doesn't exist: %.*s", SPAN_ARG(c->arg[1]));
	uidset_init(&x->uids);
	c->state = x;
	c->release = copy_release;
	if (!view_uids(cmd_view(c), &c->seqs, &x->uids))
		return cmd_no(c, "[LIMIT] Too many messages.");
	if (uidset_empty(&x->uids))
		return cmd_ok(c, "No messages found.");
	x->c = c;
	x->op.on_done = on_copied;
	mailbox_copy(cmd_view(c), &x->uids, c->arg[1], x->move, &x->op);
	return x->done ? copied(c) : cmd_wait(c, copied);
}
