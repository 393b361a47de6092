/* SPDX-License-Identifier: ISC
 *
 * mailbox import --imap: a login's folders from another server, whatever it keeps
 * them in: UIDVALIDITY, UIDs, flags, keywords, dates, subscriptions.
 */
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "mail/date.h"
#include "store/build.h"
#include "store/mailbox.h"
#include "store/name.h"
#include "tools/common/term.h"
#include "tools/mailctl/imapclient.h"
#include "tools/mailctl/mailbox_copy.h"

enum { FOLDERS_MAX = 10000, KEYWORDS_MAX = 256, PASSWORD_MAX = 1024, MEMORY_MAX = 64 << 20, ITEM_MEMORY = 4 << 20, SPACES_MAX = 32 };

struct remote {
	struct span name, local; /* as the server has it, as it is on disk here */
	bool subscribed;
};

/* RFC 2342 5 */
struct space {
	struct span prefix;
	bool own; /* else other users', or everybody's */
};

struct pull {
	struct copy_job *j;
	struct imapclient c;
	struct arena mem;   /* names */
	struct arena items; /* of one response */
	struct space spaces[SPACES_MAX];
	size_t nspaces;
	struct remote *folders;
	size_t n;
	struct build *build;
	uint32_t uidvalidity, uidnext, exists;
	bool refused; /* the last command, with NO or BAD */
};

static bool
say(struct pull *p, struct fail *why, const char *fmt, struct span quoted)
{
	struct buf command;
	bool ok;

	buf_init(&command, 8192);
	buf_puts(&command, fmt);
	ok = imapclient_quote(&command, quoted) && imapclient_send(&p->c, buf_span(&command), why);
	buf_wipe(&command);
	return ok || (why->text[0] ? false : fail_set(why, FAIL_PERM, 0, "a name that cannot be sent"));
}

/* Reads to the end of the command; each untagged response without its "* ". */
static bool
answer(struct pull *p, bool (*each)(struct pull *p, struct span text, struct fail *why), struct fail *why)
{
	p->refused = false;
	for (;;) {
		switch (imapclient_read(&p->c, why)) {
		case IMAPCLIENT_DONE:
			return true;
		case IMAPCLIENT_REFUSED:
			p->refused = true;
			return false;
		case IMAPCLIENT_FAILED:
			return false;
		case IMAPCLIENT_UNTAGGED:
			break;
		}
		arena_free(&p->items);
		arena_init(&p->items, ITEM_MEMORY);
		if (each && !each(p, span_from(buf_span(&p->c.text), 2), why))
			return false;
	}
}

/* ---- login ---- */

static bool
read_password(char *out, size_t size, size_t *n, struct fail *why)
{
	return (term_secret("Password at the other server: ", out, size, n) && *n > 0) || fail_set(why, FAIL_PERM, 0, "no password on standard input, or one over %zu bytes", size - 1);
}

static bool
login(struct pull *p, struct fail *why)
{
	char password[PASSWORD_MAX];
	struct buf command;
	size_t n;
	bool ok;

	if (!imapclient_connect(&p->c, span_str(p->j->m->imap), why) || !read_password(password, sizeof(password), &n, why))
		return false;
	buf_init(&command, 8192);
	buf_puts(&command, "LOGIN ");
	ok = imapclient_quote(&command, span_str(p->j->m->login));
	buf_putc(&command, ' ');
	ok = ok && imapclient_quote(&command, span_of(password, n)) && imapclient_send(&p->c, buf_span(&command), why) && answer(p, NULL, why);
	buf_wipe(&command);
	explicit_bzero(password, sizeof(password));
	return ok || (why->text[0] ? false : fail_set(why, FAIL_PERM, 0, "a login that cannot be sent"));
}

/* ---- whose folders ---- */

