/* SPDX-License-Identifier: ISC
 *
 * command: the command table, the walk over a row's argument shape, replies.
 */
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "daemons/mailboxd/guest.h"
#include "mail/charset.h"
#include "mail/status.h"
#include "store/name.h"

#define ANY (STATE_AUTH | STATE_SELECTED | STATE_AWAY)
#define AUTH (STATE_AUTH | STATE_SELECTED | STATE_AWAY)
#define SELECTED (STATE_SELECTED | STATE_AWAY)

static const struct command commands[] = {
#define COMMAND(name, states, shape, flags, handler, section) { SPAN_INIT(#name), states, shape, flags, handler, section },
#include "daemons/mailboxd/commands.def"
#undef COMMAND
};

#undef ANY
#undef AUTH
#undef SELECTED

const struct command *
command_find(struct span name, bool uid)
{
	for (size_t i = 0; i < sizeof commands / sizeof *commands; i++) {
		const struct command *c = &commands[i];
		struct span bare = c->name;

		if (c->flags & CMD_UIDONLY) {
			bare = span_from(bare, sizeof "UID " - 1);
			if (!uid)
				continue;
		} else if (uid && !(c->flags & CMD_UID)) {
			continue;
		}
		if (span_caseeq(bare, name))
			return c;
	}
	return NULL;
}

static bool
take_mailbox(struct cmd *c, struct span *out)
{
	if (!imap_take_astring(&c->parse, out))
		return imap_bad(&c->parse, "Expected a mailbox name");
	*out = imap_mailbox_name(c->s, *out);
	return imap_ok(&c->parse);
}

/* ---- names of folders ---- */

struct span
imap_disk_name(struct imap *s, struct span name)
{
	struct buf disk;
	struct span out;

	if (!(s->enabled & ENABLED_UTF8) || !name.n)
		return s->guest ? name : name_fold(name);
	buf_init(&disk, BOUND_MAILBOX_NAME * 4);
	out = name_from_utf8(name, &disk) ? arena_dup(&s->arena, buf_span(&disk)) : SPAN("&"); /* what no folder is called */
	buf_free(&disk);
	return s->guest ? out : name_fold(out);
}

struct span
imap_mailbox_name(struct imap *s, struct span name)
{
	struct span out = imap_disk_name(s, name);

	return s->guest ? guest_inward(s, out) : out;
}

void
imap_outward_name(const struct imap *s, struct buf *out, struct span name)
{
	struct buf disk;

	buf_init(&disk, BOUND_MAILBOX_NAME * 4);
	if (s->guest)
		guest_outward(s, &disk, name);
	else
		buf_put(&disk, name);
	if (s->enabled & ENABLED_UTF8)
		(void)name_to_utf8(buf_span(&disk), out);
	else
		buf_put(out, buf_span(&disk));
	buf_free(&disk);
}

static void
put_quoted(struct buf *out, struct span text)
{
	buf_putc(out, '"');
	for (size_t i = 0; i < text.n; i++) {
		if (text.p[i] == '"' || text.p[i] == '\\')
			buf_putc(out, '\\');
		buf_putc(out, text.p[i]);
	}
	buf_putc(out, '"');
}

void
imap_put_mailbox(const struct imap *s, struct buf *out, struct span name)
{
	struct buf outward;

	buf_init(&outward, BOUND_MAILBOX_NAME * 4);
	imap_outward_name(s, &outward, name);
	if ((s->enabled & ENABLED_UTF8) && utf8_has_8bit(buf_span(&outward))) /* quoted strings may hold it (RFC 6855 3) */
		put_quoted(out, buf_span(&outward));
	else
		imap_put_astring(out, buf_span(&outward));
	buf_free(&outward);
}

static bool
is_set_char(char ch)
{
	return ascii_digit(ch) || ch == ':' || ch == ',' || ch == '*';
}

