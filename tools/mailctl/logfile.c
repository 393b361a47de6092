/* SPDX-License-Identifier: ISC */
#include "tools/mailctl/logfile.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>
#ifdef HAVE_ZLIB
#include <zlib.h>
#endif

#include "log/line.h"

enum { BUFFER = 1024 * 1024, NEAR = 64 * 1024, PAUSE_NS = 100 * 1000 * 1000 };

/* ---- which files ---- */

static int
by_age(const void *a, const void *b)
{
	const struct logfile *x = a, *y = b;

	return x->mtime_ms < y->mtime_ms ? -1 : x->mtime_ms > y->mtime_ms;
}

static bool
add(struct logfiles *l, const char *dir, const char *name)
{
	struct logfile *f = &l->files[l->n];
	struct stat st;
	int n = dir ? snprintf(f->path, sizeof(f->path), "%s/%s", dir, name) : snprintf(f->path, sizeof(f->path), "%s", name);

	if (n < 0 || (size_t)n >= sizeof(f->path) || stat(f->path, &st) < 0 || !S_ISREG(st.st_mode))
		return false;
	f->mtime_ms = (int64_t)st.st_mtim.tv_sec * 1000 + st.st_mtim.tv_nsec / 1000000;
	l->end = (uint64_t)st.st_size;
	l->n++;
	return true;
}

bool
logfiles_find(struct logfiles *l, const char *path, struct fail *why)
{
	char dir[LOGFILE_PATH];
	const char *slash = strrchr(path, '/'), *base = slash ? slash + 1 : path;
	const struct dirent *e;
	DIR *d;

	l->n = 0;
	(void)snprintf(dir, sizeof(dir), "%.*s", slash ? (int)(slash - path) : 1, slash ? path : ".");
	d = opendir(*dir ? dir : "/");
	while (d && l->n + 1 < LOGFILES_MAX && (e = readdir(d))) {
		size_t n = strlen(base);

		if (strncmp(e->d_name, base, n) == 0 && (e->d_name[n] == '.' || e->d_name[n] == '-') && ascii_digit(e->d_name[n + 1]))
			(void)add(l, *dir ? dir : "/", e->d_name);
	}
	if (d)
		(void)closedir(d);
	qsort(l->files, l->n, sizeof(*l->files), by_age);
	return add(l, NULL, path) || fail_errno(why, 0, "%s", path);
}

/* ---- lines ---- */

struct source {
	int fd;
#ifdef HAVE_ZLIB
	gzFile gz;
#endif
	uint64_t left; /* of a plain file */
	const struct logfiles *of;
	const char *path;
	uint64_t size; /* on the disk */
};

static void
tell_progress(const struct source *s)
{
	off_t at = lseek(s->fd, 0, SEEK_CUR); /* of a compressed one, too: what zlib has taken of it */

	if (s->of->on_progress && at >= 0 && s->size)
		s->of->on_progress(s->of->arg, s->path, (uint64_t)at >= s->size ? 100 : (unsigned)((uint64_t)at * 100 / s->size));
}

static ssize_t
source_read(struct source *s, char *to, size_t n)
{
	ssize_t got;

#ifdef HAVE_ZLIB
	if (s->gz)
		return gzread(s->gz, to, (unsigned)n);
#endif
	if (n > s->left)
		n = (size_t)s->left;
	do
		got = n ? read(s->fd, to, n) : 0;
	while (got < 0 && errno == EINTR);
	if (got > 0)
		s->left -= (uint64_t)got;
	return got;
}

/* Where in a plain file the lines of a time begin, or a little before: they stand in about their order. */
static uint64_t
seek_time(int fd, uint64_t size, int64_t since_ms)
{
	uint64_t low = 0, high = size;
	char *room = malloc(NEAR);

	while (room && high - low > NEAR) {
		uint64_t middle = low + (high - low) / 2;
		ssize_t n = pread(fd, room, NEAR, (off_t)middle);
		struct span rest = span_of(room, n > 0 ? (size_t)n : 0), line;
		struct log_line l = { .time_ms = -1 };

		(void)span_cut(&rest, '\n'); /* a part of one */
		do
			line = span_cut(&rest, '\n');
		while (rest.n && !(log_line_parse(line, &l) && l.time_ms >= 0));
		if (l.time_ms < 0)
			break;
		if (l.time_ms + 10000 < since_ms)
			low = middle;
		else
			high = middle;
	}
	free(room);
	return low > NEAR ? low - NEAR : 0;
}

