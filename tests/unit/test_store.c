/* SPDX-License-Identifier: ISC
 *
 * The modules below mailboxes: sets, names, file names, uid lists, the index and its snapshot.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "store/maildir.h"
#include "store/name.h"
#include "store/snapshot.h"
#include "store/uidlist.h"

/* ---- uidset ---- */

static void
assert_set(const struct uidset *s, const char *want)
{
	struct buf text;

	buf_init(&text, 4096);
	uidset_text(s, &text);
	assert_true(buf_ok(&text));
	if (!span_eq(buf_span(&text), span_str(want)))
		fail_msg("set is %.*s, not %s", SPAN_ARG(buf_span(&text)), want);
	buf_free(&text);
}

static void
test_uidset_parse(void **state)
{
	static const struct {
		const char *text, *set; /* NULL: malformed */
	} rows[] = {
		{ "1", "1" }, { "1:3", "1:3" }, { "3:1", "1:3" }, { "1,2,3", "1:3" }, { "5,1:2,4", "1:2,4:5" }, { "*", "9" },
		{ "4:*", "4:9" }, { "*:4", "4:9" }, { "12:*", "9:12" }, { "1:4,2:6,8", "1:6,8" }, { "4294967295", "4294967295" },
		{ "", NULL }, { "0", NULL }, { "01", NULL }, { "1:", NULL }, { ":1", NULL }, { "1,", NULL }, { ",1", NULL }, { "1:2:3", NULL },
		{ "4294967296", NULL }, { "1 ", NULL }, { "a", NULL }, { "**", NULL }, { "-1", NULL },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++) {
		struct uidset s;

		uidset_init(&s);
		assert_int_equal(uidset_parse(&s, span_str(rows[i].text), 9), rows[i].set != NULL);
		if (rows[i].set)
			assert_set(&s, rows[i].set);
		uidset_free(&s);
	}
}

/* Against a plain array of bits. */
static void
test_uidset_model(void **state)
{
	enum { SIZE = 40 };
	bool model[SIZE + 1] = { false };
	struct uidset s;
	unsigned seed = 1;

	(void)state;
	uidset_init(&s);
	for (int step = 0; step < 20000; step++) {
		uint32_t lo, hi, count = 0;

		seed = seed * 1103515245 + 12345;
		lo = 1 + (seed >> 16) % SIZE;
		seed = seed * 1103515245 + 12345;
		hi = lo + (seed >> 16) % 5;
		if (hi > SIZE)
			hi = SIZE;
		if (seed >> 28 & 1)
			uidset_add(&s, lo, hi);
		else
			uidset_remove(&s, lo, hi);
		for (uint32_t i = lo; i <= hi; i++)
			model[i] = seed >> 28 & 1;
		for (uint32_t i = 1; i <= SIZE; i++) {
			assert_int_equal(uidset_has(&s, i), model[i]);
			assert_int_equal(uidset_below(&s, i), count);
			if (model[i])
				assert_int_equal(uidset_nth(&s, count), i);
			count += model[i];
		}
		assert_int_equal(uidset_count(&s), count);
		assert_int_equal(uidset_nth(&s, count), 0);
		for (size_t i = 1; i < s.n; i++)
			assert_true(s.ranges[i - 1].hi + 1 < s.ranges[i].lo);
	}
	uidset_free(&s);
}

/* ---- name ---- */

static void
test_name_mapping(void **state)
{
	static const struct {
		const char *disk, *utf8;
	} rows[] = {
		{ "INBOX", "INBOX" },
		{ "Entw&APw-rfe", "Entw\303\274rfe" },
		{ "A&-B", "A&B" },
		{ "~peter.mail.&U,BTFw-.&ZeVnLIqe-", "~peter.mail.\345\217\260\345\214\227.\346\227\245\346\234\254\350\252\236" },
		{ "&2D3eAA-", "\360\237\230\200" },
	};
	static const char *const bad[] = { "", ".a", "a.", "a..b", "a/b", "&", "&AGE-", "&A-", "&APw", "a\nb", "\303\274", "&2D0-", "&3gA-", "&AP!-",
		"&APw-&APw-", "&AAA-" };

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++) {
		struct buf out;

		buf_init(&out, 1000);
		assert_true(name_valid(span_str(rows[i].disk)));
		assert_true(name_to_utf8(span_str(rows[i].disk), &out));
		assert_true(span_eq(buf_span(&out), span_str(rows[i].utf8)));
		buf_reset(&out);
		assert_true(name_from_utf8(span_str(rows[i].utf8), &out));
		assert_true(span_eq(buf_span(&out), span_str(rows[i].disk)));
		buf_free(&out);
	}
	for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++)
		if (name_valid(span_str(bad[i])))
			fail_msg("%s is taken for a valid name", bad[i]);
	assert_true(span_eq(name_fold(SPAN("iNboX")), SPAN("INBOX")));
	assert_true(span_eq(name_fold(SPAN("inboxes")), SPAN("inboxes")));
}

