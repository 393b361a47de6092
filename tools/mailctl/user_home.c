/* SPDX-License-Identifier: ISC */
#include "tools/mailctl/user_home.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "ipc/bounds.h"
#include "store/maildir.h"
#include "tools/mailctl/user_owner.h"

bool
user_home_path(const char *base, const char *given, char path[USERDB_HOME + 1], struct fail *why)
{
	struct span rest = span_str(given), below = span_str(base);
	struct buf out;
	bool ok = true;

	while (below.n && below.p[below.n - 1] == '/')
		below.n--;
	if (rest.n && rest.p[0] == '/') {
		ok = span_starts(rest, below) && rest.n > below.n && rest.p[below.n] == '/';
		rest = span_from(rest, below.n);
	}
	buf_init(&out, USERDB_HOME);
	while (rest.p) {
		struct span part = span_cut(&rest, '/');

		if (part.n == 0 || span_eq(part, SPAN(".")))
			continue;
		if (buf_span(&out).n)
			buf_putc(&out, '/');
		buf_put(&out, part);
	}
	ok = ok && buf_ok(&out) && buf_span(&out).n && userdb_home_ok(buf_span(&out)) && span_cstr(buf_span(&out), path, USERDB_HOME + 1);
	buf_free(&out);
	return ok || fail_set(why, FAIL_PERM, 0, "%.100s is not the path of a directory below virtual_mailbox_base, %.100s", given, base);
}

/* One step down, or none: -1 and errno. */
static int
step(int at, struct span part, uint64_t flags)
{
	struct open_how how = {
		.flags = flags | O_DIRECTORY | O_CLOEXEC,
		.resolve = RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS | RESOLVE_NO_MAGICLINKS,
	};
	char name[USERDB_HOME + 1];

	return span_cstr(part, name, sizeof(name)) ? (int)syscall(SYS_openat2, at, name, &how, sizeof(how)) : -1;
}

/* ---- in a process of the owner's ---- */

static bool
cannot_open(const char *path, struct fail *why)
{
	if (errno == ELOOP)
		return fail_set(why, FAIL_PERM, 0, "%.150s is a symbolic link, which is not followed to a mailbox", path);
	return fail_errno(why, 0, "%.150s", path);
}

static bool
keeps_out(const struct user_home *h, const char *path, const struct stat *st, const char *need, struct fail *why)
{
	char whose = st->st_uid == h->owner.uid ? 'u' : st->st_gid == h->owner.gid ? 'g' : 'o';
	char advice[B_PATH] = "let virtual_mailbox_base be a directory of root's that all may read, as /home";
	struct buf owner;

	if (st->st_uid != h->common.uid || strcmp(path, h->base) != 0) /* else maild would undo it */
		(void)snprintf(advice, sizeof(advice), "chmod %c+%s %s", whose, need, path);
	buf_init(&owner, B_NAME);
	user_owner_put(&owner, st->st_uid, st->st_gid);
	(void)fail_set(why, FAIL_PERM, 0, "%.70s keeps %s out, for it belongs to %.*s and has mode %04o: %s", path, h->name, SPAN_ARG(buf_span(&owner)),
	    st->st_mode & 07777U, advice);
	buf_free(&owner);
	return false;
}

static bool
may(const struct user_home *h, int at, const char *path, int access, struct fail *why)
{
	struct stat st;

	if (faccessat(at, ".", access, 0) == 0)
		return true;
	if (errno != EACCES || fstat(at, &st) < 0)
		return cannot_open(path, why);
	return keeps_out(h, path, &st, access & W_OK ? "rwx" : access & R_OK ? "rx" : "x", why);
}

/* All that are above the base, and the base, which deliverd opens to begin with. */
static int
reach_base(const struct user_home *h, struct fail *why)
{
	char path[B_PATH];
	bool last = false;
	int at = -1;

	for (size_t i = 1; !last; i++) {
		last = h->base[i] == '\0';
		if ((i > 1 && !last && h->base[i] != '/') || !span_cstr(span_of(h->base, i), path, sizeof(path)))
			continue;
		if (at >= 0)
			(void)close(at);
		at = open(path, O_PATH | O_DIRECTORY | O_CLOEXEC);
		if (at < 0)
			return (void)cannot_open(path, why), -1;
		if (!may(h, at, path, last ? R_OK | X_OK : X_OK, why)) {
			(void)close(at);
			return -1;
		}
	}
	return at;
}

static bool
is_owned(const struct user_home *h, int at, const char *path, struct fail *why)
{
	struct stat st;
	struct buf owner;

	if (fstat(at, &st) < 0)
		return cannot_open(path, why);
	if (st.st_uid == h->owner.uid)
		return true;
	buf_init(&owner, B_NAME);
	user_owner_put(&owner, st.st_uid, st.st_gid);
	(void)fail_set(why, FAIL_PERM, 0, "%.120s is there and belongs to %.*s, not to %s (if the mail in it is to be his: chown -R)", path, SPAN_ARG(buf_span(&owner)), h->name);
	buf_free(&owner);
	return false;
}

static bool
fill(int at, struct fail *why)
{
	struct vfs *v = maildir_vfs(at, "", why);
	bool ok = v && maildir_make(v, "", why);

	if (v)
		vfs_posix_free(&v);
	return ok;
}

