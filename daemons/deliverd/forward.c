/* SPDX-License-Identifier: ISC */
#include "daemons/deliverd/forward.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "log/log.h"
#include "mail/status.h"

enum {
	PATH_MOST = 2048,
	SAID_MOST = 10,  /* lines of a file that the log hears about, at each message */
	SHOWN_MOST = 100, /* octets of an item there */
};

enum found {
	FOUND_NONE,    /* the next path may have one */
	FOUND_READ,
	FOUND_REFUSED, /* there is one, and it is not used */
	FOUND_UNKNOWN, /* *why tells */
};

/* One file, below the base. */
struct file {
	const struct homes *homes;
	char path[PATH_MOST];
	unsigned said;
};

/* "../x" is beside the mailbox directory.  False: that would be beside the base, or is longer than any path. */
static bool
place(struct span home, struct span path, char out[PATH_MOST])
{
	size_t parent = span_rchr(home, '/');
	int n;

	if (span_starts(path, SPAN("../"))) {
		if (parent == SIZE_MAX)
			return false;
		home = span_sub(home, 0, parent);
		path = span_from(path, 3);
	}
	n = snprintf(out, PATH_MOST, "%.*s/%.*s", SPAN_ARG(home), SPAN_ARG(path));
	return n > 0 && n < PATH_MOST;
}

static enum found
refuse(const struct file *f, const char *why)
{
	log_put(LOG_mailbox, "forward file %s/%s is not used, and mail is kept: %s", f->homes->prefix, f->path, why);
	return FOUND_REFUSED;
}

/* Somebody else who writes it would read the owner's mail; a second name may be in a place where others make such links. */
static const char *
distrust(const struct stat *st)
{
	if (!S_ISREG(st->st_mode))
		return "it is no regular file";
	if (st->st_uid != geteuid() && st->st_uid != 0) /* root may have made it for him */
		return "it belongs to another user (chown)";
	if (st->st_mode & (S_IWGRP | S_IWOTH))
		return "others may write it (chmod go-w)";
	if (st->st_nlink != 1)
		return "it has more than one name (put a copy in its place)";
	if (st->st_size > FORWARDLIST_TEXT)
		return "it is larger than 64 KiB";
	return NULL;
}

static enum found
open_file(const struct file *f, int *fd, struct fail *why)
{
	struct open_how how = {
		.flags = O_RDONLY | O_NONBLOCK | O_CLOEXEC | O_NOCTTY,
		.resolve = RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS | RESOLVE_NO_MAGICLINKS,
	};

	*fd = (int)syscall(SYS_openat2, f->homes->base, f->path, &how, sizeof(how));
	if (*fd >= 0)
		return FOUND_READ;
	switch (errno) {
	case ENOENT:
	case ENOTDIR:
	case ENAMETOOLONG:
		return FOUND_NONE;
	case ELOOP:
		return refuse(f, "it is, or is reached by, a symbolic link (put a copy in its place)");
	case EACCES:
		return refuse(f, "its owner may not read it (chmod u+r)");
	case ENXIO: /* a socket */
		return refuse(f, "it is no regular file");
	default:
		(void)fail_errno(why, STATUS_SYSTEM_LOCAL_TEMP, "forward file %s", f->path);
		return FOUND_UNKNOWN;
	}
}

/* All of it, or it is being written just now. */
static bool
read_text(int fd, size_t size, struct buf *text, struct fail *why)
{
	char *room = buf_room(text, size + 1);
	ssize_t n = 1;

	if (!room)
		return fail_set(why, FAIL_TEMP, STATUS_SYSTEM_LOCAL_TEMP, "no memory for a forward file");
	while (n != 0 && buf_len(text) <= size) {
		n = read(fd, room + buf_len(text), size + 1 - buf_len(text));
		if (n < 0 && errno != EINTR)
			return fail_errno(why, STATUS_SYSTEM_LOCAL_TEMP, "cannot read a forward file");
		buf_added(text, n > 0 ? (size_t)n : 0);
	}
	return buf_len(text) == size || fail_set(why, FAIL_TEMP, STATUS_SYSTEM_LOCAL_TEMP, "a forward file changes while it is read");
}

static enum found
read_file(const struct file *f, struct buf *text, struct fail *why)
{
	const char *bad;
	struct stat st;
	enum found found;
	int fd;

	if ((found = open_file(f, &fd, why)) != FOUND_READ)
		return found;
	if (fstat(fd, &st) < 0) {
		(void)fail_errno(why, STATUS_SYSTEM_LOCAL_TEMP, "forward file %s", f->path);
		found = FOUND_UNKNOWN;
	} else if (S_ISDIR(st.st_mode)) { /* ".forward" is a folder of the name "forward", too */
		found = FOUND_NONE;
	} else if ((bad = distrust(&st))) {
		found = refuse(f, bad);
	} else if (!read_text(fd, (size_t)st.st_size, text, why)) {
		found = FOUND_UNKNOWN;
	} else if (buf_len(text) && memchr(buf_span(text).p, '\0', buf_len(text))) {
		found = refuse(f, "it is no text: there is a NUL in it");
	}
	(void)close(fd);
	return found;
}

/* The first few lines: a file that is all wrong is that at each message. */
static void
on_bad(void *arg, unsigned line, struct span item, const char *why)
{
	struct file *f = arg;

	item = span_sub(item, 0, SHOWN_MOST);
	if (f->said++ < SAID_MOST)
		log_put(LOG_mailbox, "forward file %s/%s line %u: \"%.*s\" is not done, and a copy is kept: %s", f->homes->prefix, f->path, line,
		    SPAN_ARG(item), why);
	else if (f->said == SAID_MOST + 1)
		log_put(LOG_mailbox, "forward file %s/%s: there is more that is not done", f->homes->prefix, f->path);
}

bool
forward_read(const struct homes *h, const struct conf *conf, struct span home, struct span own, struct forwardlist *list, struct fail *why)
{
	const struct conf_list *paths = &conf->forward_path;
	struct file f = { .homes = h };
	struct forwardlist_reader reader = { own, conf->recipient_delimiter, on_bad, &f };
	enum found found = FOUND_NONE;
	struct buf text;
	bool ok = true;

	if (!homes_below(h, &home, why))
		return false;
	buf_init(&text, FORWARDLIST_TEXT + 1);
	for (size_t i = 0; found == FOUND_NONE && i < paths->n; i++)
		if (place(home, paths->items[i], f.path))
			found = read_file(&f, &text, why);
	if (found == FOUND_UNKNOWN)
		ok = false;
	else if (found == FOUND_READ && !forwardlist_parse(list, buf_span(&text), &reader))
		ok = fail_set(why, FAIL_TEMP, STATUS_SYSTEM_LOCAL_TEMP, "no memory for a forward file");
	buf_free(&text);
	return ok;
}
