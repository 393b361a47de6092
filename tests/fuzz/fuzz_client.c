/* SPDX-License-Identifier: ISC
 *
 * A hostile peer against remoted's protocol core: what never may happen is
 * that a recipient counts as delivered before the final dot was sent (but in a
 * callout, which sends none), or that the core says more than its bounds.
 */
#include <stdlib.h>

#include "daemons/remoted/client.h"

static int64_t
by_left(const struct client_mail *mail)
{
	return 100 - (int64_t)mail->size;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static bool
is_8bit(const struct client_mail *mail)
{
	return mail->size & 1;
}

static void
check(const struct client_mail *mail, bool dot)
{
	for (size_t i = 0; i < mail->nrcpts; i++) {
		const struct verdict *v = &mail->rcpts[i].verdict;

		if (!dot && !mail->callout && (v->outcome == VERDICT_DELIVERED || v->outcome == VERDICT_RELAYED || v->maybe_done))
			abort();
		if (v->outcome == VERDICT_FAILED && v->code[0] != '5')
			abort();
		if (v->outcome == VERDICT_DEFERRED && v->code[0] != '4')
			abort();
		for (size_t j = 0; j < v->text.n; j++)
			if ((unsigned char)v->text.p[j] < ' ')
				abort();
	}
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct client_rcpt rcpts[4];
	struct client_settings settings = { .helo = SPAN("us.test"), .myself = SPAN("us.test") };
	struct client_mail mail = { .sender = SPAN("a@us.test"), .rcpts = rcpts, .is_8bit = is_8bit };
	struct client c;
	struct arena arena;
	struct buf out, in;
	bool dot = false;
	unsigned mails = 0;

	if (size < 3)
		return 0;
	settings.tls = (enum client_tls)(data[0] & 3);
	settings.lmtp = data[0] >> 2 & 1;
	mail.body8 = data[0] >> 3 & 1;
	mail.size = data[1];
	mail.requiretls = data[1] >> 2 & 1;
	mail.binary = data[1] >> 3 & 1;
	mail.by_mode = data[1] >> 4 & 3; /* none, notify, return; both is no row of any sender's */
	mail.by_left = by_left;
	mail.priority = data[1] >> 6 & 1 ? 19 : 0;
	mail.callout = data[1] >> 7;
	if (data[0] >> 4 & 1)
		settings.login = (struct client_login){ .user = SPAN("user"), .password = SPAN("pencil"), .nonce = SPAN("rOprNGfwEbeRWgbNEkqO"),
			.mechanisms = AUTH_ALL, .plaintext = data[0] >> 5 & 1 };
	settings.chunking = data[0] >> 6 & 1;
	mail.smtputf8 = data[0] >> 7 & 1;
	arena_init(&arena, 1 << 20);
	buf_init(&out, 1 << 20);
	buf_init(&in, 16384);
	client_init(&c, &settings, &out);
	for (size_t at = 3; at < size && client_want(&c) != CLIENT_WANT_CLOSE;) {
		size_t n = (size_t)(data[2] % 61) + 1;
		struct span rest;

		if (!c.mail && c.end == CLIENT_GOING && mails < 3) {
			arena_reset(&arena);
			for (size_t i = 0; i < 4; i++)
				rcpts[i] = (struct client_rcpt){ .address = SPAN("b@peer.test"), .notify = 1 };
			mail.nrcpts = 1 + (data[1] & 3);
			mail.arena = &arena;
			dot = false;
			mails++;
			client_start(&c, &mail);
		}
		n = n < size - at ? n : size - at;
		buf_put(&in, span_of(data + at, n));
		at += n;
		rest = buf_span(&in);
		client_feed(&c, &rest);
		buf_eat(&in, buf_len(&in) - rest.n);
		if (client_want(&c) == CLIENT_WANT_CONTENT && mail.callout)
			abort();
		if (client_want(&c) == CLIENT_WANT_CONTENT && (data[1] & 4 || at & 1)) {
			dot = true;
			client_content_sent(&c);
		}
		if (client_want(&c) == CLIENT_WANT_TLS)
			client_tls_done(&c, data[1] & 8, data[1] & 16, SPAN("x"));
		if (!buf_ok(&out) || !buf_ok(&in) || client_timeout_ms(&c) != 0)
			abort();
		if (mails)
			check(&mail, dot);
		buf_reset(&out);
	}
	if (data[1] & 32)
		client_timed_out(&c);
	else
		client_lost(&c, SPAN_NONE);
	if (c.mail || client_want(&c) != CLIENT_WANT_CLOSE)
		abort();
	if (mails)
		check(&mail, dot);
	client_free(&c);
	buf_free(&out);
	buf_free(&in);
	arena_free(&arena);
	return 0;
}
