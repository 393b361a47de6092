/* SPDX-License-Identifier: ISC */
#include "daemons/mailboxd/pop3.h"

#include <stdlib.h>

#include "daemons/mailboxd/popready.h"
#include "store/name.h"

enum {
	POP3_IN_CAP = 16 << 10,
	POP3_ARGS = 2,
};

/* A multi-line response that is being written. */
enum sending { SEND_NOTHING, SEND_LIST, SEND_UIDL, SEND_MESSAGE };

struct pop3 {
	struct session base;
	struct user *user;
	struct view view;
	struct uidset deleted;  /* message numbers */
	uint64_t total;         /* octets of all messages */
	unsigned bad;
	enum sending sending;
	uint32_t next;          /* SEND_LIST, SEND_UIDL: the number to go on with */
	struct popmail mail;    /* SEND_MESSAGE, or of what is ready */
	struct popready ready;
	struct mailbox_op removal; /* QUIT waits for it */
};

struct pop3_command {
	struct span name;
	unsigned fewest, most;
	void (*handler)(struct pop3 *s, const struct span *arg, unsigned n);
};

static struct pop3 *
pop3_of(const struct session *s)
{
	return OWNER_OF(s, struct pop3, base);
}

static struct buf *
out(struct pop3 *s)
{
	return &s->base.out.mem;
}

/* Texts that differ between the profiles: plain and as the textbooks have it. */
static void
say(struct pop3 *s, const char *usual, const char *textbook)
{
	buf_put(out(s), SPAN("+OK"));
	usual = s->user->textbook_replies ? textbook : usual;
	if (*usual)
		buf_putc(out(s), ' ');
	buf_puts(out(s), usual);
	buf_put(out(s), SPAN("\r\n"));
}

static void
err(struct pop3 *s, const char *text)
{
	buf_put(out(s), SPAN("-ERR "));
	buf_puts(out(s), text);
	buf_put(out(s), SPAN("\r\n"));
	if (++s->bad >= BOUND_BAD)
		s->base.closing = true;
}

static uint64_t
size_of(struct pop3 *s, uint32_t number)
{
	uint64_t size;

	return mailbox_size(s->view.mailbox, view_uid(&s->view, number), &size) ? size : 0;
}

/* The message an argument names; 0 after an error reply. */
static uint32_t
number_of(struct pop3 *s, struct span arg)
{
	uint64_t n;

	if (!span_u64(arg, UINT32_MAX, &n))
		err(s, "Invalid message number.");
	else if (n < 1 || n > view_count(&s->view))
		err(s, "No such message.");
	else if (uidset_has(&s->deleted, (uint32_t)n))
		err(s, "Message is deleted.");
	else
		return (uint32_t)n;
	return 0;
}

/* ---- listings ---- */

static void
pop3_stat(struct pop3 *s, const struct span *arg, unsigned n)
{
	uint64_t gone = 0;

	(void)arg;
	(void)n;
	for (size_t i = 0; i < s->deleted.n; i++)
		for (uint32_t k = s->deleted.ranges[i].lo; k <= s->deleted.ranges[i].hi; k++)
			gone += size_of(s, k);
	buf_printf(out(s), "+OK %llu %llu\r\n", (unsigned long long)(view_count(&s->view) - uidset_count(&s->deleted)),
	    (unsigned long long)(s->total - gone));
}

static void
put_line(struct pop3 *s, uint32_t number, bool uidl)
{
	buf_put_u64(out(s), number);
	buf_putc(out(s), ' ');
	if (uidl) {
		const struct message *m = view_message(&s->view, number);

		if (m)
			mailbox_uidl(s->view.mailbox, m, out(s));
		else /* removed by another session: the name it had */
			buf_printf(out(s), "%08x%08x", (unsigned)view_uid(&s->view, number),
			    (unsigned)mailbox_uidvalidity(s->view.mailbox));
	} else {
		buf_put_u64(out(s), size_of(s, number));
	}
	buf_put(out(s), SPAN("\r\n"));
}

