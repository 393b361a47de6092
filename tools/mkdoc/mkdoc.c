/* SPDX-License-Identifier: ISC
 *
 * mkdoc: documentation and files that come from the tables (law 7).
 *
 *   mkdoc example         the commented configuration file
 *   mkdoc sysusers        the users, for systemd-sysusers(8)
 *   mkdoc page TEMPLATE   a manual page; a line "@@SECTION" of the template is replaced
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "conf/conf.h"
#include "log/log.h"
#include "mail/limits.h"
#include "mail/status.h"
#include "sys/syscalls.h"

enum { OUTPUT_MAX = 4 * 1024 * 1024 };

/* Text for mdoc: no request, no escape begins by accident. */
static void
put_text(struct buf *out, const char *text)
{
	if (*text == '.' || *text == '\'')
		buf_puts(out, "\\&");
	for (const char *p = text; *p; p++) {
		if (*p == '\\')
			buf_puts(out, "\\e");
		else if (*p == '-')
			buf_puts(out, "\\-");
		else
			buf_putc(out, *p);
	}
}

/* ---- options ---- */

static void
put_duration(struct buf *out, uint64_t ms)
{
	static const struct {
		uint64_t factor;
		const char *unit;
	} units[] = { { 7 * 86400000ULL, "w" }, { 86400000, "d" }, { 3600000, "h" }, { 60000, "m" }, { 1000, "s" },
	    { 1, "ms" } };
	size_t i = 0;

	while (ms % units[i].factor)
		i++;
	buf_put_u64(out, ms / units[i].factor);
	buf_puts(out, ms ? units[i].unit : "");
}

static void
put_size(struct buf *out, uint64_t n)
{
	static const char *const units[] = { "", "k", "M", "G" };
	size_t i = 0;

	for (; n && n % 1024 == 0 && i < 3; i++)
		n /= 1024;
	buf_put_u64(out, n);
	buf_puts(out, units[i]);
}

static void
put_kind(struct buf *out, const struct conf_option *o)
{
	switch (o->kind) {
	case CONF_KIND_WORD:
		for (uint64_t w = o->min; w <= o->max; w++)
			buf_printf(out, "%s%.*s", w == o->min ? "" : w == o->max ? " or " : ", ",
			    SPAN_ARG(conf_word_text((enum conf_word)w)));
		break;
	case CONF_KIND_NUMBER:
	case CONF_KIND_SIZE:
	case CONF_KIND_DURATION:
		buf_puts(out, o->kind == CONF_KIND_NUMBER ? "number, " : o->kind == CONF_KIND_SIZE ? "size, "
		    : "time, ");
		for (int i = 0; i < 2; i++) {
			uint64_t v = i ? o->max : o->min;

			if (o->kind == CONF_KIND_DURATION)
				put_duration(out, v);
			else if (o->kind == CONF_KIND_SIZE)
				put_size(out, v);
			else
				buf_put_u64(out, v);
			buf_puts(out, i ? "" : " to ");
		}
		break;
	default:
		buf_puts(out, conf_kind_name(o->kind));
		break;
	}
}

static void
put_option(struct buf *out, const struct conf_option *o, bool in_block)
{
	static const char *const applied[] = { "at reload", "at reload, by a restart of the daemons it concerns",
	    "at the next start" };

	buf_puts(out, ".It Va ");
	buf_puts(out, o->name);
	buf_puts(out, "\n");
	put_text(out, o->text);
	buf_puts(out, "\n.br\nKind: ");
	put_kind(out, o);
	if (strcmp(o->def, "@") == 0) {
		buf_puts(out, ". Default: as usual for the service");
	} else if (*o->def) {
		buf_puts(out, ". Default: ");
		put_text(out, o->def);
	} else if (!in_block && !strstr(o->text, "Default:")) {
		buf_puts(out, ". Default: empty");
	}
	buf_printf(out, ". Applied: %s.\n", applied[o->reload]);
}

static void
put_options(struct buf *out, enum conf_table table)
{
	size_t n;
	const struct conf_option *rows = conf_options(table, &n);
	bool open = false;

	for (size_t i = 0; i < n; i++) {
		const char *section = table == CONF_TABLE_OPTIONS ? conf_section(&rows[i]) : NULL;

		if (section || i == 0) {
			if (open)
				buf_puts(out, ".El\n");
			if (section)
				buf_printf(out, ".Ss %s\n", section);
			buf_puts(out, ".Bl -tag -width indent\n");
			open = true;
		}
		put_option(out, &rows[i], table != CONF_TABLE_OPTIONS);
	}
	buf_puts(out, ".El\n");
}

