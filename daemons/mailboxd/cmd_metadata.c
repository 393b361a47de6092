/* SPDX-License-Identifier: ISC
 *
 * cmd_metadata: GETMETADATA and SETMETADATA (RFC 5464).
 */
#include "daemons/mailboxd/annotation.h"
#include "daemons/mailboxd/specialuse.h"

struct getting {
	struct cmd *c;
	struct span folder;
	struct span entries[BOUND_METADATA];
	size_t n;
	uint32_t depth;     /* 0, 1, UINT32_MAX */
	uint32_t max_size;
	uint64_t longest;   /* of those that were larger */
	bool any;
};

static bool
is_root(struct span entry)
{
	return span_eq(entry, SPAN("/private")) || span_eq(entry, SPAN("/shared"));
}

/* RFC 5464 3.2: lower case; below /private/ or /shared/, or what all others are below; no empty component. */
bool
annotation_take(struct imap_parse *p, struct span *out)
{
	struct span raw;
	char *to;

	if (!imap_take_astring(p, &raw))
		return false;
	to = arena_alloc(p->arena, raw.n + 1);
	if (!to)
		return imap_bad(p, "Command too large");
	for (size_t i = 0; i < raw.n; i++) {
		to[i] = ascii_lower(raw.p[i]);
		if (to[i] <= ' ' || to[i] > '~' || to[i] == '*' || to[i] == '%' || (to[i] == '/' && (i + 1 == raw.n || raw.p[i + 1] == '/')))
			return imap_bad(p, "Invalid entry name");
	}
	*out = span_of(to, raw.n);
	if (out->n > METADATA_NAME_MAX)
		return imap_bad(p, "Entry name too long");
	if (!is_root(*out) && !span_starts(*out, SPAN("/private/")) && !span_starts(*out, SPAN("/shared/")))
		return imap_bad(p, "Entries are below /private/ or /shared/");
	return true;
}

/* ---- GETMETADATA ---- */

static bool
take_depth(struct imap_parse *p, uint32_t *depth)
{
	struct span word;

	if (!imap_take_atom(p, &word))
		return false;
	if (span_eq(word, SPAN("0")))
		*depth = 0;
	else if (span_eq(word, SPAN("1")))
		*depth = 1;
	else if (span_caseeq(word, SPAN("infinity")))
		*depth = UINT32_MAX;
	else
		return imap_bad(p, "Invalid DEPTH");
	return true;
}

/* ["(" ["MAXSIZE" n] ["DEPTH" d] ")" SP]: in front of the mailbox, as the syntax
 * has it, or behind it, as the examples do. */
static bool
take_options(struct imap_parse *p, struct getting *g)
{
	struct span word, rest = cursor_rest(&p->c);

	/* "(" begins a list of entries, too; those begin with a slash */
	if (rest.n < 2 || rest.p[0] != '(' || !ascii_alpha(rest.p[1]) || !imap_try(p, '('))
		return true;
	do {
		bool ok;

		if (!imap_take_atom(p, &word) || !imap_take_sp(p))
			return false;
		if (span_caseeq(word, SPAN("MAXSIZE")))
			ok = imap_take_u32(p, 0, &g->max_size);
		else if (span_caseeq(word, SPAN("DEPTH")))
			ok = take_depth(p, &g->depth);
		else
			ok = imap_bad(p, "Unknown option");
		if (!ok)
			return false;
	} while (imap_try(p, ' '));
	return imap_take_char(p, ')') && imap_take_sp(p);
}

static bool
take_entries(struct imap_parse *p, struct getting *g)
{
	bool list = imap_try(p, '(');

	do {
		if (g->n == BOUND_METADATA)
			return imap_bad(p, "Too many entries");
		if (!annotation_take(p, &g->entries[g->n++]))
			return false;
	} while (list && imap_try(p, ' '));
	return (!list || imap_take_char(p, ')')) && imap_take_end(p);
}

static bool
asked_for(const struct getting *g, struct span entry)
{
	for (size_t i = 0; i < g->n; i++) {
		struct span asked = g->entries[i];

		if (span_eq(asked, entry))
			return true;
		if (!g->depth || !span_starts(entry, asked) || entry.p[asked.n] != '/')
			continue;
		if (g->depth == UINT32_MAX || span_chr(span_from(entry, asked.n + 1), '/') == SIZE_MAX)
			return true;
	}
	return false;
}

static void
put_name(struct cmd *c, struct span folder)
{
	if (folder.n)
		imap_put_mailbox(c->s, cmd_out(c), folder);
	else
		buf_put(cmd_out(c), SPAN("\"\""));
}

static void
each_entry(void *arg, struct span folder, struct span entry, struct span value)
{
	struct getting *g = arg;
	struct buf *out = cmd_out(g->c);

	(void)folder;
	if (!asked_for(g, entry))
		return;
	if (value.n > g->max_size) {
		g->longest = value.n > g->longest ? value.n : g->longest;
		return;
	}
	if (!g->any) {
		buf_put(out, SPAN("* METADATA "));
		put_name(g->c, g->folder);
		buf_put(out, SPAN(" ("));
	} else {
		buf_putc(out, ' ');
	}
	g->any = true;
	imap_put_astring(out, entry);
	buf_putc(out, ' ');
	imap_put_string(out, value);
}

