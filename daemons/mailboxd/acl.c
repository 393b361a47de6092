/* SPDX-License-Identifier: ISC
 *
 * The annotation's name is none that a client could write: GETMETADATA has no
 * way to it. Its value is the version and then a line for each identifier:
 * rights, blank, identifier.
 */
#include "daemons/mailboxd/acl.h"

#include <string.h>

#include "daemons/mailboxd/bounds.h"

#define ENTRY SPAN("acl")
#define VERSION SPAN("1")

static const struct {
	char letter, old;
} rights_of[] = {
#define RIGHT(letter, name, old, doc) { letter, old },
#include "daemons/mailboxd/rights.def"
#undef RIGHT
};

bool
acl_take_rights(struct span text, unsigned *rights)
{
	*rights = 0;
	for (size_t i = 0; i < text.n; i++) {
		unsigned found = 0;

		for (unsigned k = 0; k < ACL_RIGHTS; k++)
			if (text.p[i] == rights_of[k].letter || (rights_of[k].old && text.p[i] == rights_of[k].old))
				found |= 1u << k;
		if (!found)
			return false;
		*rights |= found;
	}
	return true;
}

void
acl_put_rights(struct buf *out, unsigned rights)
{
	bool c = false, d = false;

	for (unsigned k = 0; k < ACL_RIGHTS; k++) {
		if (!(rights & 1u << k))
			continue;
		buf_putc(out, rights_of[k].letter);
		c = c || rights_of[k].old == 'c';
		d = d || rights_of[k].old == 'd';
	}
	if (c) /* RFC 4314 2.1.1 */
		buf_putc(out, 'c');
	if (d)
		buf_putc(out, 'd');
}

unsigned
acl_flags(unsigned rights)
{
	unsigned flags = 0;

	if (rights & ACL_SEEN)
		flags |= FLAG_SEEN;
	if (rights & ACL_MARK)
		flags |= FLAG_DELETED;
	if (rights & ACL_WRITE)
		flags |= FLAG_ANSWERED | FLAG_FLAGGED | FLAG_DRAFT;
	return flags;
}

/* ---- identifiers ---- */

static bool
is_name_byte(char c)
{
	static const struct span no = SPAN_INIT("/\\\"<>:,%*(){}");
	unsigned char u = (unsigned char)c;

	return u > ' ' && u != 0x7f && span_chr(no, c) == SIZE_MAX;
}

static struct span
domain_of(struct span name)
{
	size_t at = span_rchr(name, '@');

	return at == SIZE_MAX ? SPAN_NONE : span_from(name, at);
}

bool
acl_identifier(struct span text, struct span owner, char out[ACL_IDENTIFIER + 1])
{
	struct span domain = span_chr(text, '@') == SIZE_MAX ? domain_of(owner) : SPAN_NONE;
	size_t at;

	if (span_caseeq(text, SPAN("anyone")))
		return span_cstr(SPAN("anyone"), out, ACL_IDENTIFIER + 1);
	if (!text.n || text.n + domain.n > ACL_IDENTIFIER || span_chr(SPAN("-$#.@"), text.p[0]) != SIZE_MAX)
		return false;
	for (size_t i = 0; i < text.n; i++) {
		if (!is_name_byte(text.p[i]))
			return false;
		out[i] = ascii_lower(text.p[i]);
	}
	if (domain.n)
		memcpy(out + text.n, domain.p, domain.n);
	out[text.n + domain.n] = '\0';
	at = span_chr(span_str(out), '@');
	return at != SIZE_MAX && at == span_rchr(span_str(out), '@') && out[at + 1] && out[at + 1] != '.';
}

struct span
acl_short(struct span name, struct span of)
{
	struct span domain = domain_of(of);

	return domain.n && span_ends(name, domain) ? span_sub(name, 0, name.n - domain.n) : name;
}

/* ---- the list ---- */

/* One line; false at the end or at what is none. */
static bool
take_line(struct span *rest, struct span *identifier, unsigned *rights)
{
	while (rest->n) {
		struct span line = span_cut(rest, '\n'), letters = span_cut(&line, ' ');

		if (line.n && acl_take_rights(letters, rights)) {
			*identifier = line;
			return true;
		}
	}
	return false;
}

/* The lines of a list of this version; anything else gives nobody a right. */
static struct span
lines_of(struct span value)
{
	return span_eq(span_cut(&value, '\n'), VERSION) ? value : SPAN_NONE;
}

struct asking {
	struct span who; /* beside anyone */
	unsigned rights;
	void (*each)(void *, struct span, unsigned);
	void *arg;
	bool strict; /* who alone */
};

static void
each_entry(void *arg, struct span folder, struct span entry, struct span value)
{
	struct asking *a = arg;
	struct span rest, identifier;
	unsigned rights;

	(void)folder;
	if (!span_eq(entry, ENTRY))
		return;
	for (rest = lines_of(value); take_line(&rest, &identifier, &rights);) {
		if (a->each)
			a->each(a->arg, identifier, rights);
		if (span_eq(identifier, a->who) || (!a->strict && span_eq(identifier, SPAN("anyone"))))
			a->rights |= rights;
	}
}

