/* SPDX-License-Identifier: ISC
 *
 * What the search index leaves out is what no message has: random messages, random
 * needles, each search with the index, without it, and with threads that read ahead.
 */
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/base64.h"
#include "daemons/mailboxd/ahead.h"
#include "store/searchfile.h"

enum { MESSAGES = 100, NEEDLES = 300, TEXT_MAX = 3000, SHARE = 40 };

struct fixture {
	char dir[64];
	struct loop *loop;
	struct worker_pool *pool;
	struct store *store;
	struct view view;
	uint32_t seed;
	unsigned files;
	unsigned told; /* messages that threads have looked into */
	struct buf known[MESSAGES + 10]; /* a text that is in the nth message, in UTF-8 */
};

static const struct store_search with = { pieces_sign, SHARE }, without = { NULL, 0 };

static uint32_t
roll(struct fixture *f, uint32_t n)
{
	f->seed = f->seed * 1664525 + 1013904223;
	return (f->seed >> 8) % n;
}

static void
open_inbox(struct fixture *f)
{
	struct store_config config = { .loop = f->loop, .pool = f->pool, .base = open(f->dir, O_RDONLY | O_DIRECTORY), .host = SPAN("test") };
	struct fail why = { .text = "" };

	f->store = store_new(&config, &why);
	assert_non_null(f->store);
	store_set_search(f->store, &with);
	f->view = (struct view){ .owner = f };
	if (!view_open(&f->view, f->store, SPAN("INBOX"), false, &why))
		fail_msg("%s", why.text);
}

static void
close_inbox(struct fixture *f)
{
	view_close(&f->view);
	store_free(&f->store);
}

static int
setup(void **state)
{
	struct fixture *f = calloc(1, sizeof *f);

	(void)snprintf(f->dir, sizeof f->dir, "/tmp/test_search_index.XXXXXX");
	assert_non_null(mkdtemp(f->dir));
	f->loop = loop_new();
	f->pool = worker_pool_new(f->loop, 1);
	f->seed = 20261121;
	for (unsigned i = 0; i < sizeof f->known / sizeof *f->known; i++)
		buf_init(&f->known[i], TEXT_MAX * 8);
	open_inbox(f);
	*state = f;
	return 0;
}

static int
teardown(void **state)
{
	struct fixture *f = *state;
	char command[128];

	close_inbox(f);
	worker_pool_free(&f->pool);
	loop_free(&f->loop);
	for (unsigned i = 0; i < sizeof f->known / sizeof *f->known; i++)
		buf_free(&f->known[i]);
	(void)snprintf(command, sizeof command, "rm -rf %s", f->dir);
	assert_int_equal(system(command), 0);
	free(f);
	return 0;
}

/* ---- messages ---- */

/* Latin-1 letters (for any charset), words and line ends. */
static void
random_text(struct fixture *f, bool wide, struct buf *out)
{
	static const char *const words[] = { "Haystack", "needle", "the", "of", "Straße", "Größe", "naïve", "invoice", "2026", "a.b@example.org", "X", "éÉ", "über" };
	static const char *const wides[] = { "Ωμέγα", "Привет", "日本語", "가나다", "ﬁn", "ＡＢ" };
	uint32_t n = roll(f, 200);

	for (uint32_t i = 0; i < n; i++) {
		if (wide && roll(f, 4) == 0)
			buf_puts(out, wides[roll(f, sizeof wides / sizeof *wides)]);
		else if (roll(f, 5))
			buf_puts(out, words[roll(f, sizeof words / sizeof *words)]);
		else
			for (uint32_t k = roll(f, 9); k; k--)
				buf_putc(out, (char)('a' + roll(f, 26)));
		buf_puts(out, roll(f, 8) ? " " : "\r\n");
	}
	buf_puts(out, "\r\n");
}

static void
to_latin1(struct span utf8, struct buf *out)
{
	for (size_t i = 0; i < utf8.n; i++) {
		unsigned char c = (unsigned char)utf8.p[i];

		if (c < 0x80)
			buf_putc(out, utf8.p[i]);
		else if (i + 1 < utf8.n)
			buf_putc(out, (char)(c << 6 | ((unsigned char)utf8.p[++i] & 0x3f)));
	}
}

