/* SPDX-License-Identifier: ISC
 *
 * mailbox export, import, move: whole folders, with all that is known of them.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "store/kept.h"
#include "store/metadata.h"
#include "store/name.h"
#include "store/quota.h"
#include "store/uidlist.h"
#include "sys/loop.h"
#include "sys/priv.h"
#include "sys/worker.h"
#include "tools/mailctl/mailbox_copy.h"

/* ---- telling ---- */

void
copy_progress(void *arg, uint64_t messages)
{
	struct copy_job *j = arg;

	if (messages % 64 || j->m->quiet || !term_progress_due(&j->progress))
		return;
	(void)fprintf(stderr, "\r%.*s: %llu messages, %llu in all\033[K", SPAN_ARG(j->folder), (unsigned long long)messages,
	    (unsigned long long)j->messages + messages);
}

void
copy_say(struct copy_job *j, const char *what)
{
	term_progress_end(&j->progress);
	if (j->m->json)
		(void)printf("{\"folder\":\"");
	else if (j->m->quiet)
		return;
	mailbox_print_name(j->folder, j->m->json);
	if (j->m->json)
		(void)printf("\",\"action\":\"%s\",\"messages\":%llu,\"size\":%llu,\"missing\":%llu}\n", what, (unsigned long long)j->t.messages,
		    (unsigned long long)j->t.size, (unsigned long long)j->t.missing);
	else if (j->t.missing)
		(void)printf(": %s, %llu messages, %llu without a file\n", what, (unsigned long long)j->t.messages, (unsigned long long)j->t.missing);
	else
		(void)printf(": %s, %llu messages\n", what, (unsigned long long)j->t.messages);
}

bool
copy_problem(struct copy_job *j, const char *text)
{
	term_progress_end(&j->progress);
	j->status = mailctl_fail(EX_FAILED, "%.*s: %s", SPAN_ARG(j->folder), text);
	return true; /* the others are gone on with */
}

void
copy_add_up(struct copy_job *j)
{
	j->folders++;
	j->messages += j->t.messages;
	j->missing += j->t.missing;
	j->size += j->t.size;
}

/* ---- export ---- */

/* A new directory, or an empty one; -1 and *why. */
static int
make_target(const char *path, int base, struct fail *why)
{
	struct stat st;
	int fd;
	DIR *d;
	unsigned n = 0;

	if (mkdir(path, 0700) < 0 && errno != EEXIST)
		return (void)fail_errno(why, 0, "%s", path), -1;
	fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
	if (fd < 0)
		return (void)fail_errno(why, 0, "%s", path), -1;
	d = fdopendir(fcntl(fd, F_DUPFD_CLOEXEC, 3));
	while (d && readdir(d))
		n++;
	if (d)
		(void)closedir(d);
	if (n != 2)
		(void)fail_set(why, FAIL_PERM, 0, "%s is not empty", path);
	else if (geteuid() == 0 && (fstat(base, &st) < 0 || fchown(fd, st.st_uid, st.st_gid) < 0)) /* it is written as the owner */
		(void)fail_errno(why, 0, "%s", path);
	else
		return fd;
	(void)close(fd);
	return -1;
}

static bool
export_one(void *arg, struct span name)
{
	struct copy_job *j = arg;
	struct fail why = { .text = "" };
	char dir[STORE_NAME_MAX + 2];

	j->folder = name;
	(void)snprintf(dir, sizeof(dir), "%s%.*s", span_eq(name, SPAN("INBOX")) ? "" : ".", span_eq(name, SPAN("INBOX")) ? 0 : (int)name.n, name.p);
	if (!transfer_folder(&j->t, name, dir, &why))
		return copy_problem(j, why.text);
	copy_add_up(j);
	copy_say(j, "exported");
	return true;
}

static void
finish(struct copy_job *j)
{
	term_progress_end(&j->progress);
	if (!j->m->json && !j->m->quiet)
		(void)printf("%llu folders, %llu messages, %llu octets\n", (unsigned long long)j->folders, (unsigned long long)j->messages,
		    (unsigned long long)j->size);
}