static void
list(struct pop3 *s, const struct span *arg, unsigned n, bool uidl)
{
	uint32_t number;

	if (n) {
		number = number_of(s, arg[0]);
		if (!number)
			return;
		buf_put(out(s), SPAN("+OK "));
		put_line(s, number, uidl);
		return;
	}
	if (uidl || s->user->textbook_replies)
		buf_put(out(s), SPAN("+OK\r\n"));
	else
		buf_printf(out(s), "+OK %llu messages:\r\n",
		    (unsigned long long)(view_count(&s->view) - uidset_count(&s->deleted)));
	s->sending = uidl ? SEND_UIDL : SEND_LIST;
	s->next = 1;
}

static void
pop3_list(struct pop3 *s, const struct span *arg, unsigned n)
{
	list(s, arg, n, false);
}

static void
pop3_uidl(struct pop3 *s, const struct span *arg, unsigned n)
{
	list(s, arg, n, true);
}

static void
send_lines(struct pop3 *s)
{
	for (; outq_room(&s->base.out) && s->next <= view_count(&s->view); s->next++)
		if (!uidset_has(&s->deleted, s->next))
			put_line(s, s->next, s->sending == SEND_UIDL);
	if (s->next <= view_count(&s->view))
		return;
	buf_put(out(s), SPAN(".\r\n"));
	s->sending = SEND_NOTHING;
}

/* ---- messages ---- */

static void
pop3_ahead(struct session *base)
{
	struct pop3 *s = pop3_of(base);
	uint32_t number = s->ready.expected;

	s->ready.expected = 0;
	if (number && number <= view_count(&s->view) && !uidset_has(&s->deleted, number) && !s->sending && !s->ready.number)
		popready_make(&s->ready, &s->mail, s->view.mailbox, view_uid(&s->view, number), number, s->user->textbook_replies);
}

static void
begin_message(struct pop3 *s, struct span arg, uint64_t lines)
{
	uint32_t number = number_of(s, arg);

	if (!number)
		return;
	if (lines == POPMAIL_ALL) {
		enum popmail_state rest;

		popready_note(&s->ready, number);
		if (popready_take(&s->ready, number, out(s), &rest)) {
			s->sending = rest == POPMAIL_MORE ? SEND_MESSAGE : SEND_NOTHING;
			return;
		}
	}
	popready_forget(&s->ready, &s->mail);
	if (popmail_open(&s->mail, s->view.mailbox, view_uid(&s->view, number), lines, s->user->textbook_replies, out(s)))
		s->sending = SEND_MESSAGE;
	else
		err(s, "Message is no longer there.");
}

static void
pop3_retr(struct pop3 *s, const struct span *arg, unsigned n)
{
	(void)n;
	begin_message(s, arg[0], POPMAIL_ALL);
}

static void
pop3_top(struct pop3 *s, const struct span *arg, unsigned n)
{
	uint64_t lines;

	(void)n;
	if (!span_u64(arg[1], UINT32_MAX, &lines))
		err(s, "Invalid number of lines.");
	else
		begin_message(s, arg[0], lines);
}

static void
send_message(struct pop3 *s)
{
	enum popmail_state state = popmail_put(&s->mail, out(s), OUTQ_HIGH);

	if (state == POPMAIL_MORE)
		return;
	popmail_close(&s->mail);
	s->sending = SEND_NOTHING;
	s->base.closing = s->base.closing || state == POPMAIL_BROKEN;
}

/* ---- the rest ---- */

static void
pop3_dele(struct pop3 *s, const struct span *arg, unsigned n)
{
	uint32_t number = number_of(s, arg[0]);

	(void)n;
	if (!number)
		return;
	uidset_add(&s->deleted, number, number);
	if (!uidset_has(&s->deleted, number)) {
		s->deleted.failed = false;
		err(s, "[SYS/TEMP] No memory for the mark.");
		return;
	}
	say(s, "Marked to be deleted.", "");
}

static void
pop3_noop(struct pop3 *s, const struct span *arg, unsigned n)
{
	(void)arg;
	(void)n;
	say(s, "", "");
}

static void
pop3_rset(struct pop3 *s, const struct span *arg, unsigned n)
{
	(void)arg;
	(void)n;
	uidset_clear(&s->deleted);
	say(s, "", "");
}

static void
pop3_late(struct pop3 *s, const struct span *arg, unsigned n)
{
	(void)arg;
	(void)n;
	err(s, "Already logged in.");
}