static void
section_options(struct buf *out)
{
	put_options(out, CONF_TABLE_OPTIONS);
}

static void
section_listener(struct buf *out)
{
	put_options(out, CONF_TABLE_LISTENER);
}

static void
section_route(struct buf *out)
{
	put_options(out, CONF_TABLE_ROUTE);
}

/* ---- other tables ---- */

static void
section_events(struct buf *out)
{
	buf_puts(out, ".Bl -tag -width indent\n");
	for (unsigned e = 0; e < LOG_EVENT_COUNT; e++) {
		buf_printf(out, ".It Li %s Pq %s\n", log_event_name(e), log_level_name(log_event_level(e)));
		put_text(out, log_event_doc(e));
		buf_puts(out, ".\n");
	}
	buf_puts(out, ".El\n");
}

static void
section_statuses(struct buf *out)
{
	buf_puts(out, ".Bl -tag -width indent\n");
	for (unsigned s = STATUS_NONE + 1; s < STATUS_COUNT; s++) {
		const struct status *row = status_get(s);

		buf_printf(out, ".It Li %u %s\n", row->reply, row->code);
		put_text(out, row->text);
		buf_puts(out, ".\n.br\n");
		put_text(out, row->report);
		buf_puts(out, "\n");
	}
	buf_puts(out, ".El\n");
}

static void
section_limits(struct buf *out)
{
	static const struct {
		const char *name;
		unsigned long value;
		const char *meaning;
	} limits[] = {
#define LIMIT(name, value, meaning) { #name, value, meaning },
#include "mail/limits.def"
#undef LIMIT
	};

	buf_puts(out, ".Bl -tag -width indent\n");
	for (size_t i = 0; i < sizeof(limits) / sizeof(limits[0]); i++) {
		buf_printf(out, ".It %lu\n", limits[i].value);
		put_text(out, limits[i].meaning);
		buf_puts(out, ".\n");
	}
	buf_puts(out, ".El\n");
}

enum { ONE, CORES, OWNED };

static const struct process {
	const char *name;
	int count;
	const char *job;
} processes[] = {
#define PROCESS(name, bit, count, promises, files, memory, cpu, peers, job) { #name, count, job },
#define OWNED(name, bit, promises, files, memory, cpu, job) { #name, OWNED, job },
#include "daemons/maild/processes.def"
};

static const struct wire {
	const char *channel, *client, *server;
} wires[] = {
#define WIRE(channel, client, server) { #channel, #client, #server },
#include "daemons/maild/processes.def"
};

static void
section_processes(struct buf *out)
{
	buf_puts(out, ".Bl -tag -width indent\n");
	for (size_t i = 0; i < sizeof(processes) / sizeof(processes[0]); i++) {
		const struct process *p = &processes[i];

		buf_printf(out, ".It Xr %s 8\n", p->name);
		put_text(out, p->job);
		buf_puts(out, ".\nRuns as ");
		if (p->count == OWNED)
			buf_puts(out, "the owner of the mailbox");
		else
			buf_printf(out, "pp\\-%s", p->name);
		buf_puts(out, p->count == CORES ? ", one process for each processor core.\n" : ".\n");
	}
	buf_puts(out, ".El\n");
}

static void
section_wires(struct buf *out)
{
	buf_puts(out, ".Bl -column \"channel name\" \"asks as client\"\n.It Em channel Ta Em asks Ta Em answers\n");
	for (size_t i = 0; i < sizeof(wires) / sizeof(wires[0]); i++)
		buf_printf(out, ".It %s Ta %s Ta %s\n", wires[i].channel, wires[i].client, wires[i].server);
	buf_puts(out, ".El\n");
}

