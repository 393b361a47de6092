/* SPDX-License-Identifier: ISC
 *
 * COPY and MOVE from one's own mailbox into another user's (an APPEND there,
 * all or none), and COPY from there into one's own (a FETCH there, then as
 * APPEND here). A message passes through this process and through no other's.
 */
#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "daemons/mailboxd/flags.h"
#include "daemons/mailboxd/going.h"
#include "mail/date.h"

enum { BLOCK = 16 << 10, LINE_MAX_IN = 64 << 10, COPYUID_MAX = 1 << 20 };

struct carrying {
	struct going going;    /* the command's state */
	bool move;
	/* out */
	struct uidset uids;    /* here */
	uint64_t at;           /* which of them */
	struct content content;
	bool open;
	uint64_t done;         /* octets of it */
	/* in */
	struct span folder;
	struct append *all[BOUND_APPENDS];
	size_t n;
	struct uidset from;    /* there */
	uint32_t last;
	uint64_t left;         /* octets of the present message to come */
	bool behind;           /* the end of its response is to come */
	bool failed;           /* why; what still comes is thrown away */
	struct fail why;
	struct mailbox_op op;
	bool committed;
};

static struct carrying *
carrying_of(struct cmd *c)
{
	return OWNER_OF((struct going *)c->state, struct carrying, going);
}

static void
close_content(struct carrying *x)
{
	if (x->open)
		content_close(&x->content);
	x->open = false;
}

static void
carrying_release(struct cmd *c)
{
	struct carrying *x = carrying_of(c);

	close_content(x);
	for (size_t i = 0; i < x->n; i++)
		append_abort(&x->all[i]);
	x->n = 0;
	uidset_free(&x->uids);
	uidset_free(&x->from);
}

static struct carrying *
carrying_new(struct cmd *c)
{
	struct carrying *x = ARENA_NEW(c->arena, struct carrying);

	if (!x || !going_init(c, &x->going))
		return NULL;
	uidset_init(&x->uids);
	uidset_init(&x->from);
	x->move = span_caseeq(c->def->name, SPAN("MOVE"));
	c->release = carrying_release;
	return x;
}

static struct span
copyuid(struct cmd *c, uint32_t validity, const struct uidset *from, const struct uidset *to)
{
	struct span code = SPAN_NONE;
	struct buf b;

	buf_init(&b, COPYUID_MAX);
	buf_printf(&b, "[COPYUID %u ", (unsigned)validity);
	uidset_text(from, &b);
	buf_putc(&b, ' ');
	uidset_text(to, &b);
	buf_put(&b, SPAN("] "));
	if (buf_ok(&b) && uidset_count(from) == uidset_count(to))
		code = arena_dup(c->arena, buf_span(&b));
	buf_free(&b);
	return code;
}

/* ---- out ---- */

/* "[APPENDUID validity set] text" of the far side. */
static struct span
copyuid_of_append(struct cmd *c, const struct carrying *x, struct span text)
{
	struct span word, code = SPAN_NONE;
	struct uidset to;
	uint64_t validity;

	uidset_init(&to);
	if (span_eq(span_word(&text), SPAN("[APPENDUID")) && span_u64(span_word(&text), UINT32_MAX, &validity)) {
		word = span_word(&text);
		if (word.n > 1 && word.p[word.n - 1] == ']' && uidset_parse(&to, span_sub(word, 0, word.n - 1), 0))
			code = copyuid(c, (uint32_t)validity, &x->uids, &to);
	}
	uidset_free(&to);
	return code;
}

static enum cmd_result
carried_out(struct cmd *c, bool ok)
{
	struct carrying *x = carrying_of(c);
	struct span code;
	struct fail why;

	if (!ok || c->status != CMD_OK)
		return CMD_DONE;
	code = copyuid_of_append(c, x, c->code);
	c->code = SPAN_NONE;
	if (x->move) { /* RFC 6851 4.3; it is there, so it may go here */
		if (code.n) {
			buf_put(cmd_out(c), SPAN("* OK "));
			buf_put(cmd_out(c), code);
			buf_put(cmd_out(c), SPAN("Copied UIDs.\r\n"));
		}
		if (!mailbox_remove(cmd_view(c), &x->uids, &why))
			return cmd_failed(c, &why);
		if (c->s->enabled & ENABLED_QRESYNC)
			c->code = arena_printf(c->arena, "[HIGHESTMODSEQ %llu] ", (unsigned long long)mailbox_modseq(cmd_view(c)->mailbox));
		return cmd_durable(c);
	}
	c->code = code;
	return cmd_completed(c);
}

