/* SPDX-License-Identifier: ISC
 *
 * Every table that an option names is read, and has to be readable for the daemon that asks it:
 * what needs one that is not is put off, one recipient after the other.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/xattr.h>
#include <unistd.h>

#include "sys/priv.h"
#include "table/table.h"
#include "tools/mailctl/check.h"

struct reading {
	struct check *check;
	struct check_option option;
	const struct conf_option *row;
	char spec[B_PATH + 16]; /* as it is read */
	bool postmaster;        /* some table has an entry for it */
};

/* Begins with the table: ", line 3: ..." or ": ..." */
static void
on_table_event(void *arg, const char *text)
{
	struct reading *r = arg;
	struct span said = span_str(text), spec = span_str(r->spec);

	check_problem_of(r->check, &r->option, "%.*s", SPAN_ARG(span_from(said, span_starts(said, spec) ? spec.n + 2 : 0)));
}

/* Reads the text behind a db: table as a file, so that checking builds nothing. */
static void
table_as_text(struct span spec, char *out, size_t size)
{
	struct span rest = spec, type = span_cut(&rest, ':');
	bool db = span_eq(type, SPAN("db")) || span_eq(type, SPAN("hash")) || span_eq(type, SPAN("btree"));

	if (span_starts(rest, SPAN("hash:")) || span_starts(rest, SPAN("btree:")))
		rest = span_from(rest, span_chr(rest, ':') + 1);
	if (db && access(rest.p, F_OK) == 0)
		(void)snprintf(out, size, "file:%.*s", SPAN_ARG(rest));
	else
		(void)snprintf(out, size, "%.*s", SPAN_ARG(spec));
}

/* What stands in the way of a user without other groups; NULL: nothing, or an ACL says who may. */
static const char *
barred(const char *path, const struct priv_identity *id, char at[B_PATH])
{
	struct stat st;
	size_t n = 0;

	do {
		n += 1 + strcspn(path + n + 1, "/");
		(void)snprintf(at, B_PATH, "%.*s", (int)n, path);
		if (stat(at, &st) == 0 && getxattr(at, "system.posix_acl_access", NULL, 0) <= 0) {
			mode_t bit = path[n] ? S_IXOTH : S_IROTH;

			if (!(st.st_mode & (st.st_uid == id->uid ? bit << 6 : st.st_gid == id->gid ? bit << 3 : bit)))
				return at;
		}
	} while (path[n]);
	return NULL;
}

static void
check_reader(struct check *c, const struct check_option *o, const char *path, const char *daemon)
{
	char user[B_NAME * 2], at[B_PATH];
	struct priv_identity id;

	(void)snprintf(user, sizeof(user), "%s%s", c->conf->daemon_user_prefix.p, daemon);
	if (priv_lookup(user, &id, NULL) && barred(path, &id, at))
		check_problem_of(c, o, "%s, who reads it, may not, by the permissions of %s (let it: chgrp %s, chmod %s)", user, at, user,
		    strcmp(at, path) == 0 ? "640" : "750");
}

bool
check_readable(struct check *c, const struct check_option *o, const char *path, const char *daemon)
{
	if (!c->unprivileged) {
		if (daemon)
			check_reader(c, o, path, daemon);
		return true;
	}
	if (access(path, R_OK) == 0 || errno != EACCES)
		return true;
	check_note_of(c, o, "could not be checked: this user may not read it");
	return false;
}

static void
check_table(struct reading *r, struct span item, enum table_syntax syntax, struct span key)
{
	bool in_file = !span_starts(item, SPAN("inline:"));
	struct table_options options = { .syntax = syntax, .on_event = in_file ? on_table_event : NULL, .arg = r };
	struct fail why = { .text = "" };
	struct arena memory;
	struct table *t;
	struct span value;

	r->option.value = item;
	table_as_text(item, r->spec, sizeof(r->spec));
	if (!table_open(in_file ? span_str(r->spec) : item, &options, &t, &why)) {
		check_problem_of(r->check, &r->option, "%s", why.text);
		return;
	}
	arena_init(&memory, TABLE_VALUE_MAX * 2);
	if (!table_path(t) || check_readable(r->check, &r->option, table_path(t), r->row->see & CONF_ROUTED ? "routed" : "authd"))
		r->postmaster |= table_lookup(t, key.n ? key : SPAN("x"), &memory, &value, &why) == TABLE_FOUND && key.n;
	arena_free(&memory);
	table_close(&t);
}

/* One that stands for another option by default is told of there. */
static bool
is_another(const struct check *c, const struct conf_option *row)
{
	unsigned line, column;

	return row->def[0] == '$' && !conf_where(c->conf, CONF_TABLE_OPTIONS, 0, row->name, &line, &column);
}

void
check_tables(struct check *c)
{
	struct reading r = { .check = c };
	size_t n;
	const struct conf_option *rows = conf_options(CONF_TABLE_OPTIONS, &n);

	for (r.row = rows; r.row < rows + n; r.row++) {
		const struct conf_list *list = (const void *)((const char *)c->conf + r.row->offset);
		bool aliases = strcmp(r.row->name, "alias_maps") == 0 || strcmp(r.row->name, "alias_database") == 0;
		bool names = aliases || strcmp(r.row->name, "virtual_alias_maps") == 0 || strcmp(r.row->name, "local_recipient_maps") == 0;

		if ((r.row->kind != CONF_KIND_TABLES && r.row->kind != CONF_KIND_DOMAINS) || is_another(c, r.row))
			continue;
		r.option = (struct check_option){ .name = r.row->name };
		for (size_t i = 0; i < list->n; i++)
			if (span_chr(list->items[i], ':') != SIZE_MAX) /* no domain */
				check_table(&r, list->items[i], aliases ? TABLE_ALIASES : TABLE_MAP, names ? SPAN("postmaster") : SPAN_NONE);
	}
	if (!r.postmaster && c->conf->luser_relay.n == 0 && c->conf->mydestination.n > 0)
		(void)printf("note: mail for postmaster is put off unless there is a mailbox of that name: add \"postmaster: NAME\" to alias_maps (RFC 5321 4.5.1)\n");
}
