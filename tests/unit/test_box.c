/* SPDX-License-Identifier: ISC */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "sys/box.h"

static struct box_name
name(const char *text)
{
	struct box_name n = { { 0 } };

	assert_true(box_name_parse(span_str(text), &n));
	return n;
}

static void
same_text(const char *in, const char *out)
{
	char text[BOX_TEXT];

	assert_string_equal(box_name_text(name(in), text).p, out);
}

static void
an_ipv6_peer_counts_by_its_network(void **state)
{
	struct box_name n;

	(void)state;
	same_text("192.0.2.1", "192.0.2.1");
	same_text("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64");
	same_text("2001:db8:1:2::/64", "2001:db8:1:2::/64");
	assert_false(box_name_parse(SPAN("mail.example.test"), &n));
	assert_false(box_name_parse(SPAN(""), &n));
	assert_false(box_name_parse(SPAN("192.0.2.1, and a text that is far longer than any address of any kind"), &n));
}

static void
levels_are_bounded_and_forgotten(void **state)
{
	struct box b;
	char text[BOX_TEXT];

	(void)state;
	box_init(&b);
	for (unsigned i = 0; i < BOX_PEERS; i++) {
		(void)snprintf(text, sizeof(text), "10.0.%u.%u", i / 250, i % 250);
		assert_true(box_set(&b, name(text), i % 2 ? BOX_SUSPECT : BOX_SHUNNED));
	}
	assert_false(box_set(&b, name("192.0.2.1"), BOX_SUSPECT));
	assert_int_equal(box_level(&b, name("10.0.0.1")), BOX_SUSPECT);
	assert_int_equal(box_level(&b, name("10.0.0.2")), BOX_SHUNNED);
	assert_int_equal(box_level(&b, name("192.0.2.1")), BOX_CLEAR);
	assert_true(box_set(&b, name("10.0.0.2"), BOX_CLEAR));
	assert_true(box_set(&b, name("10.0.0.2"), BOX_CLEAR));
	assert_int_equal(box_level(&b, name("10.0.0.2")), BOX_CLEAR);
	assert_true(box_set(&b, name("192.0.2.1"), BOX_SUSPECT));
	box_free(&b);
}

struct rig {
	struct box box;
	struct box_page *page;
	struct buf input, text;
};

static void
rig_open(struct rig *r)
{
	int fd;

	box_init(&r->box);
	buf_init(&r->input, BOX_INPUT);
	buf_init(&r->text, 1 << 20);
	r->page = box_make(&fd);
	assert_non_null(r->page);
	assert_true(box_take(&r->box, fd));
}

static void
rig_close(struct rig *r)
{
	box_free(&r->box);
	box_drop(&r->page);
	buf_free(&r->input);
	buf_free(&r->text);
}

static void
print(void *arg, uint32_t session, struct span bytes)
{
	struct rig *r = arg;

	buf_printf(&r->text, "%u:", session);
	buf_put(&r->text, bytes);
}

static const char *
kept(struct rig *r)
{
	buf_reset(&r->input);
	buf_reset(&r->text);
	(void)box_read(r->page, &r->input);
	assert_true(buf_ok(&r->input));
	assert_true(box_each(buf_span(&r->input), print, r));
	buf_putc(&r->text, '\0');
	return buf_span(&r->text).p;
}

static void
whom_it_works_for_stands_in_the_page_while_it_does(void **state)
{
	struct rig r;
	struct box_now before, mine = { .name = name("192.0.2.7"), .about = 5 }, now;

	(void)state;
	rig_open(&r);
	before = box_enter(&r.box, mine);
	now = box_read(r.page, &r.input);
	assert_memory_equal(&now, &mine, sizeof(now));
	box_leave(&r.box, before);
	now = box_read(r.page, &r.input);
	assert_int_equal(now.name.w[0] | now.name.w[1] | now.about, 0);
	rig_close(&r);
}

static void
input_is_kept_by_session_and_the_oldest_goes(void **state)
{
	struct rig r;
	struct box_tape *one, *two;
	char many[5000];

	(void)state;
	rig_open(&r);
	one = box_tape_new(&r.box, true);
	two = box_tape_new(&r.box, true);
	box_tape_note(one, SPAN("EHLO a\r\n"));
	box_tape_note(two, SPAN("EHLO b\r\n"));
	assert_string_equal(kept(&r), "1:EHLO a\r\n2:EHLO b\r\n");
	memset(many, 'm', sizeof(many));
	for (int i = 0; i < 100; i++)
		box_tape_note(one, span_of(many, sizeof(many)));
	box_tape_note(one, SPAN("the end"));
	assert_null(strstr(kept(&r), "EHLO"));
	assert_non_null(strstr(kept(&r), "mmmm1:the end"));
	assert_true(buf_len(&r.input) > BOX_HALF && buf_len(&r.input) <= BOX_INPUT);
	free(one);
	free(two);
	rig_close(&r);
}