static bool
each_line(struct source *s, char *room, bool (*on_line)(void *, struct span), void *arg, bool *go_on)
{
	size_t have = 0;
	ssize_t n;

	while (*go_on && (n = source_read(s, room + have, BUFFER - have)) > 0) {
		struct span rest = span_of(room, have + (size_t)n);
		const char *end;

		while (*go_on && (end = memchr(rest.p, '\n', rest.n))) {
			size_t length = (size_t)(end - rest.p);

			*go_on = on_line(arg, span_of(rest.p, length));
			rest = span_from(rest, length + 1);
		}
		have = rest.n < BUFFER ? rest.n : 0; /* what is longer is no line of ours */
		memmove(room, rest.p ? rest.p : room, have);
		tell_progress(s);
	}
	return n >= 0;
}

static bool
each_of(const struct logfiles *l, size_t i, int64_t since_ms, char *room, bool (*on_line)(void *, struct span), void *arg, bool *go_on,
    struct fail *why)
{
	const struct logfile *f = &l->files[i];
	struct source s = { .fd = open(f->path, O_RDONLY | O_CLOEXEC), .left = UINT64_MAX, .of = l, .path = f->path };
	bool ok = s.fd >= 0, compressed = span_ends(span_str(f->path), SPAN(".gz"));
	struct stat st;
	uint64_t from;

	if (ok && fstat(s.fd, &st) == 0)
		s.size = (uint64_t)st.st_size;
	if (compressed) {
#ifdef HAVE_ZLIB
		s.gz = ok ? gzdopen(s.fd, "r") : NULL;
		ok = s.gz != NULL;
#else
		(void)close(s.fd);
		(void)fprintf(stderr, "mailctl: %s is passed over: built without zlib\n", f->path);
		return true;
#endif
	} else if (ok) {
		if (i + 1 == l->n)
			s.left = l->end;
		from = since_ms ? seek_time(s.fd, i + 1 == l->n ? l->end : 0, since_ms) : 0;
		s.left -= from;
		ok = lseek(s.fd, (off_t)from, SEEK_SET) >= 0;
	}
	ok = ok && each_line(&s, room, on_line, arg, go_on);
	if (!ok)
		(void)fail_errno(why, 0, "%s", f->path);
#ifdef HAVE_ZLIB
	if (s.gz) {
		(void)gzclose(s.gz);
		return ok;
	}
#endif
	if (s.fd >= 0)
		(void)close(s.fd);
	return ok;
}

bool
logfiles_each(const struct logfiles *l, int64_t since_ms, bool (*on_line)(void *, struct span), void *arg, struct fail *why)
{
	char *room = malloc(BUFFER);
	bool go_on = room != NULL, ok = room || fail_set(why, FAIL_TEMP, 0, "no memory");

	for (size_t i = 0; ok && go_on && i < l->n; i++)
		if (i + 1 == l->n || l->files[i].mtime_ms >= since_ms)
			ok = each_of(l, i, since_ms, room, on_line, arg, &go_on, why);
	free(room);
	return ok;
}

/* ---- following ---- */

/* Whether another file has taken the name, or this one was emptied. */
static bool
is_rotated(int fd, const char *path, off_t at)
{
	struct stat mine, named;

	return fstat(fd, &mine) < 0 || (stat(path, &named) == 0 && (named.st_ino != mine.st_ino || named.st_dev != mine.st_dev)) || mine.st_size < at;
}

bool
logfiles_follow(const struct logfiles *l, bool (*on_line)(void *, struct span), bool (*go_on)(void *), void *arg, struct fail *why)
{
	const struct logfile *f = &l->files[l->n - 1];
	const struct timespec pause = { .tv_nsec = PAUSE_NS };
	char *room = malloc(BUFFER);
	int fd = open(f->path, O_RDONLY | O_CLOEXEC);
	bool more = room && fd >= 0;
	off_t at = (off_t)l->end;
	size_t have = 0;

	if (!more)
		(void)fail_errno(why, 0, "%s", f->path);
	while (more) {
		ssize_t n = pread(fd, room + have, BUFFER - have, at);
		struct span rest = span_of(room, have + (n > 0 ? (size_t)n : 0));
		const char *end;

		at += n > 0 ? n : 0;
		while (more && n > 0 && (end = memchr(rest.p, '\n', rest.n))) {
			size_t length = (size_t)(end - rest.p);

			more = on_line(arg, span_of(rest.p, length));
			rest = span_from(rest, length + 1);
		}
		have = rest.n < BUFFER ? rest.n : 0;
		memmove(room, rest.p ? rest.p : room, have);
		if (n > 0 || !more)
			continue;
		more = go_on(arg);
		if (is_rotated(fd, f->path, at)) {
			int fresh = open(f->path, O_RDONLY | O_CLOEXEC);

			if (fresh >= 0) {
				(void)close(fd);
				fd = fresh;
				at = 0;
				have = 0;
				continue;
			}
		}
		(void)nanosleep(&pause, NULL);
	}
	free(room);
	if (fd >= 0)
		(void)close(fd);
	return fd >= 0;
}