/* ---- maildir ---- */

static void
test_file_names(void **state)
{
	static const struct {
		const char *file, *base, *odd;
		uint32_t letters;
		uint64_t size, vsize;
	} rows[] = {
		{ "1.a", "1.a", "", 0, UINT64_MAX, UINT64_MAX },
		{ "1.a:2,", "1.a", "", 0, UINT64_MAX, UINT64_MAX },
		{ "1.a,S=12,W=13:2,FS", "1.a,S=12,W=13", "", LETTER_FLAGGED | LETTER_SEEN, 12, 13 },
		{ "1.a:2,DFPRSTaz", "1.a", "",
		    LETTER_DRAFT | LETTER_FLAGGED | LETTER_PASSED | LETTER_ANSWERED | LETTER_SEEN | LETTER_DELETED | 1u << LETTER_KEYWORD_SHIFT |
			1u << (LETTER_KEYWORD_SHIFT + 25),
		    UINT64_MAX, UINT64_MAX },
		{ "1.a:2,SF", "1.a", ":2,SF", LETTER_FLAGGED | LETTER_SEEN, UINT64_MAX, UINT64_MAX },
		{ "1.a:2,SX", "1.a", ":2,SX", LETTER_SEEN, UINT64_MAX, UINT64_MAX },
		{ "1.a:1,x", "1.a", ":1,x", 0, UINT64_MAX, UINT64_MAX },
		{ "1.a,S=x", "1.a,S=x", "", 0, UINT64_MAX, UINT64_MAX },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++) {
		char path[MAILDIR_NAME_MAX + 5];
		struct maildir_name n;
		bool in_new = !strchr(rows[i].file, ':');

		assert_true(maildir_name_parse(span_str(rows[i].file), &n));
		assert_true(span_eq(n.base, span_str(rows[i].base)));
		assert_true(span_eq(n.odd, span_str(rows[i].odd)));
		assert_int_equal(n.letters, rows[i].letters);
		assert_int_equal(n.size, rows[i].size);
		assert_int_equal(n.vsize, rows[i].vsize);
		assert_true(maildir_path(path, n.base, n.odd, n.letters, in_new));
		assert_string_equal(path + 4, rows[i].file);
	}
	assert_false(maildir_name_parse(SPAN(".hidden"), &(struct maildir_name){ 0 }));
	assert_false(maildir_name_parse(SPAN(":2,S"), &(struct maildir_name){ 0 }));
	assert_false(maildir_name_parse(SPAN(""), &(struct maildir_name){ 0 }));
}

static void
test_unique_names_differ(void **state)
{
	struct maildir_namer n;
	char a[MAILDIR_BASE_MAX], b[MAILDIR_BASE_MAX];

	(void)state;
	maildir_namer_init(&n, SPAN("ho/st:x"));
	maildir_unique(&n, a);
	maildir_unique(&n, b);
	assert_string_not_equal(a, b);
	assert_null(strpbrk(a, "/:"));
	maildir_add_sizes(a, 10, 12);
	assert_non_null(strstr(a, ",S=10,W=12"));
}

/* ---- uidlist ---- */

static void
test_uidlist(void **state)
{
	struct uidlist l;
	struct uidlist_entry e;

	(void)state;
	assert_true(uidlist_open(&l, SPAN("3 V7 N30 Gabc\nrubbish\n5 S12 W13 :one,S=12:2,S\n4 :late\n9 Pmine O2 :two\n12\n20 :three")));
	assert_int_equal(l.uidvalidity, 7);
	assert_int_equal(l.uidnext, 30);
	assert_true(uidlist_next(&l, &e));
	assert_int_equal(e.uid, 5);
	assert_true(span_eq(e.base, SPAN("one,S=12")));
	assert_true(uidlist_next(&l, &e));
	assert_int_equal(e.uid, 9);
	assert_true(span_eq(e.uidl, SPAN("mine")));
	assert_true(uidlist_next(&l, &e));
	assert_int_equal(e.uid, 20);
	assert_false(uidlist_next(&l, &e));
	assert_true(uidlist_open(&l, SPAN("1 100 5\n3 name\n")));
	assert_true(uidlist_next(&l, &e) && e.uid == 3 && span_eq(e.base, SPAN("name")));
	assert_false(uidlist_open(&l, SPAN("")));
	assert_false(uidlist_open(&l, SPAN("2 1 1\n")));
	assert_false(uidlist_open(&l, SPAN("3 N5\n")));
	assert_false(uidlist_open(&l, SPAN("3 V0 N5\n")));
}

