/* SPDX-License-Identifier: ISC
 *
 * import: exported messages into the journal of a stopped queue, by the
 * queue's own code.  An id that the journal knows is never taken again.
 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "base/queueid.h"
#include "tools/spoolcheck/spoolcheck.h"

enum { INLINE_MAX = 256 * 1024, BATCH = 256, CHUNK = 65536 };

struct importing {
	struct spoolcheck *c;
	struct journal *journal;
	struct queue *queue;
	struct export_dir from;
	struct buf text, room;
	unsigned waiting; /* not durable yet */
	uint64_t failed;
	bool trouble;
};

static void
say(uint64_t id, const char *text)
{
	char name[QUEUEID_TEXT + 1];

	(void)fprintf(stderr, "spoolcheck: %s: %s\n", queueid_text(id, name).p, text);
}

static void
on_event(void *arg, const struct fail *what)
{
	(void)arg;
	(void)spoolcheck_fail(NULL, what);
}

static int64_t
now_ms(void *arg)
{
	(void)arg;
	return (int64_t)time(NULL) * 1000;
}

static void
no_wake(void *arg, int64_t at_ms)
{
	(void)arg, (void)at_ms;
}

static bool
open_queue(struct importing *k, struct fail *why)
{
	static const struct queue_params p = { .initial_concurrency = 1, .concurrency_limit = 1, .local_concurrency_limit = 1 };
	const struct queue_ports ports = { .now_ms = now_ms, .wake = no_wake };
	struct journal_options o = { .vfs = k->c->spool.vfs, .dir = "journal", .kind = "queu", .on_event = on_event };

	if (k->c->spool.vfs->ops->mkdir(k->c->spool.vfs, "blob") < 0)
		return fail_errno(why, 0, "cannot make %s/blob", k->c->dir);
	k->journal = journal_open(&o, why);
	k->queue = k->journal ? queue_new(k->journal, k->c->spool.vfs, &p, &ports) : NULL;
	return k->queue && queue_inspect(k->queue, NULL, why);
}

/* True: this message is, or was, here. */
static bool
known(struct importing *k, const struct export_message *x)
{
	const struct spool_item *i = spool_find(&k->c->spool, x->envelope.id);
	struct record_envelope e;

	if (!i && spool_has_left(&k->c->spool, x->envelope.id)) {
		say(x->envelope.id, "was in this queue and has left it: not imported again");
	} else if (i && (!desc_decode_older(&record_desc_envelope, i->head, &e, NULL) || e.size != x->envelope.size ||
	                    !span_eq(e.sender, x->envelope.sender) || !span_eq(e.message_id, x->envelope.message_id))) {
		say(x->envelope.id, "another message has this id: not imported");
		k->failed++;
		return true;
	} else if (i) {
		say(x->envelope.id, "is in this queue already");
	} else {
		return false;
	}
	k->c->twice++;
	return true;
}

static void
on_done(void *arg, uint64_t id, const struct fail *why)
{
	struct importing *k = arg;
	struct fail mark;

	k->waiting--;
	if (why) {
		say(id, why->text);
		k->trouble = true;
		return;
	}
	k->c->messages++;
	if (!export_imported(&k->from, id, &mark))
		say(id, mark.text);
}

static bool
read_inline(struct importing *k, int fd, uint64_t size, struct content *into, struct fail *why)
{
	char *p = buf_room(&into->bytes, (size_t)size);

	if (size && (!p || !vfs_read_all(k->from.vfs, fd, p, (size_t)size, 0)))
		return fail_errno(why, 0, "cannot read its content");
	buf_added(&into->bytes, (size_t)size);
	return true;
}

static bool
copy_blob(struct importing *k, int fd, uint64_t id, uint64_t size, struct fail *why)
{
	char name[40], temp[48], bytes[CHUNK];
	struct blob b;
	bool ok = true;

	queue_blob_name(id, name);
	(void)snprintf(temp, sizeof(temp), "%s.new", name);
	(void)k->c->spool.vfs->ops->unlink(k->c->spool.vfs, temp);
	if (!blob_create(&b, k->c->spool.vfs, temp, name, why))
		return false;
	for (uint64_t at = 0; ok && at < size; at += CHUNK) {
		size_t n = size - at < CHUNK ? (size_t)(size - at) : CHUNK;

		ok = vfs_read_all(k->from.vfs, fd, bytes, n, at) || fail_errno(why, 0, "cannot read its content");
		ok = ok && blob_write(&b, span_of(bytes, n));
	}
	if (ok)
		return blob_commit_now(&b, why);
	if (b.why.class != FAIL_NONE)
		*why = b.why;
	blob_abandon(&b);
	return false;
}

static bool
insert(struct importing *k, struct export_message *x, int fd, struct fail *why)
{
	uint64_t size = x->envelope.size;
	struct content *content = NULL;

	x->envelope.blob = size > INLINE_MAX;
	if (x->envelope.blob) {
		if (!copy_blob(k, fd, x->envelope.id, size, why))
			return false;
	} else {
		content = content_new(INLINE_MAX);
		if (!content)
			return fail_set(why, FAIL_TEMP, 0, "no memory");
		if (!read_inline(k, fd, size, content, why)) {
			content_free(content);
			return false;
		}
	}
	if (!export_insert(k->queue, x, content, on_done, k, why))
		return false;
	k->waiting++;
	return true;
}

