/* SPDX-License-Identifier: ISC */
#include "store/maildir.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

enum { BLOCK = 65536 };

/* In ASCII order, as the names have them. */
static const struct {
	char letter;
	uint32_t bit;
} letters_by_name[] = {
	{ 'D', LETTER_DRAFT },
	{ 'F', LETTER_FLAGGED },
	{ 'P', LETTER_PASSED },
	{ 'R', LETTER_ANSWERED },
	{ 'S', LETTER_SEEN },
	{ 'T', LETTER_DELETED },
};

static uint32_t
letter_bit(char c)
{
	if (c >= 'a' && c <= 'z')
		return 1u << (LETTER_KEYWORD_SHIFT + c - 'a');
	for (size_t i = 0; i < sizeof(letters_by_name) / sizeof(*letters_by_name); i++)
		if (letters_by_name[i].letter == c)
			return letters_by_name[i].bit;
	return 0;
}

static size_t
put_letters(char *out, uint32_t letters)
{
	size_t n = 0;

	for (size_t i = 0; i < sizeof(letters_by_name) / sizeof(*letters_by_name); i++)
		if (letters & letters_by_name[i].bit)
			out[n++] = letters_by_name[i].letter;
	for (uint32_t left = letters >> LETTER_KEYWORD_SHIFT; left; left &= left - 1)
		out[n++] = (char)('a' + __builtin_ctz(left));
	out[n] = '\0';
	return n;
}

/* ",S=123,W=125": the first of each counts. */
static void
take_sizes(struct maildir_name *name)
{
	struct span rest = name->base;
	bool s = false, w = false;

	name->size = name->vsize = UINT64_MAX;
	(void)span_cut(&rest, ',');
	while (rest.p && !(s && w)) {
		struct span field = span_cut(&rest, ',');
		bool is_s = span_starts(field, SPAN("S=")) && !s, is_w = span_starts(field, SPAN("W=")) && !w;
		uint64_t v;

		if (!is_s && !is_w)
			continue;
		*(is_s ? &name->size : &name->vsize) = span_u64(span_from(field, 2), UINT64_MAX - 1, &v) ? v : UINT64_MAX;
		s |= is_s;
		w |= is_w;
	}
}

bool
maildir_name_valid(struct span file)
{
	return file.n > 0 && file.n <= MAILDIR_NAME_MAX && file.p[0] != '.' && file.p[0] != ':';
}

bool
maildir_name_parse(struct span file, struct maildir_name *out)
{
	size_t colon = span_chr(file, ':');
	char canonical[64];
	struct span info;

	*out = (struct maildir_name){ .base = span_sub(file, 0, colon) };
	if (!maildir_name_valid(file))
		return false;
	take_sizes(out);
	if (colon == SIZE_MAX)
		return true;
	info = span_from(file, colon);
	if (span_starts(info, SPAN(":2,")))
		for (size_t i = 3; i < info.n && info.p[i] != ','; i++)
			out->letters |= letter_bit(info.p[i]);
	memcpy(canonical, ":2,", 3);
	if (!span_eq(info, span_of(canonical, 3 + put_letters(canonical + 3, out->letters))))
		out->odd = info;
	return true;
}

bool
maildir_path(char out[MAILDIR_NAME_MAX + 5], struct span base, struct span odd, uint32_t letters, bool in_new)
{
	char *p = out + 4;
	char text[40];

	out[0] = '\0';
	if (!odd.n && !in_new) {
		memcpy(text, ":2,", 3);
		odd = span_of(text, 3 + put_letters(text + 3, letters));
	}
	if (base.n + odd.n > MAILDIR_NAME_MAX || base.n == 0)
		return false;
	memcpy(out, in_new ? "new/" : "cur/", 4);
	memcpy(p, base.p, base.n);
	if (odd.n)
		memcpy(p + base.n, odd.p, odd.n);
	p[base.n + odd.n] = '\0';
	return true;
}

void
maildir_namer_init(struct maildir_namer *n, struct span host)
{
	*n = (struct maildir_namer){ .pid = (long)getpid() };
	if (getrandom(&n->random, sizeof(n->random), 0) != (ssize_t)sizeof(n->random))
		n->random = (uint32_t)time(NULL);
	for (size_t i = 0; i < host.n && i < sizeof(n->host) - 1; i++) {
		char c = host.p[i];

		n->host[i] = ascii_alnum(c) || c == '.' || c == '-' ? c : '_';
	}
	if (!n->host[0])
		memcpy(n->host, "localhost", sizeof("localhost"));
}

void
maildir_unique(struct maildir_namer *n, char out[MAILDIR_BASE_MAX])
{
	struct timespec now = { .tv_sec = 0 };

	(void)clock_gettime(CLOCK_REALTIME, &now);
	(void)snprintf(out, MAILDIR_BASE_MAX, "%lld.M%06ldP%ldR%08xQ%u.%s", (long long)now.tv_sec, now.tv_nsec / 1000,
	    n->pid, n->random, n->count++, n->host);
}