static void
put_flags(struct cmd *c, struct buf *out, const struct message *m)
{
	static const struct {
		unsigned bit;
		const char *name;
	} names[] = { { FLAG_ANSWERED, "\\Answered " }, { FLAG_FLAGGED, "\\Flagged " }, { FLAG_DELETED, "\\Deleted " }, { FLAG_SEEN, "\\Seen " }, { FLAG_DRAFT, "\\Draft " } };
	struct buf list;

	buf_init(&list, MAILBOX_KEYWORDS_MAX * (MAILBOX_KEYWORD_LEN + 1) + 200);
	for (size_t i = 0; i < sizeof names / sizeof *names; i++)
		if (m->flags & names[i].bit)
			buf_puts(&list, names[i].name);
	for (uint64_t left = m->keywords; left; left &= left - 1) {
		buf_put(&list, mailbox_keyword(cmd_view(c)->mailbox, (unsigned)__builtin_ctzll(left)));
		buf_putc(&list, ' ');
	}
	buf_put(out, SPAN(" ("));
	buf_put(out, span_trim(buf_span(&list)));
	buf_putc(out, ')');
	buf_free(&list);
}

/* The next message's part of the command. False: it is gone. */
static bool
announce(struct cmd *c, struct carrying *x, struct fail *why)
{
	struct view *v = cmd_view(c);
	uint32_t uid = uidset_nth(&x->uids, x->at);
	const struct message *m = view_by_uid(v, uid);
	struct buf *out = &x->going.v->out;
	char date[DATE_SIZE];

	if (!m)
		return fail_set(why, FAIL_PERM, 0, "Some of the messages no longer exist");
	put_flags(c, out, m);
	if (!mailbox_content(v->mailbox, uid, &x->content, why))
		return false;
	x->open = true;
	x->done = 0;
	buf_printf(out, " \"%s\" {%llu+}\r\n", date_format_imap(date, mailbox_date(v->mailbox, uid), 0), (unsigned long long)x->content.size);
	return true;
}

/* So much as there is room for. False: the file cannot be read. */
static bool
send_content(struct carrying *x)
{
	struct buf *out = &x->going.v->out;

	while (x->done < x->content.size && buf_space(out) >= 2 * BLOCK) {
		size_t n = x->content.size - x->done < BLOCK ? (size_t)(x->content.size - x->done) : BLOCK;
		char *room = buf_room(out, n);
		ssize_t got = room ? pread(x->content.fd, room, n, (off_t)x->done) : -1;

		if (got <= 0 && errno == EINTR)
			continue;
		if (got <= 0)
			return false;
		buf_added(out, (size_t)got);
		x->done += (uint64_t)got;
	}
	if (x->done == x->content.size) {
		close_content(x);
		x->at++;
	}
	return true;
}

/* What the far side has got so far is none of a command: the road ends, and with it what was begun. */
static enum cmd_result
break_off(struct cmd *c, const struct fail *why)
{
	visit_free(&c->s->abroad->road[WORK]);
	return why ? cmd_failed(c, why) : CMD_DONE;
}

static enum cmd_result
out_step(struct cmd *c)
{
	struct carrying *x = carrying_of(c);
	struct going *g = &x->going;
	struct fail why;

	if (buf_len(&g->v->in) || g->v->gone) {
		enum relay r = going_relay(c, g);

		if (r == RELAY_ENDED)
			return break_off(c, NULL); /* it does not want it: c has its reply */
		if (r != RELAY_MORE && r != RELAY_ROOM)
			return going_lost(c);
	}
	while (x->at < uidset_count(&x->uids)) {
		if (!x->open && !announce(c, x, &why))
			return break_off(c, &why);
		if (!send_content(x)) {
			(void)fail_set(&why, FAIL_TEMP, 0, "A message cannot be read");
			return break_off(c, &why);
		}
		if (buf_space(&g->v->out) < 4 * BLOCK)
			return going_wait(c, true);
	}
	buf_put(&g->v->out, SPAN("\r\n"));
	return cmd_go(c, going_step);
}

