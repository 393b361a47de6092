/* SPDX-License-Identifier: ISC
 *
 * Runs dialogs against remoted's protocol core. The directives are described
 * in remoted/README.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "daemons/remoted/client.h"
#include "dialog.h"
#include "ipc/bounds.h"
#include "mail/content.h"
#include "mail/status.h"
#include "scram_script.h"

enum { RCPTS = 32 };

struct run {
	struct dialog *dialog;
	struct client client;
	struct client_settings settings;
	struct client_mail mail;
	struct client_rcpt rcpts[RCPTS];
	struct arena arena;
	struct buf out, content;
	bool mailing, told_end, asked_tls, eightbit;
	int64_t by_left;
	char helo[64], myself[64];
};

static bool
is_8bit(const struct client_mail *mail)
{
	const struct run *r = (const struct run *)(const void *)((const char *)mail - offsetof(struct run, mail));

	return r->eightbit;
}

/* What the rim does with the content is no matter here; one with the word `signed` cannot be converted. */
static bool
to_lines(const struct client_mail *mail, bool to_7bit, struct fail *why)
{
	struct run *r = (struct run *)(void *)((uintptr_t)mail - offsetof(struct run, mail));

	dialog_action(r->dialog, "convert %s", to_7bit ? "7bit" : "8bit");
	if (span_find(buf_span(&r->content), SPAN("signed")) != SIZE_MAX)
		return fail_set(why, FAIL_PERM, STATUS_CONVERSION_REQUIRED, "it is signed");
	r->mail.binary = false;
	return true;
}

static int64_t
by_left(const struct client_mail *mail)
{
	const struct run *r = (const struct run *)(const void *)((const char *)mail - offsetof(struct run, mail));

	return r->by_left;
}

static void *
run_open(struct dialog *d)
{
	struct run *r = calloc(1, sizeof(*r));

	if (!r)
		return NULL;
	r->dialog = d;
	buf_init(&r->out, 1 << 20);
	buf_init(&r->content, 1 << 20);
	buf_puts(&r->content, "Subject: test\r\n\r\nHello\r\n");
	arena_init(&r->arena, 1 << 20);
	(void)strcpy(r->helo, "us.test");
	r->settings = (struct client_settings){ .helo = span_str(r->helo), .tls = CLIENT_TLS_MAY,
		.timeouts = { .helo = 300000, .starttls = 300000, .mail = 300000, .rcpt = 300000, .data_init = 120000,
		    .data_xfer = 180000, .data_done = 600000, .rset = 20000, .quit = 20000 } };
	client_init(&r->client, &r->settings, &r->out);
	r->mail = (struct client_mail){ .arena = &r->arena, .rcpts = r->rcpts, .is_8bit = is_8bit, .to_lines = to_lines, .by_left = by_left };
	return r;
}

static void
run_free(void *core)
{
	struct run *r = core;

	client_free(&r->client);
	buf_free(&r->out);
	buf_free(&r->content);
	arena_free(&r->arena);
	free(r);
}

static void
tell_verdicts(struct run *r)
{
	static const char *const words[] = { "pending", "delivered", "relayed", "deferred", "failed" };

	for (size_t i = 0; i < r->mail.nrcpts; i++) {
		const struct verdict *v = &r->rcpts[i].verdict;

		dialog_action(r->dialog, "rcpt %.*s %s %s%s%s %.*s", SPAN_ARG(span_sub(r->rcpts[i].address, 0, span_chr(r->rcpts[i].address, '>'))), words[v->outcome],
		    v->outcome ? v->code : "-", v->again ? " again" : "", v->maybe_done ? " maybe" : v->tell ? " tell" : "", SPAN_ARG(v->text));
	}
}

