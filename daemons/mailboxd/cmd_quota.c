/* SPDX-License-Identifier: ISC
 *
 * cmd_quota: GETQUOTA, GETQUOTAROOT, SETQUOTA (RFC 9208).  One root holds all
 * of a user's mailboxes; its limits are the administrator's to set, so QUOTASET
 * is not announced and SETQUOTA says who does it.
 */
#include "daemons/mailboxd/imap.h"

#define ROOT "user"
enum { UNIT = 1024 }; /* of STORAGE (RFC 9208 5.1) */

static bool
put_quota(struct cmd *c, struct fail *why)
{
	struct quota limit = store_quota(cmd_home(c)), used;
	struct buf *out = cmd_out(c);

	if (!store_used(cmd_home(c), &used, why))
		return false;
	buf_put(out, SPAN("* QUOTA " ROOT " ("));
	if (limit.size)
		buf_printf(out, "STORAGE %llu %llu", (unsigned long long)((used.size + UNIT - 1) / UNIT),
		    (unsigned long long)((limit.size + UNIT - 1) / UNIT));
	if (limit.messages)
		buf_printf(out, "%sMESSAGE %llu %llu", limit.size ? " " : "", (unsigned long long)used.messages,
		    (unsigned long long)limit.messages);
	buf_put(out, SPAN(")\r\n"));
	return true;
}

/* Without a limit there is no root at all. */
static bool
limited(struct cmd *c)
{
	struct quota limit = store_quota(cmd_home(c));

	return quota_limited(&limit);
}

enum cmd_result
cmd_getquota(struct cmd *c)
{
	struct fail why;

	if (!span_eq(c->arg[0], SPAN(ROOT)) || !limited(c))
		return cmd_no(c, "[NONEXISTENT] There is no such quota root.");
	return put_quota(c, &why) ? cmd_completed(c) : cmd_failed(c, &why);
}

/* RFC 9208 4.1.2: the mailbox need not exist. */
enum cmd_result
cmd_getquotaroot(struct cmd *c)
{
	struct fail why;

	buf_put(cmd_out(c), SPAN("* QUOTAROOT "));
	imap_put_mailbox(c->s, cmd_out(c), c->arg[0]);
	buf_put(cmd_out(c), limited(c) ? SPAN(" " ROOT "\r\n") : SPAN("\r\n"));
	return !limited(c) || put_quota(c, &why) ? cmd_completed(c) : cmd_failed(c, &why);
}

enum cmd_result
cmd_setquota(struct cmd *c)
{
	struct imap_parse *p = &c->parse;
	struct span resource;
	uint64_t limit;

	(void)imap_take_char(p, '(');
	for (bool first = true; imap_ok(p) && !imap_try(p, ')'); first = false)
		if ((!first && !imap_take_sp(p)) || !imap_take_atom(p, &resource) || !imap_take_sp(p) ||
		    !imap_take_u64(p, 0, INT64_MAX, &limit))
			break;
	if (!imap_ok(p) || !imap_take_end(p))
		return cmd_syntax(c);
	return cmd_no(c, "[NOPERM] Quotas are set by the administrator.");
}