/* "NIL", or "((prefix divider) ...)" */
static bool
take_spaces(struct pull *p, struct span *text, bool own)
{
	struct span all, one, prefix;
	bool list, nested;

	if (!imapclient_item(text, &p->items, &all, &list))
		return false;
	while (list && all.n && p->nspaces < SPACES_MAX) {
		if (!imapclient_item(&all, &p->items, &one, &nested) || !nested || !imapclient_item(&one, &p->items, &prefix, &nested) || nested)
			return false;
		p->spaces[p->nspaces++] = (struct space){ arena_dup(&p->mem, prefix), own };
	}
	return true;
}

static bool
each_namespace(struct pull *p, struct span text, struct fail *why)
{
	return !span_caseeq(span_word(&text), SPAN("NAMESPACE")) || (take_spaces(p, &text, true) && take_spaces(p, &text, false) && take_spaces(p, &text, false)) ||
	       fail_set(why, FAIL_PEER, 0, "the server's answer to NAMESPACE is malformed");
}

/* Not every server has this command: one without NAMESPACE has the user's own folders alone, one without LSUB (RFC 9051 E) no subscriptions. */
static bool
ask_if_known(struct pull *p, struct span command, bool (*each)(struct pull *p, struct span text, struct fail *why), struct fail *why)
{
	if (!imapclient_send(&p->c, command, why))
		return false;
	if (answer(p, each, why))
		return true;
	if (p->refused)
		*why = (struct fail){ .text = "" };
	return p->refused;
}

/* Without the prefix that all folders of the user have there. False: it is not one of the user's. */
static bool
own_name(const struct pull *p, struct span name, struct span *bare)
{
	const struct space *in = NULL;

	for (size_t i = 0; i < p->nspaces && !span_caseeq(name, SPAN("INBOX")); i++)
		if (span_starts(name, p->spaces[i].prefix) && (!in || p->spaces[i].prefix.n > in->prefix.n))
			in = &p->spaces[i];
	*bare = span_from(name, in ? in->prefix.n : 0);
	return !in || in->own;
}

/* ---- folders ---- */

/* Our hierarchy is divided by dots; a dot of theirs becomes a dash where theirs is not. */
static struct span
local_name(struct pull *p, struct span name, struct span divider)
{
	char *to = arena_alloc(&p->mem, name.n + 1);

	for (size_t i = 0; to && i < name.n; i++) {
		bool divides = divider.n == 1 && name.p[i] == divider.p[0];

		to[i] = divides ? '.' : name.p[i] == '.' ? '-' : name.p[i];
	}
	return to ? name_fold(span_of(to, name.n)) : SPAN_NONE;
}

static bool
take_list(struct pull *p, struct span text, bool subscribed, struct fail *why)
{
	struct span flags, divider, name, local, bare;
	bool list;

	if (!imapclient_item(&text, &p->items, &flags, &list) || !list || !imapclient_item(&text, &p->items, &divider, &list) ||
	    !imapclient_item(&text, &p->items, &name, &list) || list)
		return fail_set(why, FAIL_PEER, 0, "the server's list of folders is malformed");
	if (!own_name(p, name, &bare))
		return true;
	local = local_name(p, bare, divider);
	for (size_t i = 0; subscribed && i < p->n; i++)
		p->folders[i].subscribed |= span_eq(p->folders[i].local, local);
	for (struct span flag; (flag = span_word(&flags)).n;)
		if (span_caseeq(flag, SPAN("\\Noselect")) || span_caseeq(flag, SPAN("\\NonExistent")))
			return true;
	if (subscribed)
		return true;
	if (!name_valid(local)) {
		p->j->folder = span_sub(name, 0, 100);
		return copy_problem(p->j, "no folder can have this name here");
	}
	if (p->n == FOLDERS_MAX)
		return fail_set(why, FAIL_LIMIT, 0, "there are too many folders");
	p->folders[p->n++] = (struct remote){ arena_dup(&p->mem, name), local, false };
	return true;
}

static bool
each_list(struct pull *p, struct span text, struct fail *why)
{
	return !span_caseeq(span_word(&text), SPAN("LIST")) || take_list(p, text, false, why);
}

static bool
each_lsub(struct pull *p, struct span text, struct fail *why)
{
	return !span_caseeq(span_word(&text), SPAN("LSUB")) || take_list(p, text, true, why);
}

