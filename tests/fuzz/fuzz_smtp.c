/* SPDX-License-Identifier: ISC
 *
 * smtpd's whole core with the dialogs' scripted siblings.
 *
 * Input: one byte that chooses the listener, then client bytes. 0xf8 to 0xff in
 * them are events: what came so far is delivered, then something happens. Each
 * input runs whole and byte by byte: both must give the same replies, unless TLS, the refusal
 * of content before 354, a line beyond all bounds (which ends the session, whatever is still to be answered)
 * or a timeout was met, which are about packets. So is how much
 * of a content has been looked at when queued has no room, and how many lines before an error
 * is answered late: with an event then, the replies are not compared.
 */
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/dialog/smtpd_script.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { SOFT_ERRORS = 10 };

static struct buf said;
static bool about_packets, full, binary;

static void
check_that(bool holds)
{
	if (!holds)
		abort();
}

void
dialog_output(struct dialog *d, struct span bytes)
{
	(void)d;
	buf_put(&said, bytes);
}

void
dialog_action(struct dialog *d, const char *fmt, ...)
{
	char text[8192];
	va_list ap;

	(void)d;
	if (strcmp(fmt, "starttls") == 0)
		about_packets = true;
	if (strncmp(fmt, "open ", 5) != 0)
		return;
	va_start(ap, fmt);
	(void)vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	binary = strstr(text, " binary") != NULL;
}

/* Law 10, whatever came in. */
void
dialog_content(struct dialog *d, struct span content)
{
	(void)d;
	check_that(span_starts(content, SPAN("Received: ")));
	if (binary) /* RFC 3030 3: of that the header alone */
		content = span_sub(content, 0, span_find(content, SPAN("\r\n\r\n")) + 2);
	check_that(span_ends(content, SPAN("\r\n")));
	for (size_t i = 0; i < content.n; i++) {
		check_that(content.p[i] != '\0');
		check_that(content.p[i] != '\n' || content.p[i - 1] == '\r');
		check_that(content.p[i] != '\r' || (i + 1 < content.n && content.p[i + 1] == '\n'));
	}
}

bool
dialog_match(struct span pattern, struct span text)
{
	return span_starts(text, pattern) || span_eq(pattern, SPAN("*"));
}

struct word {
	const char *word, *rest;
};

static void
directive(void *core, struct word w)
{
	(void)smtpd_dialog.directive(core, span_str(w.word), span_str(w.rest));
}

static void
set_up(void *core, uint8_t choice)
{
	static const char *const listeners[] = {
		"smtp auth = yes", "lmtp", "submit", "submission tls = none; auth = yes",
		"smtp xclient_hosts = 10.0.0.0/8", "smtp", "submission", "smtp tls = encrypt",
	};
	static const struct word always[] = {
		{ "certificate", "" }, { "set", "smtpd_soft_error_limit 10" }, { "set", "message_size_limit 3000" }, { "set", "smtpd_recipient_limit 100" },
		{ "set", "header_size_limit 1500" }, { "set", "line_length_limit 1100" }, { "rcpt", "nobody BAD_MAILBOX" }, { "rcpt", "slow silent" },
		{ "rcpt", "late MAILBOX_FULL_NOW" }, { "auth", "alice: AUTH_OK alice@example.test" }, { "auth", "slow silent" },
	};

	directive(core, (struct word){ "listener", listeners[choice & 7] });
	for (size_t i = 0; i < sizeof(always) / sizeof(*always); i++)
		directive(core, always[i]);
	if (choice & 8)
		directive(core, (struct word){ "set", "disable_plaintext_auth no" });
	if (choice & 16)
		directive(core, (struct word){ "set", "smtpd_reply_texts textbook" });
	if (choice & 32)
		directive(core, (struct word){ "peer", "10.0.0.1 trusted xclient" });
	if (choice & 64) {
		static const struct word filters[] = {
			{ "set", "smtpd_milters inet:127.0.0.1:1" }, { "set", "non_smtpd_milters inet:127.0.0.1:1" }, { "filter", "rcpt filtered DENIED 554 filtered" },
			{ "filter", "sender other@x.test" }, { "filter", "add added@example.test" }, { "filter", "remove gone@example.test" },
		};

		for (size_t i = 0; i < sizeof(filters) / sizeof(*filters); i++)
			directive(core, filters[i]);
		if (choice & 128)
			directive(core, (struct word){ "filter", "end CONTENT 554 bad" });
	}
}