static bool
copy_account_files(struct copy_job *j, struct fail *why)
{
	return transfer_file(&j->t, "subscriptions", why) && transfer_file(&j->t, METADATA_FILE, why);
}

int
mailbox_cmd_export(struct mailctl *m)
{
	struct copy_job j = { .m = m, .t = { .from = -1, .to = -1, .on_progress = copy_progress } };
	struct fail why = { .text = "" };
	bool ok;

	j.t.arg = &j;
	term_progress_begin(&j.progress);
	if (m->nargs < 1 || !strchr(m->args[0], '@') || !m->to)
		return mailctl_usage(m);
	ok = (j.t.from = mailbox_open_base(m, m->args[0], &why)) >= 0 && (j.t.to = make_target(m->to, j.t.from, &why)) >= 0 &&
	    mailbox_become_owner(j.t.from, &why);
	if (ok && m->nargs > 1)
		ok = mailbox_each_named(m, export_one, &j, &why);
	else if (ok)
		ok = look_folders(j.t.from, export_one, &j, &why) && copy_account_files(&j, &why);
	if (ok)
		finish(&j);
	if (j.t.from >= 0)
		(void)close(j.t.from);
	if (j.t.to >= 0)
		(void)close(j.t.to);
	return ok ? j.status : mailctl_failed(&why);
}

/* ---- import ---- */