/* ---- in LIST ---- */

struct listed {
	struct imap *s;
	const struct span *entries;
	size_t n;
	struct span *values; /* NULL: not set */
};

static void
each_listed(void *arg, struct span folder, struct span entry, struct span value)
{
	struct listed *l = arg;

	(void)folder;
	for (size_t i = 0; i < l->n; i++)
		if (span_eq(l->entries[i], entry))
			l->values[i] = arena_dup(&l->s->arena, value.n ? value : SPAN(""));
}

void
annotation_put(struct imap *s, struct span folder, const struct span *entries, size_t n)
{
	struct listed l = { s, entries, n, arena_alloc(&s->arena, n * sizeof *l.values) };
	struct buf *out = &s->base.out.mem;

	for (size_t i = 0; l.values && i < n; i++)
		l.values[i] = SPAN_NONE;
	if (!l.values || !metadata_each(s->user->store, folder, false, each_listed, &l, NULL)) /* RFC 9590 3: it may be left out */
		return;
	buf_put(out, SPAN("* METADATA "));
	imap_put_mailbox(s, out, folder);
	for (size_t i = 0; i < n; i++) {
		buf_put(out, i ? SPAN(" ") : SPAN(" ("));
		imap_put_astring(out, entries[i]);
		buf_putc(out, ' ');
		imap_put_nstring(out, l.values[i]);
	}
	buf_put(out, SPAN(")\r\n"));
}

static bool
folder_there(struct cmd *c, struct span folder)
{
	return !folder.n || store_exists(cmd_home(c), folder);
}

enum cmd_result
cmd_getmetadata(struct cmd *c)
{
	struct getting *g = ARENA_NEW(c->arena, struct getting);
	struct fail why;

	if (!g)
		return cmd_no(c, "[LIMIT] Command too large.");
	g->c = c;
	g->max_size = UINT32_MAX;
	if (!take_options(&c->parse, g) || !imap_take_astring(&c->parse, &g->folder) || !imap_take_sp(&c->parse) ||
	    !take_options(&c->parse, g) || !take_entries(&c->parse, g))
		return cmd_syntax(c);
	g->folder = imap_mailbox_name(c->s, g->folder);
	if (!folder_there(c, g->folder))
		return cmd_no(c, "[NONEXISTENT] Mailbox doesn't exist: %.*s", SPAN_ARG(g->folder));
	if (!metadata_each(cmd_home(c), g->folder, false, each_entry, g, &why))
		return cmd_failed(c, &why);
	if (g->any)
		buf_put(cmd_out(c), SPAN(")\r\n"));
	if (g->longest) /* RFC 5464 4.2.1 */
		c->code = arena_printf(c->arena, "[METADATA LONGENTRIES %llu] ", (unsigned long long)g->longest);
	return cmd_completed(c);
}

/* ---- SETMETADATA ---- */

enum cmd_result
cmd_setmetadata(struct cmd *c)
{
	struct metadata_change *changes = arena_alloc(c->arena, BOUND_METADATA * sizeof *changes);
	struct imap_parse *p = &c->parse;
	struct fail why;
	size_t n = 0;

	if (!changes)
		return cmd_no(c, "[LIMIT] Command too large.");
	(void)imap_take_char(p, '(');
	do {
		if (n == BOUND_METADATA)
			return cmd_bad(c, "Too many entries.");
		if (!annotation_take(p, &changes[n].entry) || !imap_take_sp(p) || !imap_take_nstring(p, &changes[n].value))
			return cmd_syntax(c);
		if (is_root(changes[n].entry))
			return cmd_bad(c, "Entries are below /private/ or /shared/.");
		n++;
	} while (imap_try(p, ' '));
	if (!imap_take_char(p, ')') || !imap_take_end(p))
		return cmd_syntax(c);
	if (!folder_there(c, c->arg[0]))
		return cmd_no(c, "[NONEXISTENT] Mailbox doesn't exist: %.*s", SPAN_ARG(c->arg[0]));
	for (size_t i = 0; i < n; i++) {
		if (changes[i].value.n > METADATA_VALUE_MAX)
			return cmd_no(c, "[METADATA MAXSIZE %u] A value is too large.", (unsigned)METADATA_VALUE_MAX);
		if (span_eq(changes[i].entry, SPAN(METADATA_SPECIALUSE)) && !specialuse_valid(changes[i].value)) /* RFC 6154 4 */
			return cmd_no(c, "[USEATTR] A special use that is not known here.");
	}
	if (!metadata_set(cmd_home(c), c->arg[0], changes, n, &why))
		return why.class == FAIL_LIMIT ? cmd_no(c, "[METADATA TOOMANY] %s", why.text) : cmd_failed(c, &why);
	for (size_t i = 0; i < n; i++)
		imap_tell_metadata(c->s, c->arg[0], changes[i].entry);
	return cmd_completed(c);
}