unsigned
acl_rights(struct store *store, struct span folder, struct span guest)
{
	struct asking a = { .who = guest };

	return metadata_each(store, folder, false, each_entry, &a, NULL) ? a.rights : 0;
}

bool
acl_names(struct store *store, struct span identifier)
{
	struct asking a = { .who = identifier, .strict = true };

	return metadata_each(store, SPAN_NONE, true, each_entry, &a, NULL) && a.rights;
}

bool
acl_each(struct store *store, struct span folder, void (*each)(void *, struct span, unsigned), void *arg, struct fail *why)
{
	struct asking a = { .each = each, .arg = arg };

	return metadata_each(store, folder, false, each_entry, &a, why);
}

struct changing {
	struct buf text;
	struct span identifier;
	enum flag_op op;
	unsigned rights, n;
	bool met;
};

static void
put_line(struct changing *x, struct span identifier, unsigned rights)
{
	if (!rights)
		return;
	buf_putc(&x->text, '\n');
	for (unsigned k = 0; k < ACL_RIGHTS; k++)
		if (rights & 1u << k)
			buf_putc(&x->text, rights_of[k].letter);
	buf_putc(&x->text, ' ');
	buf_put(&x->text, identifier);
	x->n++;
}

static void
each_old(void *arg, struct span identifier, unsigned rights)
{
	struct changing *x = arg;

	if (span_eq(identifier, x->identifier)) {
		x->met = true;
		rights = x->op == FLAGS_ADD ? rights | x->rights : x->op == FLAGS_REMOVE ? rights & ~x->rights : x->rights;
	}
	put_line(x, identifier, rights);
}

/* What the folder's annotation shall be; empty: it has none. */
static bool
write_list(struct store *store, struct span folder, struct span value, struct fail *why)
{
	struct metadata_change change = { ENTRY, value.n ? value : SPAN_NONE };

	return metadata_set(store, folder, &change, 1, why);
}

bool
acl_change(struct store *store, struct span folder, struct span identifier, enum flag_op op, unsigned rights, struct fail *why)
{
	struct changing x = { .identifier = identifier, .op = op, .rights = rights };
	bool ok;

	buf_init(&x.text, METADATA_VALUE_MAX);
	buf_put(&x.text, VERSION);
	ok = acl_each(store, folder, each_old, &x, why);
	if (!x.met && op != FLAGS_REMOVE)
		put_line(&x, identifier, rights);
	if (ok && (x.n > BOUND_ACL || !buf_ok(&x.text)))
		ok = fail_set(why, FAIL_LIMIT, 0, "Too many users have rights in this mailbox");
	ok = ok && write_list(store, folder, x.n ? buf_span(&x.text) : SPAN_NONE, why);
	buf_free(&x.text);
	return ok;
}

/* ---- folders that are made ---- */

struct sweeping {
	struct store *store;
	char name[STORE_NAME_MAX + 1];
};

static void
each_stale(void *arg, struct span folder, struct span entry, struct span value)
{
	struct sweeping *x = arg;

	(void)value;
	if (!x->name[0] && span_eq(entry, ENTRY) && !store_exists(x->store, folder))
		(void)span_cstr(folder, x->name, sizeof x->name);
}

bool
acl_sweep(struct store *store, struct fail *why)
{
	for (;;) {
		struct sweeping x = { .store = store };

		if (!metadata_each(store, SPAN_NONE, true, each_stale, &x, why))
			return false;
		if (!x.name[0])
			return true;
		if (!write_list(store, span_str(x.name), SPAN_NONE, why))
			return false;
	}
}

struct span
acl_parent(struct store *store, struct span folder)
{
	size_t at;

	while ((at = span_rchr(folder, '.')) != SIZE_MAX) {
		folder = span_sub(folder, 0, at);
		if (store_exists(store, folder))
			return folder;
	}
	return SPAN_NONE;
}

struct copying {
	struct buf value;
	bool any;
};

static void
each_copied(void *arg, struct span folder, struct span entry, struct span value)
{
	struct copying *x = arg;

	(void)folder;
	if (!span_eq(entry, ENTRY))
		return;
	x->any = true;
	buf_put(&x->value, value);
}

bool
acl_inherit(struct store *store, struct span folder, struct fail *why)
{
	struct span parent = acl_parent(store, folder);
	struct copying own = { .any = false }, above = { .any = false };
	bool ok;

	buf_init(&own.value, METADATA_VALUE_MAX);
	buf_init(&above.value, METADATA_VALUE_MAX);
	ok = metadata_each(store, folder, false, each_copied, &own, why) && (!parent.n || metadata_each(store, parent, false, each_copied, &above, why));
	if (ok && (own.any || above.any))
		ok = write_list(store, folder, buf_span(&above.value), why);
	buf_free(&own.value);
	buf_free(&above.value);
	return ok;
}