static void
to_html(struct fixture *f, struct span text, struct buf *out)
{
	buf_puts(out, "<html><head><title>t</title></head><body class=\"a>b\"><p>");
	for (size_t i = 0; i < text.n; i++) {
		if ((unsigned char)text.p[i] < 0x80 && roll(f, 12) == 0)
			buf_puts(out, roll(f, 2) ? "<b>" : "</i >");
		buf_putc(out, text.p[i]);
	}
	buf_puts(out, "</p></body></html>\r\n");
}

static void
put_encoded(struct fixture *f, struct span body, struct buf *out)
{
	switch (roll(f, 3)) {
	case 0:
		buf_puts(out, "Content-Transfer-Encoding: 8bit\r\n\r\n");
		buf_put(out, body);
		break;
	case 1:
		buf_puts(out, "Content-Transfer-Encoding: base64\r\n\r\n");
		for (size_t at = 0; at < body.n; at += 57) {
			base64_encode(out, span_sub(body, at, 57));
			buf_puts(out, "\r\n");
		}
		break;
	default:
		buf_puts(out, "Content-Transfer-Encoding: quoted-printable\r\n\r\n");
		for (size_t i = 0; i < body.n; i++) {
			if (body.p[i] == '\r' || body.p[i] == '\n' || (ascii_alnum(body.p[i]) && roll(f, 10)))
				buf_putc(out, body.p[i]);
			else
				buf_printf(out, "=%02X", (unsigned char)body.p[i]);
			if (roll(f, 30) == 0 && body.p[i] != '\r')
				buf_puts(out, "=\r\n");
		}
		buf_puts(out, "\r\n");
	}
}

static void
put_part(struct fixture *f, struct buf *out, struct buf *known)
{
	bool html = roll(f, 3) == 0, latin = roll(f, 3) == 0;
	struct buf text, coded, page;

	buf_init(&text, TEXT_MAX * 4);
	buf_init(&coded, TEXT_MAX * 4);
	buf_init(&page, TEXT_MAX * 16);
	random_text(f, !latin, &text);
	buf_put(known, buf_span(&text));
	if (latin)
		to_latin1(buf_span(&text), &coded);
	else
		buf_put(&coded, buf_span(&text));
	if (html)
		to_html(f, buf_span(&coded), &page);
	else
		buf_put(&page, buf_span(&coded));
	buf_printf(out, "Content-Type: text/%s; charset=%s\r\n", html ? "html" : "plain", latin ? "iso-8859-1" : "utf-8");
	put_encoded(f, buf_span(&page), out);
	buf_free(&text);
	buf_free(&coded);
	buf_free(&page);
}

static void
put_message(struct fixture *f, unsigned depth, struct buf *out, struct buf *known)
{
	uint32_t parts = roll(f, 4);

	buf_printf(out, "From: =?utf-8?B?R3LDvMOfZQ==?= <sender%u@else.test>\r\nSubject: =?iso-8859-1?Q?Gr=F6=DFe?= %x\r\n\tof the invoice\r\nX-Empty:\r\nMIME-Version: 1.0\r\n",
	    roll(f, 20), roll(f, 100000));
	if (parts < 2) {
		put_part(f, out, known);
		return;
	}
	buf_printf(out, "Content-Type: multipart/mixed; boundary=\"b%u\"\r\n\r\npreamble needle\r\n", depth);
	for (uint32_t i = 0; i < parts; i++) {
		buf_printf(out, "--b%u\r\n", depth);
		if (depth < 2 && roll(f, 4) == 0) {
			buf_puts(out, "Content-Type: message/rfc822\r\n\r\n");
			put_message(f, depth + 1, out, known);
		} else if (roll(f, 6) == 0) {
			buf_puts(out, "Content-Type: image/gif\r\n\r\nGIF89a haystack\r\n");
		} else {
			put_part(f, out, known);
		}
		buf_puts(out, "\r\n");
	}
	buf_printf(out, "--b%u--\r\n", depth);
}

static void
deliver(struct fixture *f, struct span text)
{
	char path[200];
	FILE *out;

	(void)snprintf(path, sizeof path, "%s/new/%u.M%uP1.test", f->dir, 1700000000 + f->files, f->files);
	f->files++;
	out = fopen(path, "w");
	assert_non_null(out);
	assert_int_equal(fwrite(text.p, 1, text.n, out), text.n);
	assert_int_equal(fclose(out), 0);
}

