/* SPDX-License-Identifier: ISC */
#include "daemons/mailboxd/status.h"

#include "daemons/mailboxd/objectid.h"

static const struct span names[] = {
#define STATUS_ITEM(text, put, section) SPAN_INIT(text),
#include "daemons/mailboxd/status.def"
#undef STATUS_ITEM
};

enum { NAMES = sizeof names / sizeof *names };

bool
status_parse(struct imap_parse *p, unsigned *items)
{
	struct span word;

	*items = 0;
	if (!imap_take_char(p, '('))
		return false;
	do {
		size_t i = 0;

		if (!imap_take_atom(p, &word))
			return false;
		while (i < NAMES && !span_caseeq(names[i], word))
			i++;
		if (i == NAMES)
			return imap_bad(p, "Unknown status item");
		*items |= 1u << i;
	} while (imap_try(p, ' '));
	return imap_take_char(p, ')');
}

unsigned
status_bits(const char *list)
{
	struct span rest = span_str(list);
	unsigned items = 0;

	while (rest.n) {
		struct span word = span_word(&rest);

		for (size_t i = 0; i < NAMES; i++)
			items |= span_eq(names[i], word) ? 1u << i : 0;
	}
	return items;
}

#define NUMBER(value) buf_put_u64(out, value)
static void
put_value(const struct imap *s, struct buf *out, size_t item, const struct mailbox_status *st)
{
	size_t i = 0;

#define STATUS_ITEM(text, put, section) \
	if (item == i++)                \
		put;
#include "daemons/mailboxd/status.def"
#undef STATUS_ITEM
}
#undef NUMBER

void
status_put(struct imap *s, struct span name, unsigned items, const struct mailbox_status *st)
{
	struct buf *out = &s->base.out.mem;
	bool any = false;

	buf_put(out, SPAN("* STATUS "));
	imap_put_mailbox(s, out, name);
	buf_put(out, SPAN(" ("));
	for (size_t i = 0; i < NAMES; i++) {
		if (!(items & 1u << i))
			continue;
		if (any)
			buf_putc(out, ' ');
		any = true;
		buf_put(out, names[i]);
		buf_putc(out, ' ');
		put_value(s, out, i, st);
	}
	buf_put(out, SPAN(")\r\n"));
}