/* ---- one folder ---- */

static void
take_code(struct span code, const char *name, uint32_t *out)
{
	uint64_t v;

	if (span_caseeq(span_word(&code), span_str(name)) && span_u64(span_trim(span_sub(code, 0, span_chr(code, ']'))), UINT32_MAX, &v))
		*out = (uint32_t)v;
}

/* "OK [UIDVALIDITY 7] ...", "12 EXISTS" */
static bool
each_select(struct pull *p, struct span text, struct fail *why)
{
	struct span first = span_word(&text);
	uint64_t n;

	(void)why;
	text = span_trim(text);
	if (span_caseeq(first, SPAN("OK")) && text.n && text.p[0] == '[') {
		take_code(span_from(text, 1), "UIDVALIDITY", &p->uidvalidity);
		take_code(span_from(text, 1), "UIDNEXT", &p->uidnext);
	} else if (span_u64(first, UINT32_MAX, &n) && span_caseeq(span_word(&text), SPAN("EXISTS"))) {
		p->exists = (uint32_t)n;
	}
	return true;
}

static void
take_flags(struct span list, struct build_message *m, struct span keywords[KEYWORDS_MAX])
{
	static const struct {
		const char *name;
		uint8_t flag;
	} system[] = { { "\\Answered", FLAG_ANSWERED }, { "\\Flagged", FLAG_FLAGGED }, { "\\Deleted", FLAG_DELETED }, { "\\Seen", FLAG_SEEN }, { "\\Draft", FLAG_DRAFT } };

	for (struct span word; (word = span_word(&list)).n;) {
		for (size_t i = 0; i < sizeof(system) / sizeof(*system); i++)
			m->flags |= span_caseeq(word, span_str(system[i].name)) ? system[i].flag : 0;
		if (word.p[0] != '\\' && m->nkeywords < KEYWORDS_MAX)
			keywords[m->nkeywords++] = word;
	}
}

static bool
on_octets(void *arg, struct span octets, struct fail *why)
{
	struct pull *p = arg;

	p->j->t.size += octets.n;
	return p->build && build_write(p->build, octets, why);
}

/* "12 FETCH (UID 5 FLAGS (\Seen) INTERNALDATE "..." BODY[] NIL)", in any order: NIL is also what stands for a literal */
static bool
take_fetch(struct pull *p, struct span text, struct fail *why)
{
	struct span keywords[KEYWORDS_MAX], inside, name, value;
	struct build_message m = { .keywords = keywords };
	bool list, ok, string, there = p->c.body;
	uint64_t uid = 0;
	struct date date;

	ok = imapclient_item(&text, &p->items, &inside, &list) && list;
	while (ok && inside.n) {
		ok = imapclient_item(&inside, &p->items, &name, &list) && !list;
		string = inside.n > 1 && inside.p[1] == '"';
		ok = ok && imapclient_item(&inside, &p->items, &value, &list);
		if (ok && span_caseeq(name, SPAN("UID")))
			ok = span_u64(value, UINT32_MAX, &uid);
		else if (ok && string && span_caseeq(name, SPAN("BODY[]")))
			ok = there = on_octets(p, value, why);
		else if (ok && span_caseeq(name, SPAN("FLAGS")))
			take_flags(value, &m, keywords);
		else if (ok && span_caseeq(name, SPAN("INTERNALDATE")) && (ok = date_parse_imap(&date, value)))
			m.date = date.time;
	}
	if (ok && !there)
		return true; /* told of a flag, or it is not to be had */
	if (!ok || !uid)
		return why->text[0] ? false : fail_set(why, FAIL_PEER, 0, "the server's answer to FETCH is malformed");
	m.uid = (uint32_t)uid;
	if (!build_message(p->build, &m, why))
		return false;
	p->j->t.messages++;
	copy_progress(p->j, p->j->t.messages);
	return true;
}

