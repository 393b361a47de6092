/* SPDX-License-Identifier: ISC
 *
 * A configuration from its file, or from the memfd that maild hands out.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>

#include "conf/conf.h"

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
conf_load_fd(int fd, struct arena *arena, const struct conf **out, struct conf_errors *errors, struct fail *why)
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
		*out = conf_parse(buf_span(&text), arena, own);
		ok = *out != NULL;
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
conf_load(const char *path, struct arena *arena, const struct conf **out, struct conf_errors *errors, struct fail *why)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY);
	bool ok;

	*out = NULL;
	if (errors)
		errors->n = errors->more = 0;
	if (fd < 0)
		return fail_errno(why, 0, "open %s", path);
	ok = conf_load_fd(fd, arena, out, errors, why);
	close(fd);
	return ok;
}