/* Says what the core did; acts as a rim would. True if anything happened. */
static bool
run_turn(void *core)
{
	static const char *const ends[] = { "going", "goodbye", "lost", "refused", "broken", "no-tls", "try-plain", "loop" };
	struct run *r = core;
	struct client *c = &r->client;
	bool moved = buf_len(&r->out) > 0;

	dialog_output(r->dialog, buf_span(&r->out));
	buf_reset(&r->out);
	if (r->mailing && !c->mail) {
		r->mailing = false;
		moved = true;
		tell_verdicts(r);
	}
	if (c->end != CLIENT_GOING && !r->told_end) {
		r->told_end = moved = true;
		dialog_action(r->dialog, "end %s %s %.*s", ends[c->end], c->why.code, SPAN_ARG(c->why.text));
	}
	if (client_want(c) == CLIENT_WANT_TLS && !r->asked_tls) {
		r->asked_tls = moved = true;
		dialog_action(r->dialog, "handshake");
	}
	if (client_want(c) == CLIENT_WANT_CONTENT && buf_len(&r->content)) {
		struct span in = buf_span(&r->content), run;
		struct stuff stuff;

		stuff_init(&stuff);
		if (c->chunked) {
			buf_put(&r->out, in);
			in = SPAN_NONE;
		}
		while (stuff_next(&stuff, &in, &run))
			buf_put(&r->out, run);
		if (!c->chunked)
			buf_put(&r->out, stuff_tail(&stuff));
		client_content_sent(c);
		moved = true;
	}
	return moved;
}

static void
run_start(void *core)
{
	(void)core;
}

static size_t
run_input(void *core, struct span bytes)
{
	struct run *r = core;
	struct span in = bytes;

	client_feed(&r->client, &in);
	return bytes.n - in.n;
}

static void
run_eof(void *core)
{
	struct run *r = core;

	client_lost(&r->client, SPAN_NONE);
}

static void
run_advance(void *core, int64_t ms)
{
	struct run *r = core;

	if (ms >= client_timeout_ms(&r->client))
		client_timed_out(&r->client);
}

static bool
run_closed(const void *core)
{
	const struct run *r = core;

	return client_want(&r->client) == CLIENT_WANT_CLOSE;
}

static struct span
value(struct run *r, struct span word)
{
	size_t eq = span_chr(word, '=');

	return arena_dup(&r->arena, span_from(word, eq + 1));
}

static bool
set(struct run *r, struct span rest)
{
	struct span name = span_word(&rest), word = span_trim(rest);

	if (span_eq(name, SPAN("helo")))
		return span_cstr(word, r->helo, sizeof(r->helo)) && ((r->settings.helo = span_str(r->helo)), true);
	if (span_eq(name, SPAN("myself")))
		return span_cstr(word, r->myself, sizeof(r->myself)) && ((r->settings.myself = span_str(r->myself)), true);
	if (span_eq(name, SPAN("login"))) {
		r->settings.login = (struct client_login){ .user = arena_dup(&r->arena, span_word(&word)), .nonce = SPAN("rOprNGfwEbeRWgbNEkqO"),
			.mechanisms = AUTH_ALL };
		r->settings.login.password = arena_dup(&r->arena, span_trim(word));
		return true;
	}
	if (span_eq(name, SPAN("mechanisms")))
		r->settings.login.mechanisms = auth_mechanisms(word);
	else if (span_eq(name, SPAN("binding")))
		r->settings.login.binding = scram_script_binding;
	else if (span_eq(name, SPAN("on_this_host")))
		r->settings.login.plaintext = true;
	else if (span_eq(name, SPAN("lmtp")))
		r->settings.lmtp = true;
	else if (span_eq(name, SPAN("chunking")))
		r->settings.chunking = true;
	else if (span_eq(name, SPAN("8bit_anyway")))
		r->settings.send_8bit_anyway = true;
	else if (span_eq(name, SPAN("tls")))
		r->settings.tls = span_eq(word, SPAN("none")) ? CLIENT_TLS_NONE : span_eq(word, SPAN("may")) ? CLIENT_TLS_MAY :
		    span_eq(word, SPAN("encrypt")) ? CLIENT_TLS_ENCRYPT : CLIENT_TLS_VERIFY;
	else
		return false;
	return true;
}