static void
pump(void *core, struct buf *in)
{
	size_t n;

	do {
		n = buf_len(in) ? smtpd_dialog.input(core, buf_span(in)) : 0;
		check_that(n <= buf_len(in));
		buf_eat(in, n);
	} while (n || smtpd_dialog.turn(core));
}

/* Errors beyond smtpd_soft_error_limit are answered late; an answer of routed may be the one. */
static bool
slowed(void)
{
	struct span all = buf_span(&said);
	unsigned errors = 0;

	while (all.n) {
		errors += all.p[0] == '4' || all.p[0] == '5';
		all = span_from(all, span_find(all, SPAN("\r\n")) + 2);
	}
	return errors >= SOFT_ERRORS;
}

static void
event(void *core, uint8_t what)
{
	static const struct word words[] = { { "lost", "routed" }, { "lost", "queued" }, { "lost", "authd" }, { "full", "" }, { "room", "" }, { "shutdown", "" }, { "handshake", "" } };

	if ((full && what != 0xfc) || slowed())
		about_packets = true;
	full = what == 0xfb || (full && what != 0xfc);
	if (what == 0xff)
		smtpd_dialog.advance(core, 61000);
	else
		directive(core, words[what - 0xf8]);
}

static void
converse(const uint8_t *data, size_t size, bool bytewise)
{
	void *core = smtpd_dialog.open(NULL);
	struct buf in;

	check_that(core != NULL);
	buf_init(&in, 1 << 20);
	set_up(core, data[0]);
	smtpd_dialog.start(core);
	for (size_t i = 1; i < size; i++) {
		if (data[i] >= 0xf8) {
			pump(core, &in);
			event(core, data[i]);
			pump(core, &in);
		} else {
			buf_putc(&in, (char)data[i]);
			if (bytewise)
				pump(core, &in);
		}
	}
	pump(core, &in);
	if (full)
		event(core, 0xfc);
	pump(core, &in);
	for (int i = 0; i < 25; i++) { /* out of the tarpit */
		smtpd_dialog.advance(core, 1000);
		pump(core, &in);
	}
	smtpd_dialog.eof(core);
	smtpd_dialog.free(core);
	buf_free(&in);
}

/* Each line of the server is a reply. */
static void
check_replies(struct span all)
{
	check_that(!all.n || span_ends(all, SPAN("\r\n")));
	while (all.n) {
		size_t end = span_find(all, SPAN("\r\n"));
		struct span line = span_sub(all, 0, end);

		check_that(line.n >= 4 && line.n <= 510);
		check_that(ascii_digit(line.p[0]) && ascii_digit(line.p[1]) && ascii_digit(line.p[2]) && (line.p[3] == ' ' || line.p[3] == '-'));
		check_that(!memchr(line.p, '\r', line.n) && !memchr(line.p, '\n', line.n) && !memchr(line.p, '\0', line.n));
		all = span_from(all, end + 2);
	}
}

static bool
says(const struct buf *b, const char *words)
{
	return span_find(buf_span(b), span_str(words)) != SIZE_MAX;
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct buf whole;

	if (size < 1 || size > 65536)
		return 0;
	about_packets = false;
	buf_init(&said, 1 << 24);
	converse(data, size, false);
	check_replies(buf_span(&said));
	whole = said;
	buf_init(&said, 1 << 24);
	converse(data, size, true);
	check_replies(buf_span(&said));
	if (!about_packets && !says(&whole, "Improper pipelining") && !says(&whole, "5.5.6 Line too long") && !says(&whole, "Timeout") && !says(&said, "Timeout") &&
	    !span_eq(buf_span(&whole), buf_span(&said))) {
		(void)fprintf(stderr, "whole:\n%.*s\nbyte by byte:\n%.*s\n", SPAN_ARG(buf_span(&whole)), SPAN_ARG(buf_span(&said)));
		abort();
	}
	buf_free(&whole);
	buf_free(&said);
	return 0;
}