/* True where the rest of the way is to be made, too; what is there is made a Maildir, or only looked at. */
static bool
walk(const struct user_home *h, bool make, struct fail *why)
{
	struct span rest = span_str(h->path);
	char path[B_PATH * 2];
	int at = reach_base(h, why);
	bool ok = at >= 0;

	while (ok && rest.p) {
		struct span part = span_cut(&rest, '/');
		int next = step(at, part, O_PATH);

		(void)snprintf(path, sizeof(path), "%s/%.*s", h->base, (int)(part.p + part.n - h->path), h->path);
		if (next < 0 && errno == ENOENT)
			break;
		ok = next >= 0 || cannot_open(path, why);
		ok = ok && (rest.p || is_owned(h, next, path, why)) && may(h, next, path, rest.p ? R_OK | X_OK : R_OK | W_OK | X_OK, why);
		(void)close(at);
		at = next;
	}
	ok = ok && (!make || fill(at, why));
	if (at >= 0)
		(void)close(at);
	return ok;
}

/* ---- root ---- */

/* The exit status of the owner's process, and what it said. */
static int
send_owner(const struct user_home *h, bool make, struct fail *why)
{
	struct fail found = { .text = "" };
	int ends[2], status = -1;
	pid_t pid;

	if (pipe2(ends, O_CLOEXEC) < 0)
		return (void)fail_errno(why, 0, "pipe"), -1;
	pid = fork();
	if (pid == 0) {
		status = priv_become(&h->owner, &found) && walk(h, make, &found) ? 0 : 1;
		_exit(write(ends[1], &found, sizeof(found)) == sizeof(found) ? status : 2);
	}
	(void)close(ends[1]);
	if (pid < 0)
		(void)fail_errno(why, 0, "fork");
	else if (read(ends[0], &found, sizeof(found)) == sizeof(found))
		*why = found;
	else
		(void)fail_set(why, FAIL_TEMP, 0, "it is not known whether %s reaches the mailbox", h->name);
	(void)close(ends[0]);
	return pid >= 0 && waitpid(pid, &status, 0) == pid ? status : -1;
}

bool
user_home_look(const struct user_home *h, struct fail *why)
{
	if (access(h->base, F_OK) == 0)
		return send_owner(h, false, why) == 0;
	if (errno == ENOENT)
		return fail_set(why, FAIL_PERM, 0, "virtual_mailbox_base, %.150s, is not there: start the suite once, or make it", h->base);
	return fail_errno(why, 0, "%.150s", h->base);
}

static bool
is_empty(int at)
{
	int fd = openat(at, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	DIR *d = fd >= 0 ? fdopendir(fd) : NULL;
	const struct dirent *e;
	bool empty = d != NULL;

	while (empty && (e = readdir(d)))
		empty = strcmp(e->d_name, ".") == 0 || strcmp(e->d_name, "..") == 0;
	if (d)
		(void)closedir(d);
	else if (fd >= 0)
		(void)close(fd);
	return empty;
}

/* Whoever has the directory above might have put something else there meanwhile: what is not root's yet is left alone, and
 * what of root's has something in it. */
static int
make_one(const struct user_home *h, int at, struct span part, bool last, struct fail *why)
{
	struct vfs *v = maildir_vfs(at, "", why);
	struct stat above, st;
	char name[USERDB_HOME + 1];
	int fd = -1;
	bool ok;

	if (!v || !span_cstr(part, name, sizeof(name)))
		return -1;
	ok = fstat(at, &above) == 0 && v->ops->mkdir(v, name) == 0 && (fd = step(at, part, O_RDONLY)) >= 0 && fstat(fd, &st) == 0;
	if (ok && (st.st_uid != 0 || !is_empty(fd)))
		ok = (errno = EEXIST, false);
	ok = ok && (last ? fchown(fd, h->owner.uid, h->owner.gid) : fchown(fd, above.st_uid, above.st_gid)) == 0 &&
	    fchmod(fd, last ? 0700 : above.st_mode & 0755) == 0 && v->ops->sync_dir(v, name) == 0 && v->ops->sync_dir(v, "") == 0;
	if (!ok)
		(void)fail_errno(why, 0, "cannot make %.100s/%.100s", h->base, h->path);
	vfs_posix_free(&v);
	if (!ok && fd >= 0)
		(void)close(fd);
	return ok ? fd : -1;
}

bool
user_home_make(const struct user_home *h, struct fail *why)
{
	struct span rest = span_str(h->path);
	int at = open(h->base, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	if (at < 0)
		return fail_errno(why, 0, "%.150s", h->base);
	while (at >= 0 && rest.p) {
		struct span part = span_cut(&rest, '/');
		int next = step(at, part, O_RDONLY);

		if (next < 0 && errno == ENOENT)
			next = make_one(h, at, part, !rest.p, why);
		else if (next < 0)
			(void)fail_errno(why, 0, "%.100s/%.100s", h->base, h->path);
		(void)close(at);
		at = next;
	}
	if (at >= 0)
		(void)close(at);
	return at >= 0 && send_owner(h, true, why) == 0;
}
