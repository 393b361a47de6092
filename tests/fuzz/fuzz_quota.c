/* SPDX-License-Identifier: ISC
 *
 * quota: a maildirsize file that any program may have written, before and after
 * a change; and names of kept messages.
 */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "store/kept.h"
#include "store/quota.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static struct vfs *
root(void)
{
	static struct vfs *v; /* one for all runs */
	static char dir[] = "/tmp/fuzz_quota.XXXXXX";
	struct fail why;

	if (!v && mkdtemp(dir))
		v = vfs_posix_new(dir, &why);
	return v;
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const struct quota limit = { .size = 1000, .messages = 10 };
	struct vfs *v = root();
	struct quota_file q;
	struct fail why;
	char path[KEPT_PATH_MAX], name[MAILDIR_NAME_MAX + 5];
	bool again;
	int fd;

	(void)v->ops->unlink(v, QUOTA_FILE);
	if ((fd = v->ops->open(v, QUOTA_FILE, VFS_CREATE)) < 0 || (size && !vfs_write_all(v, fd, data, size, 0)))
		abort();
	(void)v->ops->close(v, fd);
	quota_init(&q, v);
	if (quota_load(&q, &limit)) {
		(void)quota_fits(&q, &limit, size, 1, &again);
		quota_add(&q, (int64_t)size, 1);
		(void)quota_load(&q, &limit);
		(void)quota_full(&q, &limit, &why);
	}
	quota_close(&q);
	(void)snprintf(name, sizeof(name), "cur/%.*s", (int)(size < MAILDIR_NAME_MAX ? size : MAILDIR_NAME_MAX), (const char *)data);
	kept_path(path, 1, 1, name);
	return 0;
}
