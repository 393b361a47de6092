/* SPDX-License-Identifier: ISC */
#include <dirent.h>
#include <errno.h>
#include <string.h>

#include "store/stock.h"
#include "tests/unit/stock_fixture.h"

const struct vfs_ops *real;
static struct vfs_ops ours;
unsigned cur_syncs, tmp_syncs;
bool no_links;
const char *failing; /* "file", "rename", "cur", "tmp", "index"; NULL: nothing */

static bool
fails(const char *what)
{
	errno = EIO;
	return failing && strcmp(failing, what) == 0;
}

static int
on_sync(struct vfs *v, int fd)
{
	char link[64], path[300];
	ssize_t n;

	(void)snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
	n = readlink(link, path, sizeof(path) - 1);
	assert_true(n > 0);
	path[n] = '\0';
	return fails(strstr(path, "/pillarpost/") ? "index" : "file") ? -1 : real->sync(v, fd);
}

static int
on_sync_dir(struct vfs *v, const char *dir)
{
	cur_syncs += strcmp(dir, "cur") == 0;
	tmp_syncs += strcmp(dir, "tmp") == 0;
	return fails(dir) ? -1 : real->sync_dir(v, dir);
}

static int
on_rename(struct vfs *v, const char *from, const char *to)
{
	return fails("rename") ? -1 : real->rename(v, from, to);
}

static int
on_link(struct vfs *v, const char *from, const char *to)
{
	return no_links || fails("rename") ? -1 : real->link(v, from, to);
}

void
enter(struct fixture *f, struct view *v)
{
	struct fail why = { .text = "" };

	*v = (struct view){ .owner = NULL };
	if (!view_open(v, f->store, SPAN("INBOX"), false, &why))
		fail_msg("%s", why.text);
	if (v->mailbox->vfs->ops != &ours)
		real = v->mailbox->vfs->ops;
	ours = *real;
	ours.sync = on_sync;
	ours.sync_dir = on_sync_dir;
	ours.rename = on_rename;
	ours.link = on_link;
	v->mailbox->vfs->ops = &ours;
	cur_syncs = tmp_syncs = 0;
	failing = NULL;
	no_links = false;
	worker_pool_alone(f->pool, true); /* what lies ready is ready at once */
}

unsigned
count_files(const char *base, const char *dir)
{
	char path[400];
	struct dirent *e;
	unsigned n = 0;
	DIR *d;

	(void)snprintf(path, sizeof(path), "%s/%s", base, dir);
	assert_non_null(d = opendir(path));
	while ((e = readdir(d)))
		n += e->d_name[0] != '.';
	(void)closedir(d);
	return n;
}

void
on_done(struct mailbox_op *op)
{
	struct wait_op *w = OWNER_OF(op, struct wait_op, op);

	w->done = true;
	w->ok = op->ok;
	w->uid = op->ok ? uidset_nth(&op->to, 0) : 0;
}

struct append *
begin_text(struct fixture *f, unsigned number)
{
	struct append *a = append_begin(f->store, &(struct append_to){ .folder = SPAN("INBOX") }, NULL);
	char text[64];

	assert_non_null(a);
	assert_true(append_write(a, span_of(text, (size_t)snprintf(text, sizeof(text), "Number: %u\r\n\r\n", number)), NULL));
	return a;
}

uint32_t
append_many(struct fixture *f, unsigned number, size_t n)
{
	struct wait_op w = { .op.on_done = on_done };
	struct append *all[4];

	for (size_t i = 0; i < n; i++)
		all[i] = begin_text(f, number + (unsigned)i);
	append_commit(all, n, &w.op);
	for (int i = 0; i < 1000 && !w.done; i++)
		(void)loop_turn(f->loop, 10);
	assert_true(w.done);
	return w.uid;
}

uint32_t
append(struct fixture *f, unsigned number)
{
	return append_many(f, number, 1);
}

void
until_settled(struct fixture *f, const struct mailbox *mb)
{
	for (int i = 0; i < 1000 && mb->stock; i++)
		(void)loop_turn(f->loop, 10);
	assert_null(mb->stock);
}

void
has_numbers(struct fixture *f, uint32_t last, uint32_t but)
{
	struct view v = { .owner = NULL };
	struct content c;
	struct fail why;

	assert_true(view_open(&v, f->store, SPAN("INBOX"), false, &why));
	assert_int_equal(view_count(&v), last - (but ? 1 : 0));
	for (uint32_t uid = 1; uid <= last; uid++) {
		char text[64] = "", want[64];

		if (uid == but)
			continue;
		(void)snprintf(want, sizeof(want), "Number: %u\r\n\r\n", (unsigned)uid);
		assert_true(mailbox_content(v.mailbox, uid, &c, &why));
		assert_int_equal(pread(c.fd, text, sizeof(text) - 1, 0), strlen(want));
		assert_string_equal(text, want);
		content_close(&c);
	}
	view_close(&v);
}