static void
deliver_random(struct fixture *f, unsigned n)
{
	for (unsigned i = 0; i < n; i++) {
		struct buf message;

		buf_init(&message, 1 << 20);
		put_message(f, 0, &message, &f->known[f->files % (sizeof f->known / sizeof *f->known)]);
		assert_true(buf_ok(&message));
		deliver(f, buf_span(&message));
		buf_free(&message);
	}
}

static void
on_nothing(struct view *v, uint32_t a, uint32_t b)
{
	(void)v, (void)a, (void)b;
}

static void
on_no_flags(struct view *v, uint32_t seq, const struct message *m)
{
	(void)v, (void)seq, (void)m;
}

static void
see(struct fixture *f, uint32_t count)
{
	static const struct view_events events = { on_nothing, on_nothing, on_no_flags };

	for (unsigned i = 0; i < 500 && view_count(&f->view) != count; i++) {
		(void)loop_turn(f->loop, 10);
		view_sync(&f->view, &events, true);
	}
	assert_int_equal(view_count(&f->view), count);
}

/* ---- searches ---- */

/* False: no message has it, says the index. */
static bool
may_have(struct fixture *f, uint32_t seq, struct span needle)
{
	struct signature_query q;

	signature_query(&q, needle);
	return mailbox_may_have(f->view.mailbox, view_message(&f->view, seq), &q);
}

/* Asked until it knows all messages. */
static void
index_all(struct fixture *f)
{
	static const struct span absent = SPAN_INIT("qzxvw-never-written");
	unsigned left = view_count(&f->view);

	for (unsigned i = 0; i < 3000 && left; i++) {
		(void)loop_turn(f->loop, 10);
		left = 0;
		for (uint32_t seq = 1; seq <= view_count(&f->view); seq++)
			left += may_have(f, seq, absent);
	}
	assert_int_equal(left, 0);
}

/* As a command would; what cannot be looked into ahead is read as ever. */
static void
look_ahead(struct fixture *f, struct ahead *a, uint32_t seq)
{
	while (ahead_waits(a, seq, view_uid(&f->view, seq))) {
		a->cmd->s->base.waiting = true;
		while (a->cmd->s->base.waiting)
			assert_true(loop_turn(f->loop, 1000));
	}
	f->told += a->search->said != 0;
}

static void
run_search(struct fixture *f, const char *key, struct span needle, bool ahead, struct uidset *hits)
{
	struct imap session = { .state = STATE_SELECTED };
	struct cmd c = { .s = &session };
	struct ahead a;
	struct imap_parse p;
	struct arena arena;
	struct search s;
	struct text t;
	struct buf program;

	arena_init(&arena, 1 << 20);
	buf_init(&program, 1 << 16);
	buf_printf(&program, "%s {%zu+}\r\n", key, needle.n);
	buf_put(&program, needle);
	buf_put(&program, SPAN("\r\n"));
	p = imap_parse_of(buf_span(&program), &arena);
	search_init(&s);
	text_init(&t);
	if (!search_parse(&s, &p, &f->view, NULL))
		fail_msg("%.*s: %s", SPAN_ARG(buf_span(&program)), p.bad);
	ahead = ahead && search_may_look(&s);
	if (ahead)
		ahead_start(&a, &c, &s, &f->view, &t);
	for (uint32_t seq = 1; seq <= view_count(&f->view); seq++) {
		if (ahead)
			look_ahead(f, &a, seq);
		if (search_fits(&s, &f->view, seq, view_message(&f->view, seq), &t))
			uidset_add(hits, seq, seq);
	}
	if (ahead)
		ahead_stop(&a);
	text_free(&t);
	search_free(&s);
	buf_free(&program);
	arena_free(&arena);
}

static uint64_t
search_with(struct fixture *f, const char *key, struct span needle, const struct store_search *index, bool ahead, struct buf *out)
{
	struct uidset hits;
	uint64_t n;

	uidset_init(&hits);
	buf_init(out, 1 << 16);
	store_set_search(f->store, index);
	run_search(f, key, needle, ahead, &hits);
	store_set_search(f->store, &with);
	uidset_text(&hits, out);
	n = uidset_count(&hits);
	uidset_free(&hits);
	return n;
}

