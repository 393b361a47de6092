/* SPDX-License-Identifier: ISC
 *
 * cmd_folder: CREATE, DELETE, RENAME, SUBSCRIBE, UNSUBSCRIBE, STATUS.
 */
#include "daemons/mailboxd/abroad.h"
#include "daemons/mailboxd/guest.h"
#include "daemons/mailboxd/notify.h"
#include "daemons/mailboxd/objectid.h"
#include "daemons/mailboxd/specialuse.h"
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

/* [SP "(USE (" use *(SP use) "))"] (RFC 6154 3); *known: all of them mean something here. */
static bool
take_uses(struct cmd *c, struct span *uses, bool *known)
{
	struct imap_parse *p = &c->parse;
	struct span use;
	struct buf all;

	*known = true;
	*uses = SPAN_NONE;
	if (imap_at_end(p))
		return true;
	if (!cursor_word(&p->c, SPAN(" (USE (")))
		return imap_bad(p, "Unknown CREATE parameter");
	buf_init(&all, 1000);
	while (!imap_try(p, ')')) {
		if ((buf_len(&all) && !imap_take_sp(p)) || !imap_take_flag(p, &use))
			break;
		*known = *known && specialuse_known(use);
		if (buf_len(&all))
			buf_putc(&all, ' ');
		buf_put(&all, use);
	}
	*uses = arena_dup(c->arena, buf_span(&all));
	*known = *known && buf_ok(&all);
	buf_free(&all);
	return imap_ok(p) && imap_take_char(p, ')') && imap_take_end(p);
}

/* RFC 8474 4.1 */
static enum cmd_result
created(struct cmd *c, struct span name)
{
	struct mailbox_status st;
	struct fail why;
	struct buf id;

	if (!store_status(cmd_home(c), name, &st, &why))
		return cmd_failed(c, &why);
	buf_init(&id, OBJECTID_SIZE);
	objectid_put_mailbox(&id, st.objectid);
	notify_folder(c->s, NOTIFY_CREATED, name, SPAN_NONE);
	c->code = arena_printf(c->arena, "[MAILBOXID %.*s] ", SPAN_ARG(buf_span(&id)));
	buf_free(&id);
	return cmd_completed(c);
}

/* 'k' in the nearest mailbox above (RFC 4314 4). */
static bool
may_make(struct cmd *c, struct span name)
{
	struct span parent;

	if (!c->s->guest)
		return true;
	parent = acl_parent(cmd_home(c), name);
	if (parent.n)
		return imap_permits(c, parent, ACL_CREATE);
	(void)cmd_no(c, "[NOPERM] Permission denied.");
	return false;
}

/* 'x' in the mailbox, and in those below it, which go with it. */
static void
each_below(void *arg, const struct folder *f)
{
	struct cmd *c = arg;
	struct span name = c->arg[0];

	if (f->selectable && span_starts(f->name, name) && f->name.n > name.n && f->name.p[name.n] == '.' &&
	    !(imap_rights(c->s, f->name) & ACL_DELETE))
		c->state = c; /* one that may not */
}

static bool
may_rename(struct cmd *c, struct span from)
{
	struct fail why;

	if (!c->s->guest)
		return true;
	if (!imap_permits(c, from, ACL_DELETE))
		return false;
	if (!is_inbox(from) && store_list(cmd_home(c), each_below, c, &why) && !c->state)
		return true;
	(void)cmd_no(c, "[NOPERM] Permission denied.");
	return false;
}

enum cmd_result
cmd_create(struct cmd *c)
{
	struct span name = without_delimiter(c->arg[0]), uses;
	struct fail why;
	bool known;

	if (!take_uses(c, &uses, &known))
		return cmd_syntax(c);
	if (!may_make(c, name))
		return CMD_DONE;
	if (uses.n && c->s->guest)
		return cmd_no(c, "[NOPERM] What it is for is its owner's to say.");
	if (store_exists(cmd_home(c), name))
		return cmd_no(c, "[ALREADYEXISTS] Mailbox already exists");
	if (!name_valid(name))
		return cmd_no(c, "[CANNOT] Invalid mailbox name");
	if (!known)
		return cmd_no(c, "[USEATTR] A special use that is not known here.");
	if (!acl_sweep(cmd_home(c), &why) || !store_create(cmd_home(c), name, &why) || !acl_inherit(cmd_home(c), name, &why))
		return cmd_failed(c, &why);
	if (uses.n && !metadata_set(cmd_home(c), name, &(struct metadata_change){ SPAN(METADATA_SPECIALUSE), uses }, 1, &why))
		return cmd_failed(c, &why);
	return created(c, name);
}

