/* SPDX-License-Identifier: ISC */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "net/proxy.h"

#define SIGNATURE "\r\n\r\n\0\r\nQUIT\n"
#define REST "220 x\r\n"

static const struct {
	struct span header;
	enum proxy_step step;
	const char *peer;
} rows[] = {
	{ SPAN_INIT("PROXY TCP4 192.0.2.1 198.51.100.1 4711 25\r\n"), PROXY_DONE, "192.0.2.1:4711" },
	{ SPAN_INIT("PROXY TCP6 2001:db8::1 2001:db8::2 1 65535\r\n"), PROXY_DONE, "[2001:db8::1]:1" },
	{ SPAN_INIT("PROXY UNKNOWN\r\n"), PROXY_DONE, "" },
	{ SPAN_INIT("PROXY UNKNOWN ffff:f...f:ffff ffff:f...f:ffff 65535 65535\r\n"), PROXY_DONE, "" },
	{ SPAN_INIT("PROXY TCP4 2001:db8::1 2001:db8::2 1 2\r\n"), PROXY_BAD, "" },
	{ SPAN_INIT("PROXY TCP4 192.0.2.1 198.51.100.1 4711\r\n"), PROXY_BAD, "" },
	{ SPAN_INIT("PROXY TCP4 192.0.2.1 198.51.100.1 4711 65536\r\n"), PROXY_BAD, "" },
	{ SPAN_INIT("PROXY TCP4 192.0.2.1 198.51.100.1 4711 25 x\r\n"), PROXY_BAD, "" },
	{ SPAN_INIT("PROXY UDP4 192.0.2.1 198.51.100.1 4711 25\r\n"), PROXY_BAD, "" },
	{ SPAN_INIT("PROXY TCP4 192.0.2.1 198.51.100.1 4711 25\n"), PROXY_BAD, "" },
	{ SPAN_INIT("PROXY UNKNOWN xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx\r\n"),
	  PROXY_BAD, "" },
	{ SPAN_INIT("EHLO x\r\n"), PROXY_BAD, "" },
	{ SPAN_INIT("PROXX "), PROXY_BAD, "" },
	{ SPAN_INIT(SIGNATURE "\x21\x11\x00\x0c\xc0\x00\x02\x01\xc6\x33\x64\x01\x12\x67\x00\x19"), PROXY_DONE, "192.0.2.1:4711" },
	{ SPAN_INIT(SIGNATURE "\x21\x21\x00\x24\x20\x01\x0d\xb8\0\0\0\0\0\0\0\0\0\0\0\x01\x20\x01\x0d\xb8\0\0\0\0\0\0\0\0\0\0\0\x02\x00\x01\x00\x19"),
	  PROXY_DONE, "[2001:db8::1]:1" },
	{ SPAN_INIT(SIGNATURE "\x21\x11\x00\x0f\xc0\x00\x02\x01\xc6\x33\x64\x01\x12\x67\x00\x19\x04\x00\x00"), PROXY_DONE, "192.0.2.1:4711" },
	{ SPAN_INIT(SIGNATURE "\x20\x00\x00\x00"), PROXY_DONE, "" },
	{ SPAN_INIT(SIGNATURE "\x21\x00\x00\x00"), PROXY_DONE, "" },
	{ SPAN_INIT(SIGNATURE "\x21\x11\x00\x04\xc0\x00\x02\x01"), PROXY_BAD, "" },
	{ SPAN_INIT(SIGNATURE "\x31\x11\x00\x0c\xc0\x00\x02\x01\xc6\x33\x64\x01\x12\x67\x00\x19"), PROXY_BAD, "" },
	{ SPAN_INIT(SIGNATURE "\x21\x12\x00\x0c\xc0\x00\x02\x01\xc6\x33\x64\x01\x12\x67\x00\x19"), PROXY_BAD, "" },
	{ SPAN_INIT(SIGNATURE "\x21\x11\xff\xff"), PROXY_BAD, "" },
	{ SPAN_INIT("\r\n\r\n\0\r\nQUITx"), PROXY_BAD, "" },
};

/* In pieces of that size, with more behind the header, of which nothing is taken. */
static void
in_pieces(size_t piece)
{
	for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++) {
		struct proxy p = { .n = 0 };
		char all[512], text[NETADDR_TEXT] = "";
		size_t n = rows[i].header.n, at = 0, use;
		enum proxy_step step = PROXY_MORE;

		memcpy(all, rows[i].header.p, n);
		memcpy(all + n, REST, sizeof(REST) - 1);
		while (step == PROXY_MORE && at < n + sizeof(REST) - 1) {
			size_t left = n + sizeof(REST) - 1 - at;

			step = proxy_next(&p, span_of(all + at, left < piece ? left : piece), &use);
			assert_true(use <= left && (use > 0 || step != PROXY_MORE));
			at += use;
		}
		assert_int_equal(step, rows[i].step);
		if (step == PROXY_DONE) {
			assert_int_equal(at, n);
			if (p.peer.len)
				(void)netaddr_text_port(&p.peer, text);
			assert_string_equal(text, rows[i].peer);
		}
	}
}

static void
headers_in_all_pieces(void **state)
{
	(void)state;
	for (size_t piece = 1; piece < 60; piece++)
		in_pieces(piece);
	in_pieces(1000);
}

int
main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(headers_in_all_pieces) };

	return cmocka_run_group_tests(tests, NULL, NULL);
}