/* How many messages have it; the same with the index or threads as without. */
static uint64_t
agree(struct fixture *f, const char *key, struct span needle)
{
	struct buf plain, fast, ahead, both;
	uint64_t n = search_with(f, key, needle, &without, false, &plain);

	(void)search_with(f, key, needle, &with, false, &fast);
	(void)search_with(f, key, needle, &without, true, &ahead);
	(void)search_with(f, key, needle, &with, true, &both);
	if (!span_eq(buf_span(&plain), buf_span(&fast)) || !span_eq(buf_span(&plain), buf_span(&ahead)) || !span_eq(buf_span(&plain), buf_span(&both)))
		fail_msg("%s \"%.*s\": %.*s, with the index %.*s, ahead %.*s, both %.*s", key, SPAN_ARG(needle), SPAN_ARG(buf_span(&plain)),
		    SPAN_ARG(buf_span(&fast)), SPAN_ARG(buf_span(&ahead)), SPAN_ARG(buf_span(&both)));
	buf_free(&plain);
	buf_free(&fast);
	buf_free(&ahead);
	buf_free(&both);
	return n;
}

/* A piece of something known, mostly whole characters, perhaps in the other case; or of two things. */
static void
random_needle(struct fixture *f, struct buf *out)
{
	struct span from = buf_span(&f->known[roll(f, MESSAGES)]), piece;

	piece = span_sub(from, roll(f, (uint32_t)from.n + 1), 1 + roll(f, 40));
	while (piece.n && ((unsigned char)piece.p[0] & 0xc0) == 0x80)
		piece = span_from(piece, 1);
	buf_put(out, piece);
	if (roll(f, 10) == 0)
		buf_put(out, span_sub(buf_span(&f->known[roll(f, MESSAGES)]), 0, roll(f, 10)));
	if (roll(f, 2))
		for (size_t i = 0; i < buf_len(out); i++)
			out->mem[out->at + i] = ascii_upper(out->mem[out->at + i]);
}

static void
random_searches_agree(void **state)
{
	static const char *const keys[] = { "BODY", "TEXT", "NOT BODY", "HEADER Subject", "OR SUBJECT x BODY", "FUZZY TEXT",
		"OR BODY hay NOT TEXT", "BODY e NOT TEXT", "NOT (BODY a BODY e) OR UID 3:40 TEXT", "BODY a BODY b BODY c BODY d BODY e BODY f BODY g BODY", "BODY \"\" BODY" };
	struct fixture *f = *state;
	unsigned found = 0;

	deliver_random(f, MESSAGES);
	see(f, MESSAGES);
	index_all(f);
	for (unsigned i = 0; i < NEEDLES; i++) {
		struct buf needle;

		buf_init(&needle, 200);
		random_needle(f, &needle);
		if (span_chr(buf_span(&needle), '\0') == SIZE_MAX)
			found += agree(f, keys[roll(f, sizeof keys / sizeof *keys)], buf_span(&needle)) > 0;
		buf_free(&needle);
	}
	assert_in_range(found, NEEDLES / 4, NEEDLES - 10); /* else it shows nothing */
	assert_in_range(f->told, NEEDLES * MESSAGES / 4, NEEDLES * MESSAGES * 2);
}

