/* SPDX-License-Identifier: ISC */
#include <getopt.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/queueid.h"
#include "log/log.h"
#include "tools/spoolcheck/spoolcheck.h"


static const struct {
	const char *name;
	int (*run)(struct spoolcheck *c);
	int min_args;
	const char *arguments, *doc;
} verbs[] = {
	{ "verify", spoolcheck_verify, 0, "[--json]", "read everything and say what is damaged" },
	{ "list", spoolcheck_list, 0, "[--json] [ID...]", "list the messages" },
	{ "print", spoolcheck_print, 0, "[--json]", "print every record of the journal" },
	{ "export", spoolcheck_export, 1, "[--maildir] [--dry-run] DIRECTORY [ID...]", "write messages as files" },
	{ "salvage", spoolcheck_salvage, 1, "[--maildir] [--dry-run] DIRECTORY [ID...]", "the same, and what is left of damaged ones" },
	{ "import", spoolcheck_import, 1, "[--dry-run] DIRECTORY [ID...]", "put exported messages into this queue" },
};
enum { NVERBS = sizeof(verbs) / sizeof(*verbs) };

static int
usage(FILE *to)
{
	(void)fputs("usage: spoolcheck [-d QUEUE_DIRECTORY] VERB ...\n\n", to);
	for (size_t i = 0; i < NVERBS; i++) {
		char line[80];

		(void)snprintf(line, sizeof(line), "%s %s", verbs[i].name, verbs[i].arguments);
		(void)fprintf(to, "  %-52s %s\n", line, verbs[i].doc);
	}
	(void)fprintf(to, "\nThe default directory is %s/spool/pillarpost; see spoolcheck(8).\n", LOCALSTATEDIR);
	return to == stdout ? 0 : EXIT_USAGE;
}

static bool
wrong(const char *word, const char *how)
{
	(void)fprintf(stderr, "spoolcheck: %s: %s\n", word, how);
	return false;
}

int
spoolcheck_fail(const char *about, const struct fail *why)
{
	(void)fprintf(stderr, "spoolcheck: %s%s%s\n", about ? about : "", about ? ": " : "", why->text);
	return EXIT_TROUBLE;
}

bool
spoolcheck_wanted(struct spoolcheck *c, uint64_t id)
{
	bool wanted = c->nids == 0;

	for (size_t i = 0; i < c->nids; i++)
		if (c->ids[i].id == id)
			wanted = c->ids[i].there = true;
	return wanted;
}

static bool
take_ids(struct spoolcheck *c, int first)
{
	c->nids = c->nargs > first ? (size_t)(c->nargs - first) : 0;
	c->ids = calloc(c->nids + 1, sizeof(*c->ids));
	if (!c->ids)
		return wrong("ids", "no memory");
	for (size_t i = 0; i < c->nids; i++)
		if (!queueid_parse(span_str(c->args[(size_t)first + i]), &c->ids[i].id))
			return wrong(c->args[(size_t)first + i], "not a queue id");
	return true;
}

/* Whoever names a message wants that one: silence would be taken for success. */
static int
all_there(const struct spoolcheck *c, int status)
{
	char id[QUEUEID_TEXT + 1];

	for (size_t i = 0; i < c->nids && status != EXIT_TROUBLE; i++)
		if (!c->ids[i].there) {
			(void)fprintf(stderr, "spoolcheck: %s: there is no such message\n", queueid_text(c->ids[i].id, id).p);
			status = EXIT_DAMAGED;
		}
	return status;
}

void
spoolcheck_progress(struct spoolcheck *c, const char *what, uint64_t done, uint64_t total)
{
	if (done >= total)
		term_progress_end(&c->progress);
	else if (term_progress_due(&c->progress))
		(void)fprintf(stderr, "\r%s: %u%%\033[K", what, (unsigned)(done * 100 / total));
}

static void
on_progress(void *arg, uint64_t done, uint64_t total)
{
	spoolcheck_progress(arg, "reading the journal", done, total);
}