enum cmd_result
cmd_delete(struct cmd *c)
{
	struct span name = c->arg[0];
	struct fail why;

	if (is_inbox(name))
		return cmd_no(c, "[CANNOT] INBOX can't be deleted.");
	if (!imap_permits(c, name, ACL_DELETE))
		return CMD_DONE;
	if (!store_exists(cmd_home(c), name))
		return no_such(c, name);
	guest_evict(c->s, name);
	notify_leave(c->s, name);
	if (!store_delete(cmd_home(c), name, &why)) {
		notify_again(c->s);
		return cmd_failed(c, &why);
	}
	notify_folder(c->s, NOTIFY_DELETED, name, SPAN_NONE);
	return cmd_completed(c);
}

enum cmd_result
cmd_rename(struct cmd *c)
{
	struct span from = c->arg[0], to = without_delimiter(c->arg[1]);
	struct fail why;

	if (!may_rename(c, from) || !may_make(c, to))
		return CMD_DONE;
	if (!store_exists(cmd_home(c), from))
		return no_such(c, from);
	if (store_exists(cmd_home(c), to))
		return cmd_no(c, "[ALREADYEXISTS] Target mailbox already exists");
	if (!name_valid(to))
		return cmd_no(c, "[CANNOT] Invalid mailbox name");
	if (!acl_sweep(cmd_home(c), &why))
		return cmd_failed(c, &why);
	guest_evict(c->s, from);
	notify_leave(c->s, from);
	if (!store_rename(cmd_home(c), from, to, &why)) {
		notify_again(c->s);
		return cmd_failed(c, &why);
	}
	if (is_inbox(from)) /* RFC 5465 5.4: there is an INBOX as before */
		notify_folder(c->s, NOTIFY_CREATED, to, SPAN_NONE);
	else
		notify_folder(c->s, NOTIFY_RENAMED, to, from);
	return cmd_completed(c);
}

/* What is another user's is subscribed here, and need not exist (RFC 4314 4). */
static enum cmd_result
subscribe_abroad(struct cmd *c, bool on)
{
	struct metadata_change change = { SPAN(METADATA_SUBSCRIBED), on ? SPAN("") : SPAN_NONE };
	struct fail why;

	if (c->arg[0].n > STORE_NAME_MAX || span_chr(c->arg[0], '\t') != SIZE_MAX || span_chr(c->arg[0], '\n') != SIZE_MAX)
		return cmd_no(c, "[CANNOT] Invalid mailbox name");
	return metadata_set(cmd_home(c), c->arg[0], &change, 1, &why) ? cmd_completed(c) : cmd_failed(c, &why);
}

enum cmd_result
cmd_subscribe(struct cmd *c)
{
	bool on = span_caseeq(c->def->name, SPAN("SUBSCRIBE"));
	struct fail why;

	if (abroad_name(c->s, c->arg[0]))
		return subscribe_abroad(c, on);
	if (!name_valid(c->arg[0]))
		return cmd_no(c, "[CANNOT] Invalid mailbox name");
	if (!store_subscribe(cmd_home(c), c->arg[0], on, &why))
		return cmd_failed(c, &why);
	notify_folder(c->s, NOTIFY_SUBSCRIBED, c->arg[0], SPAN_NONE);
	return cmd_completed(c);
}

enum cmd_result
cmd_status(struct cmd *c)
{
	struct mailbox_status st;
	struct fail why;
	unsigned items;

	if (!status_parse(&c->parse, &items) || !imap_take_end(&c->parse))
		return cmd_syntax(c);
	if (!imap_permits(c, c->arg[0], ACL_READ))
		return CMD_DONE;
	if (!store_exists(cmd_home(c), c->arg[0]))
		return no_such(c, c->arg[0]);
	if (!store_status(cmd_home(c), c->arg[0], &st, &why))
		return cmd_failed(c, &why);
	status_put(c->s, c->arg[0], items, &st);
	return cmd_completed(c);
}