static void
commit(struct importing *k)
{
	struct fail why;

	if (!journal_sync(k->journal, &why)) {
		(void)spoolcheck_fail(NULL, &why);
		k->trouble = true;
	}
}

static bool
import_one(void *arg, uint64_t id, bool imported)
{
	struct importing *k = arg;
	struct export_message x;
	struct fail why;
	int fd = -1;
	bool ok;

	if (!spoolcheck_wanted(k->c, id))
		return true;
	if (imported) {
		k->c->twice++;
		say(id, "was imported before");
		return true;
	}
	buf_reset(&k->text);
	buf_reset(&k->room);
	ok = export_read(&k->from, id, &k->text, &k->room, &x, &fd, &why);
	if (ok && !known(k, &x)) {
		if (k->c->dry_run)
			k->c->messages++;
		else
			ok = insert(k, &x, fd, &why);
		k->c->bytes += ok ? x.envelope.size : 0;
	}
	if (fd >= 0)
		(void)k->from.vfs->ops->close(k->from.vfs, fd);
	if (!ok) {
		say(id, why.text);
		k->failed++;
	}
	if (k->waiting >= BATCH)
		commit(k);
	return !k->trouble;
}

struct owner {
	int dir;
	uid_t uid;
	gid_t gid;
	bool ok;
};

static bool
give_file(void *arg, const char *name)
{
	struct owner *o = arg;

	o->ok &= fchownat(o->dir, name, o->uid, o->gid, AT_SYMLINK_NOFOLLOW) == 0;
	return true;
}

/* What root has made here belongs to the queue's owner. */
static bool
give_to_owner(struct spoolcheck *c)
{
	static const char *const dirs[] = { "journal", "blob" };
	struct stat st;
	char path[1200];

	if (geteuid() != 0 || stat(c->dir, &st) < 0)
		return true;
	for (size_t i = 0; i < sizeof(dirs) / sizeof(*dirs); i++) {
		struct owner o = { .uid = st.st_uid, .gid = st.st_gid, .ok = true };

		(void)snprintf(path, sizeof(path), "%s/%s", c->dir, dirs[i]);
		o.dir = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
		o.ok = o.dir >= 0 && fchown(o.dir, o.uid, o.gid) == 0 && c->spool.vfs->ops->list(c->spool.vfs, dirs[i], give_file, &o) >= 0 && o.ok;
		if (o.dir >= 0)
			(void)close(o.dir);
		if (!o.ok) {
			(void)fprintf(stderr, "spoolcheck: cannot give %s to its owner: %s\n", path, strerror(errno));
			return false;
		}
	}
	return true;
}

static int
import_all(struct importing *k)
{
	struct spoolcheck *c = k->c;
	struct fail why;

	if (!export_open(&k->from, c->args[0], EXPORT_EML, false, &why))
		return spoolcheck_fail(NULL, &why);
	if (!c->dry_run && !open_queue(k, &why))
		return spoolcheck_fail(c->dir, &why);
	if (!export_each(&k->from, import_one, k, &why)) {
		(void)spoolcheck_fail(c->args[0], &why);
		k->trouble = true;
	}
	if (k->journal) {
		commit(k);
		if (!export_sync(&k->from, &why)) /* no harm: the journal knows them as well */
			(void)spoolcheck_fail(c->args[0], &why);
	}
	(void)printf("%" PRIu64 " messages %s, %" PRIu64 " bytes; %" PRIu64 " duplicates; %" PRIu64 " not usable\n", c->messages,
	    c->dry_run ? "would be imported" : "imported", c->bytes, c->twice, k->failed);
	return k->trouble ? EXIT_TROUBLE : k->failed ? EXIT_DAMAGED : EXIT_GOOD;
}

/* Nothing was ever queued here. */
static bool
is_new(const struct spoolcheck *c)
{
	struct vfs_stat st;

	return c->spool.vfs->ops->stat(c->spool.vfs, "journal", &st) < 0 && errno == ENOENT;
}

/* As root, who owns the files made here shows from the directory. */
static bool
has_owner(const struct spoolcheck *c)
{
	struct stat st;

	return geteuid() != 0 || (stat(c->dir, &st) == 0 && st.st_uid != 0);
}

int
spoolcheck_import(struct spoolcheck *c)
{
	struct importing k = { .c = c };
	struct fail why;
	int status;

	if (!c->dry_run && !has_owner(c)) {
		(void)fail_set(&why, FAIL_PERM, 0, "belongs to root: start the suite once, which gives it to its owner");
		return spoolcheck_fail(c->dir, &why);
	}
	if (!c->dry_run && !vfs_posix_lock(c->spool.vfs, &why))
		return spoolcheck_fail(c->dir, &why);
	if (!c->dry_run && c->spool.vfs->ops->mkdir(c->spool.vfs, "journal") < 0) {
		(void)fail_errno(&why, 0, "cannot make %s/journal", c->dir);
		return spoolcheck_fail(NULL, &why);
	}
	if (!is_new(c) && !spoolcheck_load(c))
		return EXIT_TROUBLE;
	buf_init(&k.text, EXPORT_TEXT_MAX);
	buf_init(&k.room, EXPORT_TEXT_MAX);
	status = import_all(&k);
	queue_free(&k.queue);
	journal_close(&k.journal);
	if (k.from.vfs)
		export_close(&k.from);
	buf_free(&k.text);
	buf_free(&k.room);
	return c->dry_run || give_to_owner(c) ? status : EXIT_TROUBLE;
}