static void
on_damage(void *arg, const char *file, uint64_t at, uint64_t n, const char *what)
{
	const struct spoolcheck *c = arg;

	if (c->json)
		(void)printf("{\"type\":\"damage\",\"file\":\"%s\",\"offset\":%" PRIu64 ",\"bytes\":%" PRIu64 ",\"what\":\"%s\"}\n", file, at, n,
		    what);
	else if (n)
		(void)fprintf(stderr, "spoolcheck: %s: at %" PRIu64 ": %" PRIu64 " %s\n", file, at, n, what);
	else
		(void)fprintf(stderr, "spoolcheck: %s: %s\n", file, what);
}

bool
spoolcheck_load(struct spoolcheck *c)
{
	struct fail why;

	c->spool.arg = c;
	c->spool.on_damage = on_damage;
	c->spool.on_progress = on_progress;
	if (vfs_posix_locked(c->spool.vfs))
		(void)fprintf(stderr, "spoolcheck: %s is in use: what is read may change meanwhile\n", c->dir);
	if (spool_load(&c->spool, &why))
		return true;
	(void)spoolcheck_fail(NULL, &why);
	return false;
}

static bool
take_option(struct spoolcheck *c, int option)
{
	switch (option) {
	case 'd':
		c->dir = optarg;
		return true;
	case 'j':
		return c->json = true;
	case 'n':
		return c->dry_run = true;
	case 'm':
		return c->maildir = true;
	default:
		return false;
	}
}

/* One that were passed over might have been what keeps it from doing something. */
static bool
takes(const char *arguments, bool given, const char *option)
{
	return !given || strstr(arguments, option) || wrong(option, "not an option of this verb");
}

static bool
right_arguments(struct spoolcheck *c, const char *arguments)
{
	return takes(arguments, c->json, "--json") && takes(arguments, c->dry_run, "--dry-run") && takes(arguments, c->maildir, "--maildir") &&
	       (!c->nargs || strstr(arguments, "ID...") || wrong(c->args[0], "one word too many"));
}

static int
run(struct spoolcheck *c, const char *verb)
{
	struct fail why;
	int status = EXIT_USAGE;

	for (size_t i = 0; i < NVERBS; i++) {
		if (strcmp(verb, verbs[i].name) != 0 || c->nargs < verbs[i].min_args)
			continue;
		if (!right_arguments(c, verbs[i].arguments) || !take_ids(c, verbs[i].min_args))
			break;
		spool_init(&c->spool, vfs_posix_new(c->dir, &why));
		if (!c->spool.vfs)
			return spoolcheck_fail(NULL, &why);
		status = all_there(c, verbs[i].run(c));
		spool_free(&c->spool);
		vfs_posix_free(&c->spool.vfs);
		return fflush(stdout) == 0 ? status : EXIT_TROUBLE;
	}
	return usage(stderr);
}

int
main(int argc, char **argv)
{
	static const struct option options[] = {
		{ "directory", required_argument, NULL, 'd' },
		{ "json", no_argument, NULL, 'j' },
		{ "dry-run", no_argument, NULL, 'n' },
		{ "maildir", no_argument, NULL, 'm' },
		{ "help", no_argument, NULL, 'h' },
		{ NULL, 0, NULL, 0 },
	};
	struct spoolcheck c = { .dir = LOCALSTATEDIR "/spool/pillarpost" };
	int option, status;

	term_progress_begin(&c.progress);
	log_set_level(LOG_LEVEL_ERROR);
	while ((option = getopt_long(argc, argv, "d:", options, NULL)) != -1)
		if (!take_option(&c, option))
			return usage(option == 'h' ? stdout : stderr);
	if (optind >= argc)
		return usage(stderr);
	c.args = argv + optind + 1;
	c.nargs = argc - optind - 1;
	status = run(&c, argv[optind]);
	free(c.ids);
	return status;
}
