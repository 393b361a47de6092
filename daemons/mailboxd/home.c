/* SPDX-License-Identifier: ISC */
#include "daemons/mailboxd/home.h"

#include <fcntl.h>
#include <sys/stat.h>

#include "ipc/bounds.h"
#include "log/log.h"
#include "store/name.h"

int
home_open(const char *path, struct fail *why)
{
	char part[B_PATH];
	int fd;

	for (size_t i = 1; path[i]; i++) {
		if (path[i] != '/' || !span_cstr(span_of(path, i), part, sizeof part))
			continue;
		(void)mkdir(part, 0700); /* what matters is whether the last one opens */
	}
	(void)mkdir(path, 0700);
	fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
	if (fd < 0)
		(void)fail_errno(why, 0, "%s", path);
	return fd;
}

void
home_create_folders(struct store *store, const struct conf_list *names, const char *user)
{
	struct fail why = { .text = "" };
	struct buf disk;

	buf_init(&disk, STORE_NAME_MAX);
	for (size_t i = 0; i < names->n; i++) {
		struct span name;

		buf_reset(&disk);
		if (!name_from_utf8(names->items[i], &disk))
			continue;
		name = buf_span(&disk);
		if (store_exists(store, name))
			continue;
		if (!store_create(store, name, &why) || !store_subscribe(store, name, true, &why))
			log_put(LOG_failure, "user=%s folder=%.*s: %s", user, SPAN_ARG(names->items[i]), why.text);
	}
	buf_free(&disk);
}