/* The arguments are walked, the mailbox is another's. */
bool
going_copy_out(struct cmd *c, struct span owner)
{
	struct carrying *x;
	struct buf text;

	if (!command_args(c)) {
		(void)cmd_syntax(c);
		return false;
	}
	if (!command_may(c))
		return false;
	x = carrying_new(c);
	if (!x || !view_uids(cmd_view(c), &c->seqs, &x->uids) || uidset_count(&x->uids) > BOUND_APPENDS) {
		(void)cmd_no(c, "[LIMIT] Too many messages for another user's mailbox.");
		return false;
	}
	if (x->move && cmd_view(c)->readonly) {
		(void)cmd_no(c, "[READ-ONLY] Mailbox is opened read-only.");
		return false;
	}
	if (uidset_empty(&x->uids)) {
		(void)cmd_ok(c, "No messages found.");
		return false;
	}
	if (!going_road(c, &x->going, WORK, owner)) {
		(void)cmd_no(c, "[LIMIT] Command too large.");
		return false;
	}
	buf_init(&text, BOUND_MAILBOX_NAME * 8);
	buf_put(&text, c->tag);
	buf_put(&text, SPAN(" APPEND "));
	imap_put_mailbox(c->s, &text, c->arg[1]);
	x->going.text = arena_dup(c->arena, buf_span(&text));
	buf_free(&text);
	x->going.sent = out_step;
	x->going.ended = carried_out;
	c->step = going_reach;
	return true;
}

/* ---- in ---- */

static void
on_committed(struct mailbox_op *op)
{
	struct carrying *x = OWNER_OF(op, struct carrying, op);
	struct cmd *c = x->going.c;

	if (op->ok)
		c->code = copyuid(c, op->uidvalidity, &x->from, &op->to);
	x->committed = true;
	cmd_wake(c);
}

static enum cmd_result
committed(struct cmd *c)
{
	struct carrying *x = carrying_of(c);

	return x->op.ok ? cmd_completed(c) : cmd_failed(c, &x->op.why);
}

static enum cmd_result
carried_in(struct cmd *c, bool ok)
{
	struct carrying *x = carrying_of(c);
	size_t n = x->n;

	if (!ok || c->status != CMD_OK)
		return CMD_DONE;
	if (span_starts(c->code, SPAN("[MESSAGELIMIT "))) /* a FETCH tells some of them; a COPY takes all or none (RFC 9738 3.1) */
		return command_too_many(c);
	c->code = SPAN_NONE;
	if (x->failed)
		return cmd_failed(c, &x->why);
	if (!n)
		return cmd_ok(c, "No messages found.");
	x->n = 0; /* taken over */
	x->op.on_done = on_committed;
	append_commit(x->all, n, &x->op);
	return x->committed ? committed(c) : cmd_wait(c, committed);
}

/* "* n FETCH (UID u FLAGS (...) INTERNALDATE "..." BODY[] {size}", or "* u UIDFETCH (FLAGS" and so on (RFC 9586 3.3):
 * a message begins. False: another line. */
static bool
take_message(struct cmd *c, struct carrying *x, struct span line)
{
	struct imap_parse p = imap_parse_of(line, c->arena);
	struct append_to to = { .folder = x->folder };
	struct flag_list list;
	struct span date;
	struct date d;
	uint32_t uid;

	if (!cursor_word(&p.c, SPAN("* ")) || !imap_take_u32(&p, 1, &uid) || !(cursor_word(&p.c, SPAN(" UIDFETCH (")) || (cursor_word(&p.c, SPAN(" FETCH (UID ")) && imap_take_u32(&p, 1, &uid) && imap_take_sp(&p))) ||
	    !cursor_word(&p.c, SPAN("FLAGS ")) || !flags_take_told(&p, &list) || !cursor_word(&p.c, SPAN(" INTERNALDATE ")) ||
	    !imap_take_string(&p, &date) || !date_parse_imap(&d, date) || !cursor_word(&p.c, SPAN(" BODY[] {")) || !imap_take_u64(&p, 0, INT64_MAX, &to.size) || !imap_take_char(&p, '}'))
		return false;
	x->left = to.size;
	x->behind = true;
	to.flags = list.flags;
	to.keywords = list.keywords;
	to.nkeywords = list.nkeywords;
	to.date = d.time;
	if (!x->failed && (x->n == BOUND_APPENDS || to.size > user_message_limit(c->s->user) || !to.size || uid <= x->last))
		x->failed = !fail_set(&x->why, FAIL_LIMIT, 0, "A message is too large, or there are too many");
	x->last = uid;
	if (x->failed)
		return true;
	uidset_add(&x->from, uid, uid);
	x->all[x->n] = append_begin(cmd_home(c), &to, &x->why);
	if (x->all[x->n])
		x->n++;
	else
		x->failed = true;
	return true;
}

