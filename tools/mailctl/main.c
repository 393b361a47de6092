/* SPDX-License-Identifier: ISC */
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "service/probe.h"
#include "tools/mailctl/mailctl.h"
#include "tools/mailctl/trace.h"

static const struct {
	const char *group, *verb;
	int (*run)(struct mailctl *m);
	const char *arguments, *doc;
} commands[] = {
#define COMMAND(group, verb, function, arguments, doc) { group, verb, function, arguments, doc },
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

struct channel_sync *
mailctl_connect(const struct mailctl *m, const struct ipc_channel *type)
{
	struct fail why = { .text = "" };
	char path[B_PATH];
	struct channel_sync *c;

	(void)snprintf(path, sizeof(path), "%s/%s", m->conf->run_directory.p, type->name);
	c = channel_sync_connect(path, type, &why);
	if (!c)
		(void)mailctl_fail(0, "%s is not to be reached (is the suite running?): %s", type->server, why.text);
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
	return mailctl_fail(0, "%s", why.text);
}

static int
usage(FILE *to)
{
	(void)fprintf(to, "usage: mailctl [-c FILE] COMMAND ...\n\n");
	for (size_t i = 0; i < NCOMMANDS; i++) {
		char line[128];

		(void)snprintf(line, sizeof(line), "%s%s%s%s%s", commands[i].group, commands[i].verb[0] ? " " : "", commands[i].verb,
		    commands[i].arguments[0] ? " " : "", commands[i].arguments);
		(void)fprintf(to, "  %-58s %s\n", line, commands[i].doc);
	}
	(void)fprintf(to, "\n-c FILE is the configuration (default: $PILLARPOST_CONFIG, else %s/pillarpost.conf); see mailctl(8)\n", SYSCONFDIR);
	return to == stdout ? 0 : EX_USAGE_;
}

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
	static struct conf_errors errors;
	struct fail why = { .text = "" };
	struct buf text;

	arena_init(&m->arena, CONF_ARENA_MAX);
	if (conf_load(m->config_path, &m->arena, &m->conf, &errors, &why))
		return true;
	buf_init(&text, 1 << 20);
	if (errors.n)
		conf_errors_print(&errors, m->config_path, &text);
	else
		buf_printf(&text, "mailctl: %s\n", why.text);
	(void)fprintf(stderr, "%.*s", SPAN_ARG(buf_span(&text)));
	buf_free(&text);
	return false;
}

static int
run(struct mailctl *m, char **argv, int argc)
{
	for (size_t i = 0; i < NCOMMANDS; i++) {
		int words = commands[i].verb[0] ? 2 : 1, kept = 0;

		if (argc < words || strcmp(argv[0], commands[i].group) != 0 || (words == 2 && strcmp(argv[1], commands[i].verb) != 0))
			continue;
		m->verb = commands[i].verb;
		m->args = argv + words;
		for (int k = words; k < argc; k++) {
			const char *word = argv[k];

			if (word[0] != '-' || word[1] != '-') {
				m->args[kept++] = argv[k];
				if (!has_words(commands[i].arguments))
					return mailctl_fail(EX_USAGE_, "%s: one word too many", word);
			} else if (!has_option(span_str(commands[i].arguments), span_str(word)))
				return mailctl_fail(EX_USAGE_, "%s: not an option of this command", word);
			else if (!take_option(m, argv, argc, &k))
				return mailctl_fail(EX_USAGE_, "%s: its value is missing, or is none", word);
		}
		m->nargs = kept;
		if (commands[i].run != check_cmd && !(commands[i].run == trace_cmd && trace_is_received(m)) && !load_config(m))
			return EX_CONFIG_;
		return commands[i].run(m);
	}
	return usage(stderr);
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
		return usage(stdout);
	status = at < argc ? run(&m, argv + at, argc - at) : usage(stderr);
	arena_free(&m.arena);
	return status;
}