static void
pop3_capa(struct pop3 *s, const struct span *arg, unsigned n)
{
	(void)arg;
	(void)n;
	buf_put(out(s), SPAN("+OK\r\nCAPA\r\nTOP\r\nUIDL\r\nRESP-CODES\r\nPIPELINING\r\nAUTH-RESP-CODE\r\nEXPIRE NEVER\r\nUTF8 USER\r\nLANG\r\n"));
	if (s->user->pop3_login_delay)
		buf_printf(out(s), "LOGIN-DELAY %u\r\n", s->user->pop3_login_delay);
	buf_put(out(s), SPAN("IMPLEMENTATION Pillarpost\r\n.\r\n"));
}

static void
pop3_lang(struct pop3 *s, const struct span *arg, unsigned n)
{
	if (!n)
		buf_put(out(s), SPAN("+OK Language listing follows:\r\nen English\r\n.\r\n"));
	else if (span_eq(arg[0], SPAN("*")) || span_caseeq(arg[0], SPAN("en")) || span_casestarts(arg[0], SPAN("en-")))
		buf_put(out(s), SPAN("+OK en English texts\r\n"));
	else
		buf_put(out(s), SPAN("-ERR There are no texts in that language.\r\n"));
}

static void
leave(struct pop3 *s, bool ok)
{
	if (ok)
		say(s, "Logging out.", "POP3 server signing off");
	else
		buf_put(out(s), SPAN("-ERR [SYS/TEMP] Some deleted messages were not removed.\r\n"));
	s->base.closing = true;
}

static void
on_removed(struct mailbox_op *op)
{
	struct pop3 *s = OWNER_OF(op, struct pop3, removal);

	s->base.waiting = false;
	if (!s->base.closing) /* the server goes down, or the client has gone */
		leave(s, op->ok);
	session_wake(&s->base);
}

/* The UPDATE state (RFC 1939 6): what the client was told is gone does not come back. */
static void
pop3_quit(struct pop3 *s, const struct span *arg, unsigned n)
{
	struct uidset uids;
	struct fail why;

	(void)arg;
	(void)n;
	if (uidset_empty(&s->deleted)) {
		leave(s, true);
		return;
	}
	uidset_init(&uids);
	if (view_uids(&s->view, &s->deleted, &uids) && mailbox_remove(&s->view, &uids, &why)) {
		s->base.waiting = true;
		s->removal.on_done = on_removed;
		mailbox_confirm(&s->view, &s->removal);
	} else {
		leave(s, false);
	}
	uidset_free(&uids);
}

/* ---- commands ---- */

static const struct pop3_command commands[] = {
#define POP3_COMMAND(name, fewest, most, handler, section) { SPAN_INIT(#name), fewest, most, handler },
#include "daemons/mailboxd/pop3_commands.def"
#undef POP3_COMMAND
};

static void
execute(struct pop3 *s, struct span line)
{
	struct span name = span_word(&line), arg[POP3_ARGS];
	unsigned n = 0;

	for (struct span word = span_word(&line); word.n; word = span_word(&line)) {
		if (n == POP3_ARGS) {
			err(s, "Too many arguments.");
			return;
		}
		arg[n++] = word;
	}
	for (size_t i = 0; i < sizeof commands / sizeof *commands; i++) {
		if (!span_caseeq(commands[i].name, name))
			continue;
		if (n < commands[i].fewest || n > commands[i].most) {
			err(s, n < commands[i].fewest ? "Argument missing." : "Too many arguments.");
			return;
		}
		commands[i].handler(s, arg, n);
		return;
	}
	err(s, "Unknown command.");
}

/* False: no complete line. */
static bool
take_line(struct pop3 *s)
{
	struct span in = buf_span(&s->base.in), line;
	size_t lf = span_chr(in, '\n');
	unsigned before = s->bad;

	if (lf == SIZE_MAX && in.n <= BOUND_POP3_LINE)
		return false;
	if (lf == SIZE_MAX || lf > BOUND_POP3_LINE) {
		err(s, "Line too long.");
		s->base.closing = true;
		return false;
	}
	line = span_sub(in, 0, lf);
	if (line.n && line.p[line.n - 1] == '\r')
		line.n--;
	execute(s, line);
	buf_eat(&s->base.in, lf + 1);
	if (s->bad == before)
		s->bad = 0;
	return true;
}