static void
secret(const char *const chunks[], bool sticky, const char *want)
{
	struct rig r;
	struct box_tape *t;
	const char *text;
	char got[512] = "";

	rig_open(&r);
	t = box_tape_new(&r.box, sticky);
	for (; *chunks; chunks++)
		box_tape_note(t, span_str(*chunks));
	for (text = kept(&r); *text; text++) /* without the marks of parts */
		if (!(text[0] == '1' && text[1] == ':') && !(text[0] == ':' && text[-1] == '1'))
			(void)strncat(got, text, 1);
	assert_string_equal(got, want);
	free(t);
	rig_close(&r);
}

#define CHUNKS(...) ((const char *const[]){ __VA_ARGS__, NULL })

static void
secrets_are_not_kept(void **state)
{
	(void)state;
	secret(CHUNKS("EHLO a\r\nAUTH PLAIN AGFsaWNl\r\nMAIL\r\n"), true, "EHLO a\r\nAUTH xxxxx xxxxxxxx\r\nxxxx\r\n");
	secret(CHUNKS("auth login\r\n", "c2VjcmV0\r\n", "c2Vj==\r\n"), true, "auth xxxxx\r\nxxxxxxxx\r\nxxxxxx\r\n");
	secret(CHUNKS("AU", "TH PL", "AIN secret\r\n"), true, "AUTH xxxxx xxxxxx\r\n");
	secret(CHUNKS("AUTH\tPLAIN\tAGFsaWNl\r\n"), true, "AUTH\txxxxx\txxxxxxxx\r\n"); /* smtpd takes it */
	secret(CHUNKS("USER bob\r\nPASS a secret\r\n"), true, "USER bob\r\nPASS x xxxxxx\r\n");
	secret(CHUNKS("a LOGIN {3}\r\n", "bob {6}\r\n", "secret\r\n"), true, "a LOGIN xxx\r\nxxx xxx\r\nxxxxxx\r\n");
	secret(CHUNKS("a1 AUTHENTICATE PLAIN AGE=\r\n"), true, "a1 AUTHENTICATE xxxxx xxxx\r\n");
	secret(CHUNKS("a UNAUTHENTICATE\r\nb LOGIN bob secret\r\n", "c NOOP\r\n"), false, "a UNAUTHENTICATE\r\nb LOGIN xxx xxxxxx\r\nc NOOP\r\n");
	secret(CHUNKS("MAIL FROM:<auth@x>\r\nRCPT TO:<pass>\r\na b login x\r\n"), true, "MAIL FROM:<auth@x>\r\nRCPT TO:<pass>\r\na b login x\r\n");
}

static void
what_a_broken_process_leaves_is_not_believed(void **state)
{
	struct rig r;
	struct box_tape *t;
	uint32_t *words;
	size_t n;

	(void)state;
	rig_open(&r);
	t = box_tape_new(&r.box, true);
	box_tape_note(t, SPAN("QUIT\r\n"));
	words = (uint32_t *)(void *)r.page;
	n = (sizeof(struct box_now) + 12 + 2 * BOX_HALF) / sizeof(*words);
	for (uint32_t seed = 1; seed < 2000; seed++) {
		uint32_t x = seed;

		for (size_t i = 0; i < n; i++) {
			x = x * 1664525 + 1013904223;
			words[i] = seed % 3 ? x >> (x % 32) : x;
		}
		buf_reset(&r.input);
		(void)box_read(r.page, &r.input);
		assert_true(buf_ok(&r.input));
		assert_true(box_each(buf_span(&r.input), print, &r));
		buf_reset(&r.text);
	}
	memset(words, 0xff, n * sizeof(*words));
	buf_reset(&r.input);
	(void)box_read(r.page, &r.input);
	assert_int_equal(buf_len(&r.input), 0);
	assert_false(box_each(SPAN("abc"), print, &r));
	assert_false(box_each(SPAN("aaaabbbbc"), print, &r));
	free(t);
	rig_close(&r);
}

static void
nobody_can_cut_the_page_off(void **state)
{
	struct box_page *page;
	int fd;

	(void)state;
	page = box_make(&fd);
	assert_non_null(page);
	assert_int_equal(ftruncate(fd, 0), -1);
	(void)close(fd);
	box_drop(&page);
	assert_null(page);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(an_ipv6_peer_counts_by_its_network),
		cmocka_unit_test(levels_are_bounded_and_forgotten),
		cmocka_unit_test(whom_it_works_for_stands_in_the_page_while_it_does),
		cmocka_unit_test(input_is_kept_by_session_and_the_oldest_goes),
		cmocka_unit_test(secrets_are_not_kept),
		cmocka_unit_test(what_a_broken_process_leaves_is_not_believed),
		cmocka_unit_test(nobody_can_cut_the_page_off),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
