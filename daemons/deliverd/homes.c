/* SPDX-License-Identifier: ISC */
#include "daemons/deliverd/homes.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "mail/status.h"
#include "store/name.h"

enum { PATH_MOST = 1024, DEPTH_MOST = 16, MAKE_ROOM = 32 /* homes: who finds no descriptor will need more of them */ };

void
homes_init(struct homes *h)
{
	*h = (struct homes){ .base = -1 };
	map_init(&h->by_path);
	list_init(&h->idle);
}

bool
homes_open(struct homes *h, struct span base, struct fail *why)
{
	char path[sizeof(h->prefix)];

	if (!span_cstr(base, path, sizeof(path)))
		return fail_set(why, FAIL_PERM, STATUS_MISCONFIGURED, "virtual_mailbox_base is too long");
	if (h->base >= 0)
		(void)close(h->base);
	h->base = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	memcpy(h->prefix, path, sizeof(path));
	return h->base >= 0 || fail_errno(why, STATUS_MISCONFIGURED, "cannot open %s", path);
}

static void
home_free(struct homes *h, struct home *at)
{
	if (list_linked(&at->idle)) {
		list_remove(&at->idle);
		h->nidle--;
	}
	if (!at->stale)
		map_remove(&h->by_path, &at->node);
	quota_close(&at->quota);
	vfs_posix_free(&at->vfs);
	free(at);
}

void
homes_close(struct homes *h)
{
	while (!list_empty(&h->idle))
		home_free(h, OWNER_OF(h->idle.next, struct home, idle));
	map_free(&h->by_path);
	if (h->base >= 0)
		(void)close(h->base);
	h->base = -1;
}

bool
homes_below(const struct homes *h, struct span *home, struct fail *why)
{
	struct span base = span_str(h->prefix);

	if (span_starts(*home, base) && home->n > base.n && home->p[base.n] == '/')
		*home = span_from(*home, base.n + 1);
	while (home->n && home->p[home->n - 1] == '/')
		home->n--;
	return span_is_below(*home, DEPTH_MOST) || fail_set(why, FAIL_PERM, STATUS_MISCONFIGURED_PERM, "%.*s is no directory for a mailbox", SPAN_ARG(*home));
}

/* What is below the base, NUL-terminated. */
static bool
relative_path(const struct homes *h, struct span home, struct span folder, char out[PATH_MOST + 1], struct fail *why)
{
	int n;

	if (!homes_below(h, &home, why))
		return false;
	if (folder.n && !name_valid(folder))
		return fail_set(why, FAIL_PERM, STATUS_BAD_MAILBOX, "%.*s is no name for a folder", SPAN_ARG(folder));
	if (span_eq(name_fold(folder), SPAN("INBOX")))
		folder = SPAN_NONE;
	n = snprintf(out, PATH_MOST + 1, "%.*s%s%.*s", SPAN_ARG(home), folder.n ? "/." : "", SPAN_ARG(folder));
	return (n > 0 && n <= PATH_MOST) || fail_set(why, FAIL_PERM, STATUS_MISCONFIGURED_PERM, "the mailbox's path is too long");
}

/* Every directory on the way and the Maildir itself, durably. */
static bool
make(struct homes *h, const char *path, struct fail *why)
{
	struct vfs *v = maildir_vfs(h->base, "", why), *home;
	bool ok = v != NULL;
	char part[PATH_MOST + 1], parent[PATH_MOST + 1] = "";

	for (size_t i = 1; ok && path[i - 1]; i++) {
		if (path[i] != '/' && path[i] != '\0')
			continue;
		(void)snprintf(part, sizeof(part), "%.*s", (int)i, path);
		ok = (v->ops->mkdir(v, part) == 0 && v->ops->sync_dir(v, parent) == 0) ||
		    fail_errno(why, STATUS_SYSTEM_LOCAL_TEMP, "cannot make directory %s", part);
		memcpy(parent, part, sizeof(part));
	}
	vfs_posix_free(&v);
	if (!ok || !(home = maildir_vfs(h->base, path, why)))
		return false;
	ok = maildir_make(home, "", why);
	vfs_posix_free(&home);
	return ok;
}

static bool
identify(const struct homes *h, const char *path, uint64_t *device, uint64_t *inode)
{
	struct stat st;

	if (fstatat(h->base, path, &st, AT_SYMLINK_NOFOLLOW) < 0)
		return false;
	*device = st.st_dev;
	*inode = st.st_ino;
	return true;
}

/* Whose mailbox a path is can change: mailctl mailbox move. */
static bool
is_current(const struct homes *h, const struct home *at)
{
	uint64_t device, inode;

	return identify(h, at->path, &device, &inode) && device == at->device && inode == at->inode;
}

static struct home *
open_home(struct homes *h, const char *path, struct fail *why)
{
	struct vfs *v = maildir_vfs(h->base, path, why);
	struct home *at;

	if (v && !maildir_exists(v, "")) {
		vfs_posix_free(&v);
		errno = ENOENT;
	}
	if (!v && (errno != ENOENT || !make(h, path, why) || !(v = maildir_vfs(h->base, path, why))))
		return NULL;
	at = calloc(1, sizeof(*at) + strlen(path) + 1);
	if (at) {
		at->vfs = v;
		quota_init(&at->quota, v);
		list_init(&at->waiting);
		memcpy(at->path, path, strlen(path) + 1);
		(void)identify(h, path, &at->device, &at->inode);
	}
	if (!at || !map_put(&h->by_path, &at->node, span_str(at->path))) {
		free(at);
		vfs_posix_free(&v);
		(void)fail_set(why, FAIL_TEMP, STATUS_SYSTEM_LOCAL_TEMP, "out of memory");
		return NULL;
	}
	return at;
}

/* The idle ones make way, the oldest first.  False: there are none. */
static bool
make_room(struct homes *h)
{
	struct list *oldest;
	unsigned n = 0;

	for (; n < MAKE_ROOM && (oldest = list_shift(&h->idle)); n++) {
		h->nidle--;
		home_free(h, OWNER_OF(oldest, struct home, idle));
	}
	return n > 0;
}

struct home *
homes_use(struct homes *h, struct span home, struct span folder, struct fail *why)
{
	char path[PATH_MOST + 1];
	struct map_node *node;
	struct home *at;

	if (!relative_path(h, home, folder, path, why))
		return NULL;
	node = map_get(&h->by_path, span_str(path));
	at = node ? OWNER_OF(node, struct home, node) : NULL;
	if (at && !is_current(h, at)) {
		if (at->users)
			homes_drop(h, at);
		else
			home_free(h, at);
		at = NULL;
	}
	while (!at && !(at = open_home(h, path, why)))
		if (why->err != EMFILE || !make_room(h))
			return NULL;
	if (at->users++ == 0 && list_linked(&at->idle)) {
		list_remove(&at->idle);
		h->nidle--;
	}
	return at;
}

void
homes_unuse(struct homes *h, struct home *at)
{
	if (--at->users)
		return;
	if (at->stale) {
		home_free(h, at);
		return;
	}
	quota_close(&at->quota);
	list_push(&h->idle, &at->idle);
	if (++h->nidle > HOMES_OPEN)
		home_free(h, OWNER_OF(h->idle.next, struct home, idle));
}

void
homes_drop(struct homes *h, struct home *at)
{
	if (at->stale)
		return;
	map_remove(&h->by_path, &at->node);
	at->stale = true;
}
