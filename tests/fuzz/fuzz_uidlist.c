/* SPDX-License-Identifier: ISC
 *
 * What stands beside and in a foreign Maildir: uid list, keywords, file and
 * folder names, sets.
 */
#include <stdlib.h>
#include <string.h>

#include "store/maildir.h"
#include "store/name.h"
#include "store/uidlist.h"
#include "store/uidset.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void
try_name(struct span text)
{
	struct buf utf8, back;

	buf_init(&utf8, 1 << 20);
	buf_init(&back, 1 << 20);
	/* What can be read is written back as it was: a folder has one name. */
	if (name_valid(text) && (!name_to_utf8(text, &utf8) || !name_from_utf8(buf_span(&utf8), &back) || !span_eq(buf_span(&back), text)))
		abort();
	buf_free(&utf8);
	buf_free(&back);
}

static void
try_file(struct span text)
{
	char path[MAILDIR_NAME_MAX + 5];
	struct maildir_name n;

	if (!maildir_name_parse(text, &n) || !maildir_path(path, n.base, n.odd, n.letters, span_chr(text, ':') == SIZE_MAX))
		return;
	if (memchr(text.p, 0, text.n) == NULL && !span_eq(span_str(path + 4), text))
		abort();
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct span text = span_of(data, size), rest = text, name;
	struct uidlist_entry e;
	struct uidlist l;
	struct uidset s;
	unsigned number;

	if (uidlist_open(&l, text)) {
		uint32_t last = 0;

		while (uidlist_next(&l, &e)) {
			if (e.uid <= last || e.base.n == 0)
				abort();
			last = e.uid;
		}
	}
	while (keywords_next(&rest, &number, &name))
		if (number > 63 || name.n == 0)
			abort();
	try_name(text);
	try_file(text);
	uidset_init(&s);
	if (uidset_parse(&s, text, 100))
		for (size_t i = 1; i < s.n; i++)
			if (s.ranges[i - 1].hi + 1 >= s.ranges[i].lo)
				abort();
	uidset_free(&s);
	return 0;
}
