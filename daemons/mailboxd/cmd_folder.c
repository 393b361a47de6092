/* SPDX-License-Identifier: ISC
 *
 * cmd_folder: CREATE, DELETE, RENAME, SUBSCRIBE, UNSUBSCRIBE, STATUS.
 */
#include "daemons/mailboxd/imap.h"
#include "daemons/mailboxd/status.h"
#include "store/name.h"

static bool
is_inbox(struct span name)
{
	return span_eq(name, SPAN("INBOX"));
}

/* A trailing delimiter says that inferiors are meant to follow (RFC 3501 6.3.3). */
static struct span
without_delimiter(struct span name)
{
	if (name.n > 1 && name.p[name.n - 1] == '.')
		name.n--;
	return name_fold(name);
}

static enum cmd_result
no_such(struct cmd *c, struct span name)
{
	return cmd_no(c, "[NONEXISTENT] Mailbox doesn't exist: %.*s", SPAN_ARG(name));
}

enum cmd_result
cmd_create(struct cmd *c)
{
	struct span name = without_delimiter(c->arg[0]);
	struct fail why;

	if (!imap_take_end(&c->parse))
		return cmd_syntax(c);
	if (store_exists(cmd_home(c), name))
		return cmd_no(c, "[ALREADYEXISTS] Mailbox already exists");
	if (!name_valid(name))
		return cmd_no(c, "[CANNOT] Invalid mailbox name");
	return store_create(cmd_home(c), name, &why) ? cmd_completed(c) : cmd_failed(c, &why);
}

enum cmd_result
cmd_delete(struct cmd *c)
{
	struct span name = c->arg[0];
	struct fail why;

	if (is_inbox(name))
		return cmd_no(c, "[CANNOT] INBOX can't be deleted.");
	if (!store_exists(cmd_home(c), name))
		return no_such(c, name);
	return store_delete(cmd_home(c), name, &why) ? cmd_completed(c) : cmd_failed(c, &why);
}

enum cmd_result
cmd_rename(struct cmd *c)
{
	struct span from = c->arg[0], to = without_delimiter(c->arg[1]);
	struct fail why;

	if (!store_exists(cmd_home(c), from))
		return no_such(c, from);
	if (store_exists(cmd_home(c), to))
		return cmd_no(c, "[ALREADYEXISTS] Target mailbox already exists");
	if (!name_valid(to))
		return cmd_no(c, "[CANNOT] Invalid mailbox name");
	return store_rename(cmd_home(c), from, to, &why) ? cmd_completed(c) : cmd_failed(c, &why);
}

enum cmd_result
cmd_subscribe(struct cmd *c)
{
	bool on = span_caseeq(c->def->name, SPAN("SUBSCRIBE"));
	struct fail why;

	if (!name_valid(c->arg[0]))
		return cmd_no(c, "[CANNOT] Invalid mailbox name");
	return store_subscribe(cmd_home(c), c->arg[0], on, &why) ? cmd_completed(c) : cmd_failed(c, &why);
}

enum cmd_result
cmd_status(struct cmd *c)
{
	struct mailbox_status st;
	struct fail why;
	unsigned items;

	if (!status_parse(&c->parse, &items) || !imap_take_end(&c->parse))
		return cmd_syntax(c);
	if (!store_exists(cmd_home(c), c->arg[0]))
		return no_such(c, c->arg[0]);
	if (!store_status(cmd_home(c), c->arg[0], &st, &why))
		return cmd_failed(c, &why);
	status_put(c->s, c->arg[0], items, &st);
	return cmd_completed(c);
}
