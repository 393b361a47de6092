/* SPDX-License-Identifier: ISC */
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "mail/status.h"
#include "service/probe.h"
#include "tools/mailctl/mailctl.h"
#include "tools/mailctl/trace.h"

static const struct mailctl_command commands[] = {
#define COMMAND(group, verb, function, needs, arguments, doc) { group, verb, function, needs, arguments, doc },
#include "tools/mailctl/commands.def"
};
enum { NCOMMANDS = sizeof(commands) / sizeof(commands[0]) };

int
mailctl_fail(int status, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	(void)fputs("mailctl: ", stderr);
	(void)vfprintf(stderr, fmt, ap);
	(void)fputc('\n', stderr);
	va_end(ap);
	return status;
}

int
mailctl_failed(const struct fail *why)
{
	return mailctl_fail(why->status == STATUS_BAD_MAILBOX ? EX_NOUSER_ : EX_FAILED, "%s", why->text);
}

int
mailctl_unreached(const char *server, const struct fail *why)
{
	return mailctl_fail(EX_UNAVAILABLE_, "%s %s: %s", server, why->err == EACCES ? "may be asked by root alone, or by the user that the suite was started as"
	    : "is not to be reached (is the suite running?)", why->text);
}

struct channel_sync *
mailctl_connect(const struct mailctl *m, const struct ipc_channel *type)
{
	struct fail why = { .text = "" };
	char path[B_PATH];
	struct channel_sync *c;

	(void)snprintf(path, sizeof(path), "%s/%s", m->conf->run_directory.p, type->name);
	c = channel_sync_connect(path, type, &why);
	if (!c)
		(void)mailctl_unreached(type->server, &why);
	return c;
}

bool
mailctl_send(struct channel_sync *c, unsigned type, const void *request)
{
	struct fail why = { .text = "" };

	return channel_sync_send(c, type, request, -1, ANSWER_MS, &why) || mailctl_fail(0, "%s", why.text);
}

bool
mailctl_recv(struct channel_sync *c, unsigned *type, const void **m)
{
	struct fail why = { .text = "" };

	errno = 0;
	if (channel_sync_recv(c, type, m, NULL, PATIENT_MS, &why))
		return true;
	if (errno == ETIMEDOUT) {
		(void)mailctl_fail(0, "%s; waiting for up to %d s more", why.text, (ANSWER_MS - PATIENT_MS) / 1000);
		if (channel_sync_recv(c, type, m, NULL, ANSWER_MS - PATIENT_MS, &why))
			return true;
	}
	(void)mailctl_fail(0, "%s", why.text);
	errno = why.err;
	return false;
}

/* ---- usage ---- */

/* All commands, those of a group, or one. False: there is none. */
static bool
print_commands(FILE *to, const char *group, const char *verb)
{
	size_t n = 0;

	for (size_t i = 0; i < NCOMMANDS; i++) {
		const struct mailctl_command *c = &commands[i];
		int width;

		if ((group && strcmp(c->group, group) != 0) || (verb && strcmp(c->verb, verb) != 0))
			continue;
		(void)fputs(n++ ? "" : "usage: mailctl [-c FILE] COMMAND ...\n\n", to);
		width = fprintf(to, "  %s%s%s%s%s", c->group, c->verb[0] ? " " : "", c->verb, c->arguments[0] ? " " : "", c->arguments);
		(void)fprintf(to, "%*s %s\n", width < 60 ? 60 - width : 0, "", c->doc);
	}
	if (n)
		(void)fputc('\n', to);
	return n > 0;
}

int
mailctl_usage(const struct mailctl *m)
{
	(void)print_commands(stderr, m->command->group, m->command->verb);
	(void)fputs("\"mailctl help\" lists all commands\n", stderr);
	return EX_USAGE_;
}

/* mailctl help [GROUP [VERB]] */
static int
help(char **words, int n)
{
	if (!print_commands(stdout, n > 0 ? words[0] : NULL, n > 1 ? words[1] : NULL))
		return mailctl_fail(EX_USAGE_, "there is no such command; \"mailctl help\" lists all");
	(void)printf("-c FILE is the configuration (default: $PILLARPOST_CONFIG, else %s/pillarpost.conf); see mailctl(8)\n", SYSCONFDIR);
	return EX_OK_;
}

/* What there is of its group, and that this is none of it. */
static int
unknown(char **argv, int argc)
{
	if (argc > 1 && strcmp(argv[1], "--help") == 0)
		return help(argv, 1);
	if (argv[0][0] == '-')
		return mailctl_fail(EX_USAGE_, strcmp(argv[0], "-c") == 0 ? "-c needs the file of the configuration" : "%s: not an option here; \"mailctl help\" lists all commands", argv[0]);
	if (print_commands(stderr, argv[0], NULL) && argc == 1)
		return mailctl_fail(EX_USAGE_, "\"%s\" is followed by one of these words", argv[0]);
	return mailctl_fail(EX_USAGE_, "there is no command \"%s%s%s\"; \"mailctl help\" lists all", argv[0], argc > 1 ? " " : "", argc > 1 ? argv[1] : "");
}

/* ---- arguments ---- */