/* What is looked into and what is not, decoded: with the index as without. */
static void
texts_as_a_reader_sees_them(void **state)
{
	static const struct {
		const char *key, *needle;
		unsigned hits;
	} rows[] = {
		{ "BODY", "haystack", 2 }, { "BODY", "HAYSTACK and more", 1 }, { "BODY", "gr\xc3\xbc\xc3\x9f", 1 }, { "BODY", "GR\xc3\x9c\xc3\x9f", 1 },
		{ "BODY", "href", 0 }, { "BODY", "colour: red", 0 }, { "BODY", "one two", 1 }, { "BODY", "a < b", 1 }, { "BODY", "&lt;", 0 },
		{ "BODY", "kept subject", 0 }, { "TEXT", "kept subject", 1 }, { "TEXT", "subject: kept", 1 }, { "HEADER X-Some", "", 1 },
		{ "HEADER X-Some", "thing", 1 }, { "HEADER X-Other", "", 0 }, { "BODY", "\xe6\x9c\xac\xe8\xaa\x9e", 1 }, { "BODY", "\xe6\x97\xa5\xe6\x9c\xac", 2 },
		{ "BODY", "inner subject", 1 }, { "BODY", "second line", 0 }, { "BODY", "first line\r\nsecond", 1 }, { "BODY", "x", 3 },
	};
	struct fixture *f = *state;

	deliver(f, SPAN("Subject: Kept subject\r\nX-Some: thing\r\nContent-Type: text/html; charset=iso-8859-1\r\n\r\n"
		"<style>p { colour: red }</style><a href='x'>Hay<b>stack</b></a> and\r\n more<p>one<p>two a &lt; b gr\xfc\xdf""e &#26085;&#26412;x\r\n"));
	deliver(f, SPAN("Content-Type: text/plain; charset=shift_jis\r\nContent-Transfer-Encoding: base64\r\n\r\nk/qWe4zqIGhheXN0YWNr\r\n"));
	deliver(f, SPAN("Content-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\nContent-Type: message/rfc822\r\n\r\nSubject: Inner subject\r\n\r\n"
		"first line\r\nsecond x\r\n--b\r\n\r\nline\r\n--b--\r\n"));
	deliver(f, SPAN("Subject: other\r\n\r\nhay\r\nstack x\r\n"));
	see(f, 4);
	index_all(f);
	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
		if (agree(f, rows[i].key, span_str(rows[i].needle)) != rows[i].hits)
			fail_msg("%s %s: not %u hits", rows[i].key, rows[i].needle, rows[i].hits);
}

static bool
on_disk(struct fixture *f)
{
	char path[128];

	(void)snprintf(path, sizeof path, "%s/%s", f->dir, SEARCHFILE_NAME);
	return access(path, F_OK) == 0;
}

/* The file on disk ends with this UID. */
static bool
reaches(struct fixture *f, uint32_t uid)
{
	struct vfs *v = vfs_posix_new(f->dir, NULL);
	struct searchfile file;
	bool yes;

	assert_non_null(v);
	searchfile_init(&file);
	yes = searchfile_open(&file, v, SEARCHFILE_NAME, mailbox_uidvalidity(f->view.mailbox), VFS_READ) && searchfile_last(&file) == uid;
	searchfile_close(&file);
	vfs_posix_free(&v);
	return yes;
}

static void
wait_ms(struct fixture *f, int64_t ms)
{
	int64_t end = loop_now_ms(f->loop) + ms;

	while (loop_now_ms(f->loop) < end)
		(void)loop_turn(f->loop, 20);
}

/* Not before it is asked for; then kept up, over a new start too; gone by the setting. */
static void
lives_as_long_as_it_is_wanted(void **state)
{
	struct fixture *f = *state;
	struct uidset all;

	deliver_random(f, 20);
	see(f, 20);
	wait_ms(f, 1500);
	assert_false(on_disk(f));
	assert_true(may_have(f, 1, SPAN("qzxvw")));
	index_all(f);
	assert_true(on_disk(f));
	deliver_random(f, 3);
	see(f, 23);
	for (unsigned i = 0; i < 100 && !reaches(f, 23); i++) /* without being asked */
		wait_ms(f, 100);
	assert_true(reaches(f, 23));
	close_inbox(f);
	open_inbox(f);
	assert_true(may_have(f, 23, SPAN("qzxvw")));
	index_all(f);
	uidset_init(&all);
	uidset_add(&all, 2, 22);
	assert_true(mailbox_remove(&f->view, &all, NULL));
	uidset_free(&all);
	see(f, 2);
	assert_false(may_have(f, 2, SPAN("qzxvw")));
	store_set_search(f->store, &(struct store_search){ pieces_sign, 0 });
	assert_true(may_have(f, 2, SPAN("qzxvw")));
	close_inbox(f);
	open_inbox(f);
	store_set_search(f->store, &(struct store_search){ pieces_sign, 0 });
	for (unsigned i = 0; i < 100 && on_disk(f); i++)
		wait_ms(f, 100);
	assert_false(on_disk(f));
}

int
main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
	const struct CMUnitTest tests[] = {
		T(texts_as_a_reader_sees_them),
		T(random_searches_agree),
		T(lives_as_long_as_it_is_wanted),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