static void
pop3_run(struct session *base)
{
	struct pop3 *s = pop3_of(base);

	for (unsigned n = 0; n < BOUND_SLICE; n++) {
		if (base->waiting || base->closing || !outq_room(&base->out) || s->view.lost) {
			base->closing |= s->view.lost; /* nothing can be said but in an answer */
			return;
		}
		if (s->sending == SEND_MESSAGE)
			send_message(s);
		else if (s->sending)
			send_lines(s);
		else if (!take_line(s))
			return;
	}
	base->more = true;
}

static bool
pop3_wants_input(const struct session *base)
{
	const struct pop3 *s = pop3_of(base);

	return !base->waiting && !s->sending && outq_room(&base->out) && buf_len(&base->in) <= BOUND_POP3_LINE;
}

static void
pop3_eof(struct session *base)
{
	base->closing = true;
}

static void
pop3_on_idle(struct session *base)
{
	/* RFC 1939 3: closes without removing anything and without a word */
	base->closing = true;
}

static void
pop3_shutdown(struct session *base)
{
	if (!pop3_of(base)->sending) /* else it would be a line of that */
		buf_put(&base->out.mem, SPAN("-ERR [SYS/TEMP] Server shutting down.\r\n"));
	base->closing = true;
}

static void
pop3_free(struct session *base)
{
	struct pop3 *s = pop3_of(base);

	if (s->sending == SEND_MESSAGE)
		popmail_close(&s->mail);
	popready_forget(&s->ready, &s->mail);
	view_close(&s->view);
	uidset_free(&s->deleted);
	buf_free(&base->in);
	outq_free(&base->out);
	free(s);
}

static const struct session_ops ops = {
	.service = "pop3",
	.run = pop3_run,
	.wants_input = pop3_wants_input,
	.eof = pop3_eof,
	.idle = pop3_on_idle,
	.shutdown = pop3_shutdown,
	.ahead = pop3_ahead,
	.free = pop3_free,
};

/* A name that IMAP would give is that folder; what is none is UTF-8, as of a client that has said UTF8 (RFC 6856 2.1). */
static bool
folder_name(struct store *store, struct span given, struct buf *name)
{
	if (!given.n)
		given = SPAN("INBOX");
	if (span_caseeq(given, SPAN("INBOX")) || name_valid(given))
		buf_put(name, given);
	else if (!name_from_utf8(given, name))
		return false;
	return store_exists(store, buf_span(name));
}

static void
on_pending(struct view *v)
{
	struct pop3 *s = v->owner;

	if (v->lost)
		session_wake(&s->base);
}

static bool
open_folder(struct pop3 *s, struct span folder, struct fail *why)
{
	struct buf name;
	bool ok;

	buf_init(&name, BOUND_MAILBOX_NAME * 4);
	ok = folder_name(s->user->store, folder, &name) || fail_set(why, FAIL_PERM, 0, "there is no such folder");
	/* as EXAMINE does: downloading takes no \Recent from IMAP clients; the
	 * removal at QUIT is this session's right all the same */
	if (ok && !view_open(&s->view, s->user->store, buf_span(&name), true, why)) {
		why->class = FAIL_TEMP; /* it is there */
		ok = false;
	}
	buf_free(&name);
	return ok;
}

struct session *
pop3_new(struct user *user, struct span folder, struct fail *why)
{
	struct pop3 *s = calloc(1, sizeof *s);

	if (!s) {
		(void)fail_set(why, FAIL_TEMP, 0, "out of memory");
		return NULL;
	}
	s->base.ops = &ops;
	s->base.idle_ms = user->pop3_idle_ms;
	s->user = user;
	s->view = (struct view){ .on_pending = on_pending, .owner = s };
	if (!open_folder(s, folder, why)) {
		free(s);
		return NULL;
	}
	buf_init(&s->base.in, POP3_IN_CAP);
	outq_init(&s->base.out);
	popready_init(&s->ready);
	uidset_init(&s->deleted);
	for (uint32_t n = 1; n <= view_count(&s->view); n++)
		s->total += size_of(s, n);
	say(s, "Logged in.", "user successfully logged on");
	return &s->base;
}