static void
section_mailctl(struct buf *out)
{
	static const struct {
		const char *group, *verb, *arguments, *doc;
	} commands[] = {
#define COMMAND(group, verb, function, needs, arguments, doc) { group, verb, arguments, doc },
#include "tools/mailctl/commands.def"
	};

	buf_puts(out, ".Bl -tag -width indent\n");
	for (size_t i = 0; i < sizeof(commands) / sizeof(commands[0]); i++) {
		buf_printf(out, ".It Ic %s%s%s", commands[i].group, *commands[i].verb ? " " : "", commands[i].verb);
		if (*commands[i].arguments) {
			buf_puts(out, " No ");
			put_text(out, commands[i].arguments);
		}
		buf_puts(out, "\n");
		put_text(out, commands[i].doc);
		buf_puts(out, ".\n");
	}
	buf_puts(out, ".El\n");
}

static void
section_filter(struct buf *out)
{
	enum { Q = 1, A = 2, H = 4 };
	static const struct {
		const char *name;
		unsigned cost, where;
		const char *doc;
	} fields[] = {
#define FILTER(field, name, kind, cost, where, doc) { name, cost, where, doc },
#include "queue/filter.def"
	};

	buf_puts(out, ".Bl -tag -width indent\n");
	for (size_t i = 0; i < sizeof(fields) / sizeof(fields[0]); i++) {
		buf_printf(out, ".It Ic %s%s No (%s%s%s)\n", fields[i].name, fields[i].cost == 9 ? " *" : "", fields[i].where & Q ? "Q" : "",
		    fields[i].where & A ? "A" : "", fields[i].where & H ? "H" : "");
		put_text(out, fields[i].doc);
		buf_puts(out, ".\n");
	}
	buf_puts(out, ".El\nQ: of queued mail; A: of mail that arrives (rules); H: in the history.\n");
}

static const struct {
	const char *name;
	void (*put)(struct buf *out);
} sections[] = {
	{ "options", section_options },
	{ "listener", section_listener },
	{ "route", section_route },
	{ "events", section_events },
	{ "statuses", section_statuses },
	{ "limits", section_limits },
	{ "mailctl", section_mailctl },
	{ "filter", section_filter },
	{ "processes", section_processes },
	{ "wires", section_wires },
};

/* ---- outputs ---- */

static bool
put_section(struct buf *out, struct span name)
{
	for (size_t i = 0; i < sizeof(sections) / sizeof(sections[0]); i++) {
		if (span_eq(name, span_str(sections[i].name))) {
			sections[i].put(out);
			return true;
		}
	}
	(void)fprintf(stderr, "mkdoc: there is no section %.*s\n", SPAN_ARG(name));
	return false;
}

static bool
page(const char *path, struct buf *out)
{
	char line[4096];
	FILE *f = fopen(path, "r");
	bool ok = true;

	if (!f) {
		perror(path);
		return false;
	}
	while (ok && fgets(line, sizeof(line), f)) {
		struct span text = span_str(line);

		if (span_starts(text, SPAN("@@")))
			ok = put_section(out, span_trim(span_from(text, 2)));
		else
			buf_put(out, text);
	}
	(void)fclose(f);
	return ok;
}

static void
sysusers(struct buf *out)
{
	buf_puts(out, "# Users of the pillarpost mail server, see sysusers.d(5)\n");
	for (size_t i = 0; i < sizeof(processes) / sizeof(processes[0]); i++)
		if (processes[i].count != OWNED)
			buf_printf(out, "u pp-%s - \"Pillarpost: %s\" / /usr/sbin/nologin\n", processes[i].name,
			    processes[i].name);
	buf_puts(out, "u pp-mail - \"Pillarpost: mailboxes\" / /usr/sbin/nologin\n");
}

int
main(int argc, char **argv)
{
	struct buf out;
	bool ok = true;

	buf_init(&out, OUTPUT_MAX);
	if (argc == 2 && strcmp(argv[1], "example") == 0) {
		conf_example(&out);
	} else if (argc == 2 && strcmp(argv[1], "sysusers") == 0) {
		sysusers(&out);
	} else if (argc == 3 && strcmp(argv[1], "page") == 0) {
		ok = page(argv[2], &out);
	} else {
		(void)fprintf(stderr, "usage: mkdoc example | sysusers | page TEMPLATE\n");
		return 64;
	}
	ok = ok && buf_ok(&out) && fwrite(buf_span(&out).p, 1, buf_len(&out), stdout) == buf_len(&out) &&
	    fflush(stdout) == 0;
	buf_free(&out);
	return ok ? 0 : 1;
}
