/* SPDX-License-Identifier: ISC */
#include "store/kept.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "store/mailbox.h"
#include "store/name.h"

enum { DEPTH_MAX = 4, PATH_SIZE = 1024, DUE_LOOKS = 64 };

#define UNFINISHED "pillarpost-deleted-" /* what was being removed */

/* ---- names ---- */

void
kept_path(char out[KEPT_PATH_MAX], int64_t now, uint32_t uid, const char *path)
{
	struct span name = span_from(span_str(path), 4), letters = span_from(name, span_chr(name, ':'));
	struct span base = span_sub(name, 0, span_chr(name, ':'));
	char prefix[48];
	int n = snprintf(prefix, sizeof(prefix), "%lld.%u,", (long long)now, uid);
	size_t room = MAILDIR_NAME_MAX - (size_t)n;

	if (letters.n > 64)
		letters = SPAN_NONE;
	if (base.n > room - letters.n) /* it gets a name of ours when it comes back */
		base.n = room - letters.n;
	(void)snprintf(out, KEPT_PATH_MAX, KEPT_DIR "/%s%.*s%.*s", prefix, SPAN_ARG(base), SPAN_ARG(letters));
}

bool
kept_folder_path(char out[KEPT_PATH_MAX], int64_t now_ms, struct span folder)
{
	(void)snprintf(out, KEPT_PATH_MAX, KEPT_FOLDER "%lld.%.*s", (long long)now_ms, SPAN_ARG(folder));
	return folder.n <= KEPT_FOLDER_NAME_MAX;
}

static bool
parse(struct span file, struct kept *k)
{
	struct span rest = file, since = span_cut(&rest, '.'), uid = span_cut(&rest, ',');
	uint64_t time, number;

	if (!span_u64(since, INT64_MAX, &time) || !span_u64(uid, UINT32_MAX, &number) || number == 0)
		return false;
	k->since = (int64_t)time;
	k->uid = (uint32_t)number;
	return maildir_name_parse(rest, &k->name);
}

/* ---- walking ---- */

struct walk {
	bool (*each)(void *, const struct kept *);
	void *arg;
	struct span folder;
	const char *dir;
};

static bool
each_file(void *arg, const char *file)
{
	const struct walk *w = arg;
	struct kept k = { .folder = w->folder };
	char path[PATH_SIZE];

	if (!parse(span_str(file), &k))
		return true;
	(void)snprintf(path, sizeof(path), "%s/%s", w->dir, file);
	k.path = path;
	return w->each(w->arg, &k);
}

static void
dir_of(struct span folder, char out[PATH_SIZE])
{
	bool inbox = span_eq(folder, SPAN("INBOX"));

	(void)snprintf(out, PATH_SIZE, "%s%.*s%s" KEPT_DIR, inbox ? "" : ".", inbox ? 0 : (int)folder.n, folder.p, inbox ? "" : "/");
}

bool
kept_each(struct vfs *v, struct span folder, bool (*each)(void *, const struct kept *), void *arg, struct fail *why)
{
	char dir[PATH_SIZE];
	struct walk w = { each, arg, folder, dir };

	dir_of(folder, dir);
	return v->ops->list(v, dir, each_file, &w) >= 0 || errno == ENOENT || fail_errno(why, 0, "%s cannot be read", dir);
}

static bool
each_entry(void *arg, const char *entry)
{
	const struct walk *w = arg;
	struct span rest = span_str(entry), since;
	struct kept k = { .path = entry };
	uint64_t ms;

	if (!span_starts(rest, SPAN(KEPT_FOLDER)))
		return true;
	rest = span_from(rest, sizeof(KEPT_FOLDER) - 1);
	since = span_cut(&rest, '.');
	if (!span_u64(since, INT64_MAX, &ms) || !name_valid(rest))
		return true;
	k.since = (int64_t)(ms / 1000);
	k.folder = rest;
	return w->each(w->arg, &k);
}

bool
kept_each_folder(struct vfs *v, bool (*each)(void *, const struct kept *), void *arg, struct fail *why)
{
	struct walk w = { .each = each, .arg = arg };

	return v->ops->list(v, "", each_entry, &w) >= 0 || fail_errno(why, 0, "the mailbox cannot be read");
}

/* ---- back, or away ---- */