static bool
take_option(struct mailctl *m, char **argv, int argc, int *i)
{
	static const struct {
		const char *name;
		size_t flag; /* offset of a bool */
	} flags[] = {
		{ "--json", offsetof(struct mailctl, json) },
		{ "--dry-run", offsetof(struct mailctl, dry_run) },
		{ "--sandbox", offsetof(struct mailctl, sandbox) },
		{ "--counters", offsetof(struct mailctl, counters) },
		{ "--widen", offsetof(struct mailctl, widen) },
		{ "--password-stdin", offsetof(struct mailctl, password_stdin) },
		{ "--follow", offsetof(struct mailctl, follow) },
		{ "--received", offsetof(struct mailctl, received) },
		{ "--quiet", offsetof(struct mailctl, quiet) },
		{ "--by-sender", offsetof(struct mailctl, by_sender) },
		{ "--rule", offsetof(struct mailctl, rule) },
		{ "--hold", offsetof(struct mailctl, hold) },
		{ "--maildir", offsetof(struct mailctl, maildir) },
		{ "--envelope", offsetof(struct mailctl, envelope) },
		{ "--content", offsetof(struct mailctl, content) },
	};
	static const struct {
		const char *name;
		size_t text; /* offset of a const char * */
	} texts[] = {
		{ "--sort", offsetof(struct mailctl, sort) },
		{ "--sender", offsetof(struct mailctl, sender) },
		{ "--filter", offsetof(struct mailctl, filter) },
		{ "--comment", offsetof(struct mailctl, comment) },
		{ "--to", offsetof(struct mailctl, to) },
		{ "--since", offsetof(struct mailctl, since) },
		{ "--log", offsetof(struct mailctl, log) },
		{ "--size", offsetof(struct mailctl, size) },
		{ "--imap", offsetof(struct mailctl, imap) },
		{ "--login", offsetof(struct mailctl, login) },
		{ "--uids", offsetof(struct mailctl, uids) },
		{ "--messages", offsetof(struct mailctl, messages) },
		{ "--owner", offsetof(struct mailctl, owner) },
		{ "--mailbox", offsetof(struct mailctl, mailbox) },
	};

	for (size_t k = 0; k < sizeof(flags) / sizeof(flags[0]); k++)
		if (strcmp(argv[*i], flags[k].name) == 0)
			return *(bool *)((char *)m + flags[k].flag) = true;
	if (*i + 1 >= argc)
		return false;
	for (size_t k = 0; k < sizeof(texts) / sizeof(texts[0]); k++)
		if (strcmp(argv[*i], texts[k].name) == 0) {
			*(const char **)(void *)((char *)m + texts[k].text) = argv[++*i];
			return true;
		}
	return strcmp(argv[*i], "--limit") == 0 && span_u64(span_str(argv[++*i]), UINT64_MAX, &m->limit) && m->limit > 0;
}

/* Whether the command knows it: one that were passed over might have been what keeps it from doing something. */
static bool
has_option(struct span arguments, struct span option)
{
	if (span_eq(option, SPAN("--filter"))) /* a word that looks like an option */
		return span_find(arguments, SPAN("FILTER")) != SIZE_MAX;
	for (struct span word = span_word(&arguments); word.n; word = span_word(&arguments)) {
		word = span_from(word, word.p[0] == '[');
		if (span_eq(span_sub(word, 0, span_chr(word, ']')), option))
			return true;
	}
	return false;
}

static bool
has_words(const char *arguments)
{
	arguments += arguments[0] == '[';
	return arguments[0] && arguments[0] != '-';
}

static bool
load_config(struct mailctl *m)
{
	const struct mailctl_command *c = m->command;

	arena_init(&m->arena, CONF_ARENA_MAX);
	if (c->needs == NOTHING || (c->run == trace_cmd && trace_is_received(m)))
		return true;
	m->conf = (c->needs == SUITE ? conf_load_to_ask : conf_load_or_tell)(m->config_path, &m->arena, stderr);
	return m->conf != NULL;
}

static int
wrong(const struct mailctl *m, const char *word, const char *how)
{
	(void)mailctl_fail(0, "%s: %s", word, how);
	return mailctl_usage(m);
}

static int
run(struct mailctl *m, char **argv, int argc)
{
	for (size_t i = 0; i < NCOMMANDS; i++) {
		int words = commands[i].verb[0] ? 2 : 1, kept = 0;

		if (argc < words || strcmp(argv[0], commands[i].group) != 0 || (words == 2 && strcmp(argv[1], commands[i].verb) != 0))
			continue;
		m->command = &commands[i];
		m->args = argv + words;
		for (int k = words; k < argc; k++) {
			const char *word = argv[k];

			if (strcmp(word, "--help") == 0)
				return help(argv, words);
			if (word[0] != '-' || word[1] != '-') {
				m->args[kept++] = argv[k];
				if (!has_words(commands[i].arguments))
					return wrong(m, word, "one word too many");
			} else if (!has_option(span_str(commands[i].arguments), span_str(word)))
				return wrong(m, word, "not an option of this command");
			else if (!take_option(m, argv, argc, &k))
				return wrong(m, word, "its value is missing, or is none");
		}
		m->nargs = kept;
		return load_config(m) ? commands[i].run(m) : EX_CONFIG_;
	}
	return unknown(argv, argc);
}

int
main(int argc, char **argv)
{
	const char *env = getenv("PILLARPOST_CONFIG");
	struct mailctl m = { .program = argv[0], .config_path = env ? env : SYSCONFDIR "/pillarpost.conf" };
	int at = 1, status;

	if (at < argc && strcmp(argv[at], PROBE_LABEL) == 0)
		return doctor_in_place_of_maild(argc, argv);
	if (at + 1 < argc && strcmp(argv[at], "-c") == 0) {
		m.config_path = argv[at + 1];
		at += 2;
	}
	if (at < argc && (strcmp(argv[at], "--help") == 0 || strcmp(argv[at], "help") == 0))
		return help(argv + at + 1, argc - at - 1);
	if (at >= argc)
		return print_commands(stderr, NULL, NULL) ? EX_USAGE_ : 0;
	status = run(&m, argv + at, argc - at);
	arena_free(&m.arena);
	return status;
}