static bool
take_set(struct cmd *c, struct span *out)
{
	size_t at = c->parse.c.at;

	if (!c->uid && (c->s->enabled & ENABLED_UIDONLY))
		return imap_uid_required(c);
	if (cursor_peek(&c->parse.c) == '$' && imap_try(&c->parse, '$'))
		*out = span_sub(c->parse.c.in, at, 1);
	else
		*out = cursor_while(&c->parse.c, is_set_char);
	if (!out->n)
		return imap_bad(&c->parse, "Expected a message set");
	return command_set(c, *out);
}

/* UIDs to the sequence numbers they have in this view.  False: they found no memory. */
static bool
uids_to_seqs(struct cmd *c, struct view *v, const struct uidset *uids)
{
	for (size_t i = 0; i < uids->n; i++) {
		uint32_t lo = view_seq_from(v, uids->ranges[i].lo), hi = view_count(v);

		if (uids->ranges[i].hi < UINT32_MAX)
			hi = view_seq_from(v, uids->ranges[i].hi + 1) - 1;
		if (lo <= hi)
			uidset_add(&c->seqs, lo, hi);
	}
	return !c->seqs.failed || imap_bad(&c->parse, "No memory for so many ranges");
}

bool
command_set(struct cmd *c, struct span text)
{
	struct view *v = cmd_view(c);
	uint32_t count = view_count(v);
	struct uidset uids;
	bool ok;

	uidset_clear(&c->seqs);
	if (c->s->state == STATE_AWAY) /* the numbers are another's to know */
		return true;
	if (span_eq(text, SPAN("$"))) /* RFC 5182 2.1: also where it stands for nothing */
		return uids_to_seqs(c, v, &c->s->saved);
	if (!c->uid) {
		/* RFC 9051 9: numbers that are not in use, "*" in an empty mailbox too */
		if (!count || !uidset_parse(&c->seqs, text, count) || c->seqs.ranges[c->seqs.n - 1].hi > count)
			return imap_bad(&c->parse, "Invalid message set");
		return true;
	}
	uidset_init(&uids);
	if (uidset_parse(&uids, text, count ? view_uid(v, count) : 1))
		ok = !count || uids_to_seqs(c, v, &uids);
	else
		ok = imap_bad(&c->parse, "Invalid UID set");
	uidset_free(&uids);
	return ok;
}

enum cmd_result
command_too_many(struct cmd *c)
{
	c->code = SPAN_NONE;
	return cmd_no(c, "[MESSAGELIMIT %llu] Too many messages at once, try fewer.", (unsigned long long)c->s->user->at_once);
}

/* RFC 9738 3.1: all or nothing, where half of it would be hard to go on with. */
bool
command_may(struct cmd *c)
{
	uint64_t most = c->s->user->at_once;

	if (!most || uidset_count(&c->seqs) <= most)
		return true;
	(void)command_too_many(c);
	return false;
}

bool
command_cut(struct cmd *c)
{
	uint64_t most = c->s->user->at_once, count = most ? uidset_count(&c->seqs) : 0;
	struct uidset all = c->seqs;
	bool ok;

	if (count <= most)
		return true;
	uidset_init(&c->seqs);
	uidset_add_slice(&c->seqs, &all, count - most, most);
	uidset_free(&all);
	ok = !c->seqs.failed && !uidset_empty(&c->seqs);
	if (ok) /* RFC 9738 4: and the lowest UID that was told of */
		c->code = arena_printf(c->arena, "[MESSAGELIMIT %llu %u] ", (unsigned long long)most, (unsigned)view_uid(cmd_view(c), c->seqs.ranges[0].lo));
	return ok && c->code.n;
}

bool
command_args(struct cmd *c)
{
	size_t n = 0;

	for (const char *s = c->def->shape; *s; s++) {
		struct span *arg = &c->arg[n];

		switch (*s) {
		case ' ': (void)imap_take_sp(&c->parse); continue;
		case '*': return imap_ok(&c->parse);
		case 'm': (void)take_mailbox(c, arg); break;
		case 'a': (void)imap_take_astring(&c->parse, arg); break;
		case 's': (void)take_set(c, arg); break;
		default: return imap_bad(&c->parse, "Command cannot be parsed");
		}
		if (!imap_ok(&c->parse))
			return false;
		n++;
	}
	return imap_take_end(&c->parse);
}