void
maildir_add_sizes(char base[MAILDIR_BASE_MAX], uint64_t size, uint64_t vsize)
{
	size_t used = strlen(base);

	(void)snprintf(base + used, MAILDIR_BASE_MAX - used, ",S=%llu,W=%llu", (unsigned long long)size,
	    (unsigned long long)vsize);
}

/* ---- a second name ---- */

static bool
copy_bytes(struct vfs *v, int in, int out)
{
	int64_t size = v->ops->size(v, in);
	char *block = malloc(BLOCK);
	bool ok = size >= 0 && block;

	for (uint64_t at = 0; ok && at < (uint64_t)size; at += BLOCK) {
		size_t n = (uint64_t)size - at < BLOCK ? (size_t)((uint64_t)size - at) : BLOCK;

		ok = vfs_read_all(v, in, block, n, at) && vfs_write_all(v, out, block, n, at);
	}
	free(block);
	return ok;
}

/* By way of tmp/: a half one must not have the name. */
static bool
copy_file(struct vfs *v, const char *from, const char *to)
{
	int slash = (int)span_rchr(span_str(to), '/'), in, out = -1, err;
	char tmp[MAILDIR_PATH_MAX];
	struct vfs_stat st;
	bool ok;

	(void)snprintf(tmp, sizeof(tmp), "%.*stmp%s", slash - 3, to, to + slash);
	if (v->ops->stat(v, to, &st) == 0) {
		errno = EEXIST;
		return false;
	}
	if (v->ops->stat(v, from, &st) < 0 || (in = v->ops->open(v, from, VFS_READ)) < 0)
		return false;
	(void)v->ops->unlink(v, tmp);
	out = v->ops->open(v, tmp, VFS_CREATE);
	ok = out >= 0 && copy_bytes(v, in, out) && v->ops->touch(v, out, st.mtime_ns / 1000000000) == 0 && v->ops->sync(v, out) == 0 &&
	    v->ops->rename(v, tmp, to) == 0;
	err = errno;
	(void)v->ops->close(v, in);
	if (out >= 0)
		(void)v->ops->close(v, out);
	if (out >= 0 && !ok)
		(void)v->ops->unlink(v, tmp);
	errno = err;
	return ok;
}

bool
maildir_link(struct vfs *v, const char *from, const char *to)
{
	if (v->ops->link(v, from, to) == 0)
		return true;
	return (errno == EMLINK || errno == EPERM || errno == EXDEV) && copy_file(v, from, to);
}

/* ---- directories ---- */

static bool
join(char out[MAILDIR_NAME_MAX + 5], const char *dir, const char *name)
{
	int n = snprintf(out, MAILDIR_NAME_MAX + 5, "%s%s%s", dir, *dir && *name ? "/" : "", name);

	return n >= 0 && n < MAILDIR_NAME_MAX + 5;
}

bool
maildir_make(struct vfs *v, const char *dir, struct fail *why)
{
	/* cur last: what has cur is complete, see maildir_exists(). */
	static const char *const parts[] = { "", "tmp", "new", "cur" };
	char path[MAILDIR_NAME_MAX + 5];

	for (size_t i = 0; i < sizeof(parts) / sizeof(*parts); i++) {
		if (!join(path, dir, parts[i]))
			return fail_set(why, FAIL_PERM, 0, "folder name too long");
		if (*path && v->ops->mkdir(v, path) < 0)
			return fail_errno(why, 0, "cannot make directory %s", path);
	}
	if (v->ops->sync_dir(v, dir) < 0 || (*dir && v->ops->sync_dir(v, "") < 0))
		return fail_errno(why, 0, "cannot sync directory \"%s\"", dir);
	return true;
}

bool
maildir_exists(struct vfs *v, const char *dir)
{
	char path[MAILDIR_NAME_MAX + 5];
	struct vfs_stat st;

	return join(path, dir, "cur") && v->ops->stat(v, path, &st) == 0 && st.dir;
}

struct vfs *
maildir_vfs(int dir, const char *path, struct fail *why)
{
	struct open_how how = {
		.flags = O_RDONLY | O_DIRECTORY | O_CLOEXEC,
		.resolve = RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS | RESOLVE_NO_MAGICLINKS,
	};
	int fd = (int)syscall(SYS_openat2, dir, *path ? path : ".", &how, sizeof(how));
	struct vfs *v;

	if (fd < 0) {
		(void)fail_errno(why, 0, "cannot open %s", *path ? path : "the mailbox directory");
		return NULL;
	}
	if (!(v = vfs_posix_at(fd))) {
		(void)close(fd);
		(void)fail_set(why, FAIL_TEMP, 0, "out of memory");
	}
	return v;
}