static void
new_mail(struct run *r, struct span rest)
{
	struct span word;

	r->mail.nrcpts = 0;
	r->mail.size = 24;
	r->mail.callout = r->mail.body8 = r->mail.binary = r->mail.requiretls = r->mail.smtputf8 = r->eightbit = false;
	r->mail.ret = r->mail.by_mode = r->mail.priority = 0;
	r->mail.envid = SPAN_NONE;
	word = span_word(&rest);
	r->mail.sender = span_eq(word, SPAN("<>")) ? SPAN_NONE : arena_dup(&r->arena, word);
	while ((word = span_word(&rest)).n) {
		uint64_t n;

		if (span_starts(word, SPAN("size=")) && span_u64(span_from(word, 5), UINT64_MAX, &n))
			r->mail.size = n;
		else if (span_starts(word, SPAN("priority=")) && span_u64(span_from(word, 9), 19, &n))
			r->mail.priority = (uint8_t)n;
		else if (span_starts(word, SPAN("by=")) || span_starts(word, SPAN("late="))) {
			struct span mode = span_from(word, span_chr(word, '=') + 1), left = span_cut(&mode, ';');

			r->by_left = span_u64(left, INT64_MAX, &n) ? (int64_t)n * (word.p[0] == 'l' ? -1 : 1) : 0;
			r->mail.by_mode = (uint8_t)((span_starts(mode, SPAN("R")) ? BY_RETURN : BY_NOTIFY) | (mode.n > 1 ? BY_TRACE : 0));
		} else if (span_starts(word, SPAN("envid=")))
			r->mail.envid = value(r, word);
		else if (span_starts(word, SPAN("ret=")))
			r->mail.ret = span_eq(word, SPAN("ret=full")) ? 1 : 2;
		r->mail.body8 = r->mail.body8 || span_eq(word, SPAN("body8")) || span_eq(word, SPAN("really8"));
		r->eightbit = r->eightbit || span_eq(word, SPAN("really8"));
		r->mail.binary = r->mail.binary || span_eq(word, SPAN("binary"));
		r->mail.requiretls = r->mail.requiretls || span_eq(word, SPAN("requiretls"));
		r->mail.callout = r->mail.callout || span_eq(word, SPAN("callout"));
		r->mail.smtputf8 = r->mail.smtputf8 || span_eq(word, SPAN("smtputf8"));
	}
}

static void
new_rcpt(struct run *r, struct span rest)
{
	struct client_rcpt *rcpt = &r->rcpts[r->mail.nrcpts++ % RCPTS];
	struct span word = span_word(&rest);
	uint64_t n;

	*rcpt = (struct client_rcpt){ .address = arena_dup(&r->arena, word) };
	if (span_eq(word, SPAN("inject"))) /* what no grammar lets through, from a hostile sibling */
		rcpt->address = SPAN("a@b>\r\nRSET\r\n");
	while ((word = span_word(&rest)).n)
		if (span_starts(word, SPAN("notify=")) && span_u64(span_from(word, 7), 15, &n))
			rcpt->notify = (uint8_t)n;
		else if (span_starts(word, SPAN("orcpt=")))
			rcpt->orcpt = value(r, word);
}

static void
many_rcpts(struct run *r, struct span rest)
{
	uint64_t n = 0;
	char text[32];

	(void)span_u64(span_trim(rest), RCPTS, &n);
	for (uint64_t i = 1; i <= n; i++) {
		(void)snprintf(text, sizeof(text), "r%u@peer.test", (unsigned)i);
		new_rcpt(r, span_str(text));
	}
}

static bool
run_directive(void *core, struct span word, struct span rest)
{
	struct run *r = core;

	if (span_eq(word, SPAN("set")))
		return set(r, rest);
	if (span_eq(word, SPAN("from")))
		new_mail(r, rest);
	else if (span_eq(word, SPAN("to")))
		new_rcpt(r, rest);
	else if (span_eq(word, SPAN("to-many")))
		many_rcpts(r, rest);
	else if (span_eq(word, SPAN("body"))) {
		buf_reset(&r->content);
		buf_put(&r->content, rest);
		buf_puts(&r->content, "\r\n");
	} else if (span_eq(word, SPAN("hold")))
		buf_reset(&r->content); /* the rim is slow: it asks for content and gets none */
	else if (span_eq(word, SPAN("send"))) {
		r->mailing = true;
		client_start(&r->client, &r->mail);
	} else if (span_eq(word, SPAN("tls")))
		client_tls_done(&r->client, !span_eq(rest, SPAN("fails")), span_eq(rest, SPAN("verified")), SPAN("test"));
	else if (span_eq(word, SPAN("unreadable")))
		client_content_failed(&r->client, SPAN("it cannot be read"));
	else if (span_eq(word, SPAN("quit")))
		client_quit(&r->client);
	else
		return false;
	return true;
}

static const struct dialog_core core = {
	.name = "remoted",
	.client = true,
	.open = run_open,
	.start = run_start,
	.input = run_input,
	.turn = run_turn,
	.eof = run_eof,
	.advance = run_advance,
	.closed = run_closed,
	.directive = run_directive,
	.free = run_free,
};

int
main(int argc, char **argv)
{
	return dialog_main(&core, argc, argv);
}