/* A message that take_message() did not take: nobody is told of it, and the command fails. */
static bool
missed(struct carrying *x, struct span line)
{
	if (span_find(line, SPAN(" INTERNALDATE \"")) == SIZE_MAX)
		return false;
	if (!x->failed)
		x->failed = !fail_set(&x->why, FAIL_TEMP, 0, "A message cannot be read");
	return true;
}

/* Octets of the present message, and the end of its response. False: more is needed, or *lost. */
static bool
take_octets(struct carrying *x, bool *lost)
{
	struct buf *b = &x->going.v->in;
	struct span in = buf_span(b);

	if (x->left) {
		in.n = in.n < x->left ? in.n : (size_t)x->left;
		if (in.n && !x->failed && (memchr(in.p, '\0', in.n) || !append_write(x->all[x->n - 1], in, &x->why)))
			x->failed = true;
		x->left -= in.n;
		buf_eat(b, in.n);
		return in.n > 0;
	}
	if (in.n < 3)
		return false;
	*lost = !span_starts(in, SPAN(")\r\n"));
	x->behind = false;
	buf_eat(b, 3);
	return !*lost;
}

static enum cmd_result
in_step(struct cmd *c)
{
	struct carrying *x = carrying_of(c);
	struct going *g = &x->going;
	bool lost = false;

	for (;;) {
		struct span in = buf_span(&g->v->in);
		size_t lf = span_chr(in, '\n');

		if (x->behind && take_octets(x, &lost))
			continue;
		if (lost || (!x->behind && lf == SIZE_MAX && in.n > LINE_MAX_IN))
			return going_lost(c);
		if (x->behind || lf == SIZE_MAX)
			return g->v->gone ? going_lost(c) : going_wait(c, true);
		if (!cmd_room(c))
			return CMD_MORE;
		if (!g->inside && take_message(c, x, span_sub(in, 0, lf + 1))) {
			buf_eat(&g->v->in, lf + 1);
			continue;
		}
		if (!g->inside)
			g->mute = missed(x, span_sub(in, 0, lf + 1));
		g->lines = 1; /* what others did there meanwhile, or the end */
		switch (going_relay(c, g)) {
		case RELAY_MORE: continue;
		case RELAY_ROOM: return CMD_MORE;
		case RELAY_ENDED: visit_go(g->v, false, false); return g->ended(c, true);
		default: return going_lost(c);
		}
	}
}

bool
going_copy_in(struct cmd *c, struct span owner, struct span set, struct span folder)
{
	struct carrying *x;

	folder = arena_dup(c->arena, folder);
	if (span_caseeq(c->def->name, SPAN("MOVE"))) {
		(void)cmd_no(c, "[CANNOT] Not in one step out of another user's mailbox; copy, then expunge.");
		return false;
	}
	if (!store_exists(cmd_home(c), folder)) {
		(void)cmd_no(c, "[TRYCREATE] Mailbox doesn't exist: %.*s", SPAN_ARG(folder));
		return false;
	}
	x = carrying_new(c);
	if (!x || !going_road(c, &x->going, AWAY, owner)) {
		(void)cmd_no(c, "[LIMIT] Command too large.");
		return false;
	}
	x->folder = folder;
	x->going.text = arena_printf(c->arena, "%.*s%s FETCH %.*s (%sFLAGS INTERNALDATE BODY.PEEK[])\r\n", SPAN_ARG(c->tag), c->uid ? " UID" : "", SPAN_ARG(set),
	    c->s->enabled & ENABLED_UIDONLY ? "" : "UID ");
	x->going.sent = in_step;
	x->going.ended = carried_in;
	c->step = going_reach;
	return true;
}