bool
kept_restore(struct vfs *v, struct maildir_namer *namer, const struct kept *k, struct fail *why)
{
	bool inbox = span_eq(k->folder, SPAN("INBOX"));
	char base[MAILDIR_BASE_MAX], file[MAILDIR_NAME_MAX + 5], path[PATH_SIZE], dir[PATH_SIZE];

	maildir_unique(namer, base); /* its old one may still be remembered as gone */
	if (k->name.size != UINT64_MAX && k->name.vsize != UINT64_MAX)
		maildir_add_sizes(base, k->name.size, k->name.vsize);
	if (!maildir_path(file, span_str(base), SPAN_NONE, k->name.letters & ~(uint32_t)LETTER_DELETED, false))
		return fail_set(why, FAIL_PERM, 0, "the file's name would be too long");
	(void)snprintf(dir, sizeof(dir), "%s%.*s%scur", inbox ? "" : ".", inbox ? 0 : (int)k->folder.n, k->folder.p, inbox ? "" : "/");
	if (snprintf(path, sizeof(path), "%s%s", dir, file + 3) >= (int)sizeof(path))
		return fail_set(why, FAIL_PERM, 0, "the file's name would be too long");
	if (v->ops->rename(v, k->path, path) < 0 || v->ops->sync_dir(v, dir) < 0)
		return fail_errno(why, 0, "%s cannot be restored", k->path);
	return true;
}

bool
kept_restore_folder(struct vfs *v, const struct kept *k, struct fail *why)
{
	char dir[PATH_SIZE];

	(void)snprintf(dir, sizeof(dir), ".%.*s", SPAN_ARG(k->folder));
	if (maildir_exists(v, dir))
		return fail_set(why, FAIL_PERM, 0, "there is a folder of that name again");
	if (v->ops->rename(v, k->path, dir) < 0 || v->ops->sync_dir(v, "") < 0)
		return fail_errno(why, 0, "%s cannot be restored", k->path);
	return true;
}

struct remover {
	struct vfs *vfs;
	const char *path;
	unsigned depth;
};

static bool
each_remove(void *arg, const char *entry)
{
	const struct remover *r = arg;
	char path[PATH_SIZE];

	if (snprintf(path, sizeof(path), "%s/%s", r->path, entry) < (int)sizeof(path) && r->vfs->ops->unlink(r->vfs, path) < 0 &&
	    (errno == EISDIR || errno == EPERM) && r->depth < DEPTH_MAX)
		kept_remove_tree(r->vfs, path, r->depth + 1);
	return true;
}

void
kept_remove_tree(struct vfs *v, const char *path, unsigned depth)
{
	struct remover r = { v, path, depth };

	(void)v->ops->list(v, path, each_remove, &r);
	(void)v->ops->rmdir(v, path);
}

bool
kept_remove(struct vfs *v, const struct kept *k)
{
	if (k->uid)
		return v->ops->unlink(v, k->path) == 0;
	kept_remove_tree(v, k->path, 0);
	return true;
}

struct purge {
	struct vfs *vfs;
	int64_t before;
	size_t n;
};

static bool
purge_one(void *arg, const struct kept *k)
{
	struct purge *p = arg;

	if (k->since < p->before)
		p->n += kept_remove(p->vfs, k);
	return true;
}

static bool
purge_entry(void *arg, const char *entry)
{
	struct purge *p = arg;

	if (entry[0] == '.' && name_valid(span_str(entry + 1)))
		(void)kept_each(p->vfs, span_str(entry + 1), purge_one, p, NULL);
	else if (span_starts(span_str(entry), SPAN(UNFINISHED)))
		kept_remove_tree(p->vfs, entry, 0);
	return true;
}

size_t
kept_purge(struct vfs *v, int64_t before)
{
	struct purge p = { .vfs = v, .before = before };

	(void)kept_each(v, SPAN("INBOX"), purge_one, &p, NULL);
	(void)kept_each_folder(v, purge_one, &p, NULL);
	(void)v->ops->list(v, "", purge_entry, &p);
	return p.n;
}

struct due {
	struct vfs *vfs;
	int64_t before;
	unsigned looks;
	bool found;
};

static bool
due_one(void *arg, const struct kept *k)
{
	struct due *d = arg;

	d->found = d->found || k->since < d->before || d->looks++ == DUE_LOOKS;
	return !d->found;
}

static bool
due_entry(void *arg, const char *entry)
{
	struct due *d = arg;

	d->found = d->found || span_starts(span_str(entry), SPAN(UNFINISHED)) || d->looks++ == DUE_LOOKS;
	if (!d->found && entry[0] == '.' && name_valid(span_str(entry + 1)))
		(void)kept_each(d->vfs, span_str(entry + 1), due_one, d, NULL);
	return !d->found;
}

bool
kept_due(struct vfs *v, int64_t before)
{
	struct due d = { .vfs = v, .before = before };

	(void)kept_each(v, SPAN("INBOX"), due_one, &d, NULL);
	(void)v->ops->list(v, "", due_entry, &d);
	if (!d.found)
		(void)kept_each_folder(v, due_one, &d, NULL);
	return d.found;
}