/* For a user who had no mail yet; as the owner, who this process is from then on. */
static int
make_home(struct mailctl *m, struct fail *why)
{
	char part[B_PATH];
	struct priv_identity owner = { .uid = m->owner_uid, .gid = m->owner_gid };
	struct stat st;
	int fd;

	if (geteuid() == 0 && !owner.uid) {
		if (stat(m->conf->virtual_mailbox_base.p, &st) < 0 || st.st_uid == 0)
			return (void)fail_set(why, FAIL_PERM, 0, "%s has no owner who could have mail", m->conf->virtual_mailbox_base.p), -1;
		owner.uid = st.st_uid;
		owner.gid = st.st_gid;
	}
	if (geteuid() == 0 && !priv_become(&owner, why))
		return -1;
	for (size_t i = 1; m->home[i - 1]; i++)
		if ((m->home[i] == '/' || !m->home[i]) && span_cstr(span_of(m->home, i), part, sizeof(part)))
			(void)mkdir(part, 0700); /* what matters is whether the last one opens */
	fd = open(m->home, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
	if (fd < 0)
		(void)fail_errno(why, 0, "%s", m->home);
	return fd;
}

/* -1 without *why: there is none, and none is made in a dry run. */
static int
open_or_make(struct mailctl *m, const char *user, struct fail *why)
{
	int fd = mailbox_open(m, user, why);

	if (fd >= 0 || why->err != ENOENT || !m->home[0])
		return fd;
	*why = (struct fail){ .text = "" };
	return m->dry_run ? -1 : make_home(m, why);
}

/* By our index, or by Dovecot's list that our first session goes by; 0: by neither. */
static uint32_t
validity_of(int base, struct span folder, const struct look *l)
{
	char name[STORE_NAME_MAX + 24];
	struct uidlist list = { .uidvalidity = 0 };
	struct fail why;
	struct vfs *v;
	struct buf text;

	if (l->state == LOOK_GOOD)
		return l->status.uidvalidity;
	if (!(v = maildir_vfs(base, "", &why)))
		return 0;
	(void)snprintf(name, sizeof(name), ".%.*s/dovecot-uidlist", SPAN_ARG(folder));
	buf_init(&text, UIDLIST_FILE_MAX);
	if (!vfs_load(v, span_eq(folder, SPAN("INBOX")) ? "dovecot-uidlist" : name, &text) || !uidlist_open(&list, buf_span(&text)))
		list.uidvalidity = 0;
	buf_free(&text);
	vfs_posix_free(&v);
	return list.uidvalidity;
}

static uint64_t
messages_of(const struct look *l)
{
	return l->state == LOOK_GOOD ? l->status.messages : l->files;
}

bool
copy_wanted(struct copy_job *j, uint32_t uidvalidity, uint64_t messages)
{
	struct look to = { .state = LOOK_NEW };
	struct fail why = { .text = "" };
	char dir[STORE_NAME_MAX + 2];
	struct vfs *v = j->t.to < 0 ? NULL : maildir_vfs(j->t.to, "", &why);
	bool there = false;

	(void)snprintf(dir, sizeof(dir), ".%.*s", SPAN_ARG(j->folder));
	if (v) {
		there = maildir_exists(v, span_eq(j->folder, SPAN("INBOX")) ? "" : dir);
		vfs_posix_free(&v);
	}
	if (there && !look_folder(j->t.to, j->folder, true, &to, &why))
		return !copy_problem(j, why.text);
	if (!there || (to.files == 0 && to.status.messages == 0))
		return true;
	if (uidvalidity && validity_of(j->t.to, j->folder, &to) == uidvalidity && messages_of(&to) >= messages) {
		copy_say(j, "is there already");
		return false;
	}
	return !copy_problem(j, "there are messages in it already: give that folder another name first (mailctl mailbox move)");
}

static bool
wanted(struct copy_job *j)
{
	struct fail why = { .text = "" };
	struct look from;

	if (!look_folder(j->t.from, j->folder, true, &from, &why))
		return !copy_problem(j, why.text);
	j->t.messages = from.files;
	j->t.missing = from.missing;
	j->t.size = from.status.size;
	return copy_wanted(j, validity_of(j->t.from, j->folder, &from), messages_of(&from));
}

bool
copy_clean(struct copy_job *j, struct fail *why)
{
	struct vfs *v = maildir_vfs(j->t.to, "", why);

	if (!v)
		return false;
	kept_remove_tree(v, COPY_ARRIVING, 0);
	vfs_posix_free(&v);
	return true;
}

static bool
import_one(void *arg, struct span name)
{
	struct copy_job *j = arg;
	struct fail why = { .text = "" };

	j->folder = name;
	if (!wanted(j))
		return true;
	if (j->m->dry_run) {
		copy_add_up(j);
		copy_say(j, "would be imported");
		return true;
	}
	if (!copy_clean(j, &why) || !transfer_folder(&j->t, name, COPY_ARRIVING, &why) || !transfer_adopt(&j->t, COPY_ARRIVING, name, &why))
		return copy_problem(j, why.text);
	copy_add_up(j);
	copy_say(j, "imported");
	return true;
}

struct subscribing {
	struct store *store;
	bool ok;
	struct fail *why;
};

static void
subscribe(void *arg, struct span name)
{
	struct subscribing *s = arg;

	s->ok = s->ok && store_subscribe(s->store, name, true, s->why);
}

/* What the import brings is added to what the user has. */
static bool
with_store(struct copy_job *j, bool (*act)(struct copy_job *, struct subscribing *), struct fail *why)
{
	struct loop *loop = loop_new();
	struct worker_pool *pool = loop ? worker_pool_new(loop, 1) : NULL;
	struct store_config config = { .loop = loop, .pool = pool, .base = fcntl(j->t.to, F_DUPFD_CLOEXEC, 3), .host = j->m->conf->myhostname, .locked = true };
	struct subscribing s = { .store = pool && config.base >= 0 ? store_new(&config, why) : NULL, .ok = true, .why = why };
	bool ok = s.store && act(j, &s) && s.ok;

	store_free(&s.store);
	if (pool)
		worker_pool_free(&pool);
	if (loop)
		loop_free(&loop);
	return ok;
}

static bool
take_account_files(struct copy_job *j, struct subscribing *s)
{
	struct vfs *v = maildir_vfs(j->t.from, "", s->why);
	bool ok = v && subscriptions_each(v, subscribe, s, s->why);

	if (v)
		vfs_posix_free(&v);
	return ok && transfer_file(&j->t, METADATA_FILE, s->why);
}

static bool
take_imap(struct copy_job *j, struct subscribing *s)
{
	return copy_from_imap(j, subscribe, s, s->why);
}

static bool
import_folders(struct copy_job *j, struct fail *why)
{
	struct mailctl *m = j->m;

	if (m->imap)
		return m->dry_run ? copy_from_imap(j, NULL, NULL, why) : with_store(j, take_imap, why);
	m->args++; /* folders stand behind the directory */
	m->nargs--;
	if (m->nargs > 1)
		return mailbox_each_named(m, import_one, j, why);
	return look_folders(j->t.from, import_one, j, why) && (m->dry_run || with_store(j, take_account_files, why));
}

static bool
import_all(struct copy_job *j, struct fail *why)
{
	struct vfs *v;
	bool ok;

	if (j->m->dry_run)
		return import_folders(j, why);
	if (!(v = maildir_vfs(j->t.to, "", why)))
		return false;
	ok = maildir_make(v, "", why) && /* a new home */
	    import_folders(j, why);
	quota_forget(v); /* counted anew when it is asked next */
	vfs_posix_free(&v);
	return ok;
}

int
mailbox_cmd_import(struct mailctl *m)
{
	struct copy_job j = { .m = m, .t = { .from = -1, .to = -1, .on_progress = copy_progress } };
	struct fail why = { .text = "" };
	bool ok;

	j.t.arg = &j;
	term_progress_begin(&j.progress);
	if (m->nargs < (m->imap ? 1 : 2) || (m->imap && (m->nargs > 1 || !m->login)) || !strchr(m->args[0], '@'))
		return mailctl_usage(m);
	if (!m->imap)
		j.t.from = open(m->args[1], O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	ok = m->imap || j.t.from >= 0 || fail_errno(&why, 0, "%s", m->args[1]);
	if (ok)
		j.t.to = open_or_make(m, m->args[0], &why);
	ok = ok && (j.t.to >= 0 ? look_lock(j.t.to, &why) : !why.text[0]) && import_all(&j, &why);
	if (ok)
		finish(&j);
	if (j.t.from >= 0)
		(void)close(j.t.from);
	if (j.t.to >= 0)
		(void)close(j.t.to);
	if (!ok && why.err == EACCES)
		return mailctl_fail(EX_FAILED, "%s (files are read as the mailbox's owner, uid %u)", why.text, (unsigned)geteuid());
	return ok ? j.status : mailctl_failed(&why);
}

/* ---- move ---- */

/* Nothing that a user would miss. */
static bool
count_files(void *arg, struct span name)
{
	struct copy_job *j = arg;
	struct look l;
	struct fail why;

	if (!look_folder(j->t.to, name, true, &l, &why))
		return copy_problem(j, why.text);
	j->messages += l.files + l.status.messages;
	return true;
}

static bool
sync_parent(const char *path, struct fail *why)
{
	char parent[B_PATH];
	struct vfs *v;
	bool ok;

	(void)snprintf(parent, sizeof(parent), "%s", path);
	*strrchr(parent, '/') = '\0';
	if (!(v = vfs_posix_new(parent, why)))
		return false;
	ok = v->ops->sync_dir(v, "") == 0 || fail_errno(why, 0, "%s", parent);
	vfs_posix_free(&v);
	return ok;
}

/* The two directories change places, at once and for good; or the second gets the name of none. */
static bool
exchange(const char *from, const char *to, bool both, struct fail *why)
{
	if (syscall(SYS_renameat2, AT_FDCWD, from, AT_FDCWD, to, both ? RENAME_EXCHANGE : RENAME_NOREPLACE) < 0)
		return fail_errno(why, 0, "%s cannot become %s (on different file systems: export and import)", from, to);
	return sync_parent(from, why) && sync_parent(to, why);
}

/* That both belong to one owner, who this process is from then on; that nobody uses them; that no mail is in the second. */
static bool
may_move(struct copy_job *j, const char *to, struct fail *why)
{
	struct stat a, b;
	bool both = j->t.to >= 0;

	if (fstat(j->t.from, &a) < 0 || (both && fstat(j->t.to, &b) < 0))
		return fail_errno(why, 0, "the mailboxes");
	if (both && a.st_ino == b.st_ino && a.st_dev == b.st_dev)
		return fail_set(why, FAIL_PERM, 0, "that is the same mailbox");
	if (both && a.st_uid != b.st_uid)
		return fail_set(why, FAIL_PERM, 0, "the mailboxes belong to different system users: export and import");
	if (!mailbox_become_owner(j->t.from, why) || !look_lock(j->t.from, why))
		return false;
	if (both && (!look_lock(j->t.to, why) || !look_folders(j->t.to, count_files, j, why) || j->status))
		return false;
	return !j->messages || fail_set(why, FAIL_PERM, 0, "%s has mail", to);
}

static bool
move_account(struct copy_job *j, const char *from, const char *to, struct fail *why)
{
	struct mailctl *m = j->m;
	char from_home[B_PATH];

	if ((j->t.from = mailbox_open_base(m, from, why)) < 0)
		return false;
	(void)snprintf(from_home, sizeof(from_home), "%s", m->home);
	if ((j->t.to = mailbox_open_base(m, to, why)) < 0 && why->err != ENOENT)
		return false;
	if (!may_move(j, to, why))
		return false;
	if (!m->dry_run && !exchange(from_home, m->home, j->t.to >= 0, why))
		return false;
	(void)printf("the mail of %s %s that of %s\n", from, m->dry_run ? "would become" : "is now", to);
	return true;
}

static bool
rename_folder(struct copy_job *j, struct span from, struct span to, struct fail *why)
{
	struct loop *loop = loop_new();
	struct worker_pool *pool = loop ? worker_pool_new(loop, 1) : NULL;
	struct store_config config = { .loop = loop, .pool = pool, .base = fcntl(j->t.to, F_DUPFD_CLOEXEC, 3), .host = j->m->conf->myhostname, .locked = true };
	struct store *store = pool && config.base >= 0 ? store_new(&config, why) : NULL;
	bool ok = store && (j->m->dry_run ? store_may_rename : store_rename)(store, from, to, why);

	store_free(&store);
	if (pool)
		worker_pool_free(&pool);
	if (loop)
		loop_free(&loop);
	return ok;
}

static bool
move_folder(struct copy_job *j, struct fail *why)
{
	struct mailctl *m = j->m;
	struct buf from, to;
	bool ok;

	buf_init(&from, (size_t)STORE_NAME_MAX * 2);
	buf_init(&to, (size_t)STORE_NAME_MAX * 2);
	ok = (name_from_utf8(span_str(m->args[1]), &from) && name_from_utf8(span_str(m->args[2]), &to)) ||
	    fail_set(why, FAIL_PERM, 0, "not a folder's name");
	ok = ok && (j->t.to = mailbox_open(m, m->args[0], why)) >= 0 && look_lock(j->t.to, why) &&
	    rename_folder(j, buf_span(&from), buf_span(&to), why);
	if (ok)
		(void)printf("%s %s %s\n", m->args[1], m->dry_run ? "would become" : "is now", m->args[2]);
	buf_free(&from);
	buf_free(&to);
	return ok;
}

int
mailbox_cmd_move(struct mailctl *m)
{
	struct copy_job j = { .m = m, .t = { .from = -1, .to = -1 } };
	struct fail why = { .text = "" };
	bool ok;

	if (m->nargs == 2 && strchr(m->args[0], '@') && strchr(m->args[1], '@'))
		ok = move_account(&j, m->args[0], m->args[1], &why);
	else if (m->nargs == 3 && strchr(m->args[0], '@'))
		ok = move_folder(&j, &why);
	else
		return mailctl_usage(m);
	if (j.t.from >= 0)
		(void)close(j.t.from);
	if (j.t.to >= 0)
		(void)close(j.t.to);
	return ok ? 0 : j.status ? j.status : mailctl_failed(&why);
}
