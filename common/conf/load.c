/* SPDX-License-Identifier: ISC
 *
 * A configuration from its file, or from the memfd that maild hands out; and
 * what is wrong with it, as tools and the log tell it.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "conf/source.h"

static bool
read_all(int fd, struct buf *out, struct fail *why)
{
	off_t at = 0;

	for (;;) {
		char *room = buf_room(out, 65536);
		ssize_t got;

		if (!room)
			return fail_set(why, FAIL_LIMIT, 0, "the configuration is larger than %d bytes", CONF_FILE_MAX);
		do
			got = pread(fd, room, 65536, at);
		while (got < 0 && errno == EINTR);
		if (got < 0)
			return fail_errno(why, 0, "read the configuration");
		if (got == 0)
			return true;
		buf_added(out, (size_t)got);
		at += got;
	}
}

bool
conf_reload_fd(int fd, const struct conf_running *running, struct arena *arena, const struct conf **out, struct conf_errors *errors,
    struct fail *why)
{
	struct conf_errors *own = errors ? errors : malloc(sizeof(*own));
	struct buf text;
	bool ok;

	*out = NULL;
	if (!own)
		return fail_errno(why, 0, "read the configuration");
	own->n = own->more = 0;
	buf_init(&text, CONF_FILE_MAX + 65536);
	ok = read_all(fd, &text, why);
	if (ok) {
		*out = conf_build(buf_span(&text), running, arena, own);
		ok = own->n == 0;
		if (!ok)
			fail_set(why, FAIL_PERM, 0, "configuration, line %u, column %u: %s", own->items[0].line,
			    own->items[0].column, own->items[0].text);
	}
	buf_free(&text);
	if (!errors)
		free(own);
	return ok;
}

bool
conf_load_fd(int fd, struct arena *arena, const struct conf **out, struct conf_errors *errors, struct fail *why)
{
	return conf_reload_fd(fd, NULL, arena, out, errors, why);
}

bool
conf_load(const char *path, struct arena *arena, const struct conf **out, struct conf_errors *errors, struct fail *why)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY);
	bool ok;

	*out = NULL;
	if (errors)
		errors->n = errors->more = 0;
	if (fd < 0)
		return fail_errno(why, 0, "cannot be opened");
	ok = conf_load_fd(fd, arena, out, errors, why);
	close(fd);
	return ok;
}

bool
conf_errors_line(const struct conf_errors *errors, size_t i, const char *file, char *line, size_t size)
{
	const struct conf_error *e;

	if (!errors || i >= errors->n + (errors->more > 0))
		return false;
	if (i == errors->n) {
		(void)snprintf(line, size, "%s: and %zu errors more", file, errors->more);
		return true;
	}
	e = &errors->items[i];
	if (e->line)
		(void)snprintf(line, size, "%s:%u:%u: %s", file, e->line, e->column, e->text);
	else
		(void)snprintf(line, size, "%s: %s", file, e->text);
	return true;
}

void
conf_errors_print(const struct conf_errors *errors, const char *file, const struct fail *why, FILE *to)
{
	char line[4096];
	size_t i = 0;

	for (; conf_errors_line(errors, i, file, line, sizeof(line)); i++)
		(void)fprintf(to, "%s\n", line);
	if (i == 0)
		(void)fprintf(to, "%s: %s\n", file, why->text);
}

/* Whether run_directory may be what is wrong, under a name like it or by a directory that stands in it: it would be another
 * suite that is asked. */
static bool
suite_in_doubt(const struct conf_errors *errors)
{
	bool doubt = errors->more > 0;

	for (size_t i = 0; i < errors->n; i++)
		doubt |= strstr(errors->items[i].text, "run_") || strstr(errors->items[i].text, "directory");
	return doubt;
}

/* ask: of a file with errors, too, what can be read, where it surely tells of the suite that is meant. */
static const struct conf *
load_for_tool(const char *path, bool ask, struct arena *arena, FILE *to)
{
	struct conf_errors *errors = calloc(1, sizeof(*errors));
	const struct conf *conf;
	struct fail why = { .text = "" };
	bool ok = conf_load(path, arena, &conf, errors, &why);

	if (!ok && ask && conf && errors && !suite_in_doubt(errors)) {
		(void)fprintf(to, "%s: %zu error%s, which mailctl check shows; the suite in %s is asked all the same\n", path, errors->n,
		    errors->n == 1 ? "" : "s", conf->run_directory.p);
	} else if (!ok) {
		conf_errors_print(errors, path, &why, to);
		conf = NULL;
	}
	free(errors);
	return conf;
}

const struct conf *
conf_load_or_tell(const char *path, struct arena *arena, FILE *to)
{
	return load_for_tool(path, false, arena, to);
}

const struct conf *
conf_load_to_ask(const char *path, struct arena *arena, FILE *to)
{
	return load_for_tool(path, true, arena, to);
}