/* ---- index ---- */

static bool
apply_uids(struct index *ix, unsigned type, union record *r, struct span *field, uint32_t lo, uint32_t hi)
{
	struct buf b;
	bool ok;

	buf_init(&b, 100);
	record_put_uids(&b, &(struct uid_range){ lo, hi }, 1);
	*field = buf_span(&b);
	ok = index_apply(ix, type, r);
	buf_free(&b);
	return ok;
}

static void
fill_index(struct index *ix, uint32_t n)
{
	union record r = { .start = { .uidvalidity = 77, .uidnext = 1, .modseq = 1 } };
	char base[32];

	index_init(ix);
	assert_true(index_apply(ix, RECORD_start, &r));
	for (uint32_t i = 1; i <= n; i++) {
		(void)snprintf(base, sizeof(base), "file%u", i);
		r.message = (struct record_message){ .uid = i * 2, .modseq = i, .size = 10, .base = span_str(base), .uidl = i == 3 ? SPAN("uidl3") : SPAN_NONE };
		assert_true(index_apply(ix, RECORD_message, &r));
	}
}

static void
test_index_records(void **state)
{
	struct index ix;
	union record r;
	struct index_names names;

	(void)state;
	fill_index(&ix, 10);
	assert_int_equal(ix.uidnext, 21);
	assert_int_equal(ix.unseen, 10);
	assert_int_equal(ix.total, 100);
	r.message = (struct record_message){ .uid = 20, .base = SPAN("x") };
	assert_false(index_apply(&ix, RECORD_message, &r)); /* a UID is never given again */
	r.flags = (struct record_flags){ .op = FLAGS_ADD, .flags = FLAG_SEEN, .modseq = 50 };
	assert_true(apply_uids(&ix, RECORD_flags, &r, &r.flags.uids, 3, 9));
	assert_int_equal(ix.unseen, 7);
	assert_int_equal(ix.modseq, 50);
	assert_true(index_lags(index_find(&ix, 4)));
	r.named = (struct record_named){ .letters = LETTER_SEEN };
	assert_true(apply_uids(&ix, RECORD_named, &r, &r.named.uids, 4, 4));
	assert_false(index_lags(index_find(&ix, 4)));
	assert_true(index_names_build(&names, &ix, false));
	assert_int_equal(index_names_find(&names, &ix, SPAN("file5"))->uid, 10);
	r.expunge = (struct record_expunge){ .modseq = 51 };
	assert_true(apply_uids(&ix, RECORD_expunge, &r, &r.expunge.uids, 4, 10));
	assert_int_equal(ix.n, 6);
	assert_int_equal(ix.ndoomed, 4);
	assert_null(index_find(&ix, 6));
	assert_null(index_names_find(&names, &ix, SPAN("file5")));
	assert_int_equal(index_names_find(&names, &ix, SPAN("file6"))->uid, 12);
	index_names_free(&names);
	assert_int_equal(ix.unseen, 6);
	assert_int_equal(ix.nvanished, 1);
	r.removed.uids = SPAN_NONE;
	assert_true(apply_uids(&ix, RECORD_removed, &r, &r.removed.uids, 4, 7));
	assert_int_equal(ix.ndoomed, 2);
	r.renamed = (struct record_renamed){ .uid = 12, .letters = LETTER_FLAGGED, .odd = SPAN(":2,Fx,y") };
	assert_true(index_apply(&ix, RECORD_renamed, &r));
	assert_true(span_eq(index_odd(&ix, index_find(&ix, 12)), SPAN(":2,Fx,y")));
	assert_true(span_eq(index_base(&ix, index_find(&ix, 12)), SPAN("file6")));
	index_free(&ix);
}