static enum cmd_result
reply(struct cmd *c, enum cmd_status status, const char *fmt, va_list ap)
{
	c->status = status;
	(void)vsnprintf(c->text, sizeof c->text, fmt, ap);
	return CMD_DONE;
}

#define REPLY(name, status)                       \
	enum cmd_result                           \
	name(struct cmd *c, const char *fmt, ...) \
	{                                         \
		va_list ap;                       \
                                                  \
		va_start(ap, fmt);                \
		(void)reply(c, status, fmt, ap);  \
		va_end(ap);                       \
		return CMD_DONE;                  \
	}
REPLY(cmd_ok, CMD_OK)
REPLY(cmd_no, CMD_NO)
REPLY(cmd_bad, CMD_BAD)
#undef REPLY

enum cmd_result
cmd_completed(struct cmd *c)
{
	bool prefixed = c->uid && !(c->def->flags & CMD_UIDONLY);

	return cmd_ok(c, "%s%.*s completed.", prefixed ? "UID " : "", SPAN_ARG(c->def->name));
}

enum cmd_result
cmd_failed(struct cmd *c, const struct fail *why)
{
	const char *code = why->status == STATUS_MAILBOX_FULL ? "[OVERQUOTA] " : why->class == FAIL_LIMIT ? "[LIMIT] " : why->class == FAIL_PERM ? "[CANNOT] " : "[UNAVAILABLE] ";

	return cmd_no(c, "%s%s", code, why->text);
}

bool
imap_uid_required(struct cmd *c)
{
	c->code = SPAN("[UIDREQUIRED] ");
	return imap_bad(&c->parse, "Message numbers are not in use here");
}

enum cmd_result
cmd_syntax(struct cmd *c)
{
	return cmd_bad(c, "%s.", c->parse.bad ? c->parse.bad : "Syntax error");
}

enum cmd_result
cmd_go(struct cmd *c, enum cmd_result (*step)(struct cmd *))
{
	c->step = step;
	return step(c);
}

enum cmd_result
cmd_later(struct cmd *c, enum cmd_result (*step)(struct cmd *))
{
	c->step = step;
	return CMD_MORE;
}

void
cmd_progress(struct cmd *c, uint64_t done, uint64_t goal)
{
	const struct user *user = c->s->user;
	int64_t now = loop_now_ms(user->loop);
	bool plain = span_chr(c->tag, ']') == SIZE_MAX; /* a code ends with it */

	if (!c->spoke_ms && user->progress_ms) {
		c->spoke_ms = now;
		return;
	}
	if (now - c->spoke_ms < user->progress_ms || done >= goal)
		return;
	c->spoke_ms = now;
	buf_put(cmd_out(c), SPAN("* OK [INPROGRESS ("));
	if (plain)
		imap_put_string(cmd_out(c), c->tag);
	else
		buf_put(cmd_out(c), SPAN("NIL"));
	buf_printf(cmd_out(c), " %llu %llu)] Working on it.\r\n", (unsigned long long)done, (unsigned long long)goal);
}

enum cmd_result
cmd_wait(struct cmd *c, enum cmd_result (*then)(struct cmd *))
{
	c->step = then;
	c->s->base.waiting = true;
	return CMD_WAIT;
}

void
cmd_wake(struct cmd *c)
{
	c->s->base.waiting = false;
	session_wake(&c->s->base);
}

/* ---- what has been removed does not come back ---- */

static void
on_confirmed(struct mailbox_op *op)
{
	struct cmd *c = OWNER_OF(op, struct cmd, confirm);

	c->confirmed = true;
	cmd_wake(c);
}

static enum cmd_result
confirmed(struct cmd *c)
{
	if (c->confirm.ok)
		return cmd_completed(c);
	c->code = SPAN_NONE;
	return cmd_failed(c, &c->confirm.why);
}

enum cmd_result
cmd_durable(struct cmd *c)
{
	c->confirmed = false;
	c->confirm.on_done = on_confirmed;
	mailbox_confirm(cmd_view(c), &c->confirm);
	return c->confirmed ? confirmed(c) : cmd_wait(c, confirmed);
}
