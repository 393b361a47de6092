/* SPDX-License-Identifier: ISC */
#include "daemons/mailboxd/flags.h"

#include "daemons/mailboxd/acl.h"

static const struct {
	struct span name;
	uint8_t bit;
} system_flags[] = {
	{ SPAN_INIT("\\Answered"), FLAG_ANSWERED },
	{ SPAN_INIT("\\Flagged"), FLAG_FLAGGED },
	{ SPAN_INIT("\\Deleted"), FLAG_DELETED },
	{ SPAN_INIT("\\Seen"), FLAG_SEEN },
	{ SPAN_INIT("\\Draft"), FLAG_DRAFT },
};

static bool
add_keyword(struct imap_parse *p, struct span name, struct flag_list *out)
{
	for (size_t i = 0; i < out->nkeywords; i++)
		if (span_caseeq(out->keywords[i], name))
			return true;
	if (out->nkeywords == BOUND_FLAGS)
		return imap_bad(p, "Too many keywords");
	if (name.n > BOUND_KEYWORD)
		return imap_bad(p, "Keyword too long");
	out->keywords[out->nkeywords++] = name;
	return true;
}

static bool
take_one(struct imap_parse *p, struct flag_list *out)
{
	struct span name;

	if (!imap_take_flag(p, &name))
		return false;
	if (name.p[0] != '\\')
		return add_keyword(p, name, out);
	for (size_t i = 0; i < sizeof system_flags / sizeof *system_flags; i++) {
		if (span_caseeq(system_flags[i].name, name)) {
			out->flags |= system_flags[i].bit;
			return true;
		}
	}
	return imap_bad(p, "Invalid system flag");
}

bool
flags_parse(struct imap_parse *p, bool bare, struct flag_list *out)
{
	bool paren = imap_try(p, '(');

	*out = (struct flag_list){ .flags = 0 };
	if (!paren && !bare)
		return imap_bad(p, "Expected a list of flags");
	if (paren && imap_try(p, ')'))
		return true;
	do {
		if (!take_one(p, out))
			return false;
	} while (imap_try(p, ' '));
	return !paren || imap_take_char(p, ')');
}

bool
flags_take_told(struct imap_parse *p, struct flag_list *out)
{
	struct span name;

	*out = (struct flag_list){ .flags = 0 };
	if (!imap_take_char(p, '('))
		return false;
	for (bool first = true; !imap_try(p, ')'); first = false) {
		if ((!first && !imap_take_sp(p)) || !imap_take_flag(p, &name))
			return false;
		if (name.p[0] != '\\' && !add_keyword(p, name, out))
			return false;
		for (size_t i = 0; i < sizeof system_flags / sizeof *system_flags; i++)
			if (span_caseeq(system_flags[i].name, name))
				out->flags |= system_flags[i].bit;
	}
	return true;
}

bool
flags_keywords(struct mailbox *mb, const struct flag_list *list, bool make, uint64_t *bits)
{
	*bits = 0;
	for (size_t i = 0; i < list->nkeywords; i++) {
		int bit = mailbox_keyword_find(mb, list->keywords[i], make);

		if (bit >= 0)
			*bits |= UINT64_C(1) << bit;
		else if (make)
			return false;
	}
	return true;
}

static void
put_flags(struct buf *out, const struct mailbox *mb, unsigned system, bool keywords)
{
	bool any = false;

	buf_putc(out, '(');
	for (size_t i = 0; i < sizeof system_flags / sizeof *system_flags; i++) {
		if (!(system_flags[i].bit & system))
			continue;
		if (any)
			buf_putc(out, ' ');
		any = true;
		buf_put(out, system_flags[i].name);
	}
	for (unsigned i = 0; keywords && i < MAILBOX_KEYWORDS_MAX; i++) {
		struct span name = mailbox_keyword(mb, i);

		if (!name.n)
			continue;
		buf_putc(out, ' ');
		buf_put(out, name);
	}
}

void
flags_put_all(struct buf *out, const struct mailbox *mb)
{
	put_flags(out, mb, ~0u, true);
}

void
flags_put_permanent(struct buf *out, const struct mailbox *mb, unsigned rights)
{
	put_flags(out, mb, acl_flags(rights), rights & ACL_WRITE);
	buf_put(out, rights & ACL_WRITE ? SPAN(" \\*)") : SPAN(")"));
}