/* After a crash a file may be missing though its directory has the time it had before. */
static void
test_arrivals_outdate_the_stamps(void **state)
{
	union record r = { .stamps = { .new_ns = 5, .cur_ns = 7 } };
	struct index ix;

	(void)state;
	fill_index(&ix, 1);
	assert_true(index_apply(&ix, RECORD_stamps, &r));
	r.message = (struct record_message){ .uid = 3, .base = SPAN("a"), .bits = MESSAGE_NEW };
	assert_true(index_apply(&ix, RECORD_message, &r)); /* in new/: durable before it had a record */
	assert_int_equal(ix.stamp_cur, 7);
	r.message = (struct record_message){ .uid = 4, .base = SPAN("b") };
	assert_true(index_apply(&ix, RECORD_message, &r));
	assert_int_equal(ix.stamp_cur, 0);
	assert_int_equal(ix.stamp_new, 5);
	index_free(&ix);
}

static void
assert_same(const struct index *a, const struct index *b)
{
	assert_int_equal(a->n, b->n);
	assert_int_equal(a->ndoomed, b->ndoomed);
	assert_int_equal(a->uidnext, b->uidnext);
	assert_int_equal(a->uidvalidity, b->uidvalidity);
	assert_int_equal(a->modseq, b->modseq);
	assert_int_equal(a->unseen, b->unseen);
	assert_int_equal(a->total, b->total);
	for (size_t i = 0; i < a->n; i++) {
		assert_int_equal(a->messages[i].uid, b->messages[i].uid);
		assert_true(span_eq(index_base(a, &a->messages[i]), index_base(b, &b->messages[i])));
		assert_true(span_eq(index_uidl(a, &a->messages[i]), index_uidl(b, &b->messages[i])));
	}
}

static void
test_snapshot_round_trip(void **state)
{
	struct index ix, back;
	union record r = { .keyword = { .bit = 5, .name = SPAN("$Junk") } };
	struct buf file;
	char *copy;
	size_t size;
	uint64_t upto;

	(void)state;
	fill_index(&ix, 20);
	assert_true(index_apply(&ix, RECORD_keyword, &r));
	r.expunge = (struct record_expunge){ .modseq = 51 };
	assert_true(apply_uids(&ix, RECORD_expunge, &r, &r.expunge.uids, 2, 3));
	r.objectid.id = UINT64_MAX - 7;
	assert_true(index_apply(&ix, RECORD_objectid, &r));
	buf_init(&file, 1 << 20);
	assert_true(snapshot_encode(&ix, 4711, &file));
	size = buf_len(&file);
	copy = malloc(size);
	memcpy(copy, buf_span(&file).p, size);
	index_init(&back);
	assert_true(snapshot_load(&back, copy, size, &upto));
	assert_int_equal(upto, 4711);
	assert_same(&ix, &back);
	assert_string_equal(back.keywords[5], "$Junk");
	assert_true(back.objectid == UINT64_MAX - 7);
	/* An arrival moves the messages out of the map; names stay there. */
	r.message = (struct record_message){ .uid = 100, .modseq = 60, .base = SPAN("fresh") };
	assert_true(index_apply(&back, RECORD_message, &r));
	assert_true(span_eq(index_base(&back, index_find(&back, 100)), SPAN("fresh")));
	assert_true(span_eq(index_base(&back, index_find(&back, 40)), SPAN("file20")));
	index_free(&back);
	/* Any damage and any truncation is noticed. */
	for (size_t i = 0; i < size; i++) {
		memcpy(copy, buf_span(&file).p, size);
		copy[i] ^= 0x20;
		index_init(&back);
		assert_false(snapshot_load(&back, copy, size, &upto));
		index_free(&back);
	}
	for (size_t i = 0; i < size; i++) {
		char *part = malloc(i ? i : 1);

		memcpy(part, buf_span(&file).p, i);
		index_init(&back);
		assert_false(snapshot_load(&back, part, i, &upto));
		index_free(&back);
		free(part);
	}
	free(copy);
	buf_free(&file);
	index_free(&ix);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_uidset_parse),
		cmocka_unit_test(test_uidset_model),
		cmocka_unit_test(test_name_mapping),
		cmocka_unit_test(test_file_names),
		cmocka_unit_test(test_unique_names_differ),
		cmocka_unit_test(test_uidlist),
		cmocka_unit_test(test_index_records),
		cmocka_unit_test(test_arrivals_outdate_the_stamps),
		cmocka_unit_test(test_snapshot_round_trip),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