static bool
each_fetch(struct pull *p, struct span text, struct fail *why)
{
	struct span what;

	(void)span_word(&text);
	what = span_trim(span_word(&text));
	if (span_caseeq(what, SPAN("EXPUNGE")) && p->exists)
		p->exists--;
	return !span_caseeq(what, SPAN("FETCH")) || take_fetch(p, text, why);
}

static bool
fetch(struct pull *p, struct fail *why)
{
	struct copy_job *j = p->j;
	bool ok;

	if (!copy_clean(j, why) || !(p->build = build_begin(j->t.to, COPY_ARRIVING, j->m->conf->myhostname, p->uidvalidity, why)))
		return false;
	ok = !p->exists || (imapclient_send(&p->c, SPAN("UID FETCH 1:* (UID FLAGS INTERNALDATE BODY.PEEK[])"), why) && answer(p, each_fetch, why));
	ok = ok && build_end(p->build, p->uidnext, why);
	build_free(&p->build);
	return ok && transfer_adopt(&j->t, COPY_ARRIVING, j->folder, why);
}

/* Nobody shall give up the account there for what came here. */
static bool
all_came(struct pull *p)
{
	char text[80];

	if (p->j->t.messages >= p->exists)
		return true;
	(void)snprintf(text, sizeof(text), "%llu of its messages the other server did not give", (unsigned long long)(p->exists - p->j->t.messages));
	return copy_problem(p->j, text);
}

/* One that may be seen and not read, for one: it is left out, and the others are gone on with. */
static bool
left_out(struct pull *p, struct fail *why)
{
	if (!p->refused)
		return false;
	(void)copy_problem(p->j, why->text);
	*why = (struct fail){ .text = "" };
	return p->j->m->dry_run || copy_clean(p->j, why);
}

static bool
one_folder(struct pull *p, const struct remote *r, struct fail *why)
{
	struct copy_job *j = p->j;

	p->uidvalidity = p->uidnext = p->exists = 0;
	j->folder = r->local;
	j->t.messages = j->t.missing = j->t.size = 0;
	if (!say(p, why, "EXAMINE ", r->name))
		return false;
	if (!answer(p, each_select, why))
		return left_out(p, why);
	if (!p->uidvalidity)
		return fail_set(why, FAIL_PEER, 0, "the server has no UIDVALIDITY for %.*s", SPAN_ARG(span_sub(r->name, 0, 100)));
	j->t.messages = p->exists;
	if (!copy_wanted(j, p->uidvalidity, p->exists))
		return true;
	if (!j->m->dry_run) {
		j->t.messages = 0;
		if (!fetch(p, why))
			return left_out(p, why);
	}
	copy_add_up(j);
	copy_say(j, j->m->dry_run ? "would be imported" : "imported");
	return all_came(p);
}

bool
copy_from_imap(struct copy_job *j, void (*subscribed)(void *, struct span), void *arg, struct fail *why)
{
	struct pull p = { .j = j, .c = { .fd = -1 } };
	bool ok;

	arena_init(&p.mem, MEMORY_MAX);
	arena_init(&p.items, ITEM_MEMORY);
	p.folders = arena_alloc(&p.mem, FOLDERS_MAX * sizeof(*p.folders));
	ok = (p.folders || fail_set(why, FAIL_TEMP, 0, "out of memory")) && login(&p, why);
	p.c.on_octets = on_octets;
	p.c.arg = &p;
	ok = ok && ask_if_known(&p, SPAN("NAMESPACE"), each_namespace, why) && imapclient_send(&p.c, SPAN("LIST \"\" \"*\""), why) && answer(&p, each_list, why);
	ok = ok && ask_if_known(&p, SPAN("LSUB \"\" \"*\""), each_lsub, why);
	for (size_t i = 0; ok && i < p.n; i++) {
		ok = one_folder(&p, &p.folders[i], why);
		if (ok && !p.refused && p.folders[i].subscribed && subscribed)
			subscribed(arg, p.folders[i].local);
	}
	build_free(&p.build);
	imapclient_close(&p.c);
	arena_free(&p.items);
	arena_free(&p.mem);
	return ok;
}
