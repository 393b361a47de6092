/* SPDX-License-Identifier: ISC */
#include "store/quota.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "mail/status.h"
#include "store/maildir.h"
#include "store/name.h"

enum { LINE_MAX_ = 64, READ_MAX = 64 * 1024 };

static int64_t
now_ms(void)
{
	struct timespec now = { .tv_sec = 0 };

	(void)clock_gettime(CLOCK_MONOTONIC, &now);
	return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

void
quota_init(struct quota_file *q, struct vfs *v)
{
	*q = (struct quota_file){ .vfs = v, .fd = -1 };
}

void
quota_close(struct quota_file *q)
{
	if (q->fd >= 0)
		(void)q->vfs->ops->close(q->vfs, q->fd);
	q->fd = -1;
	q->at = 0;
}

/* ---- reading ---- */

/* "1000S,500C" */
static bool
parse_limits(struct span line, struct quota *out)
{
	*out = (struct quota){ .size = 0 };
	while (line.n) {
		struct span item = span_trim(span_cut(&line, ','));
		uint64_t value;

		if (item.n < 2 || !span_u64(span_sub(item, 0, item.n - 1), UINT64_MAX, &value))
			return false;
		if (item.p[item.n - 1] == 'S')
			out->size = value;
		else if (item.p[item.n - 1] == 'C')
			out->messages = value;
		else
			return false;
	}
	return true;
}

static bool
parse_signed(struct span *rest, int64_t *out)
{
	struct span word = span_word(rest);
	bool minus = word.n && word.p[0] == '-';
	uint64_t value;

	if (!span_u64(span_from(word, minus), INT64_MAX / 2, &value))
		return false;
	*out = minus ? -(int64_t)value : (int64_t)value;
	return true;
}

/* Whole lines only: the last one may be half written yet. */
static bool
take_lines(struct quota_file *q, struct span text)
{
	size_t end = span_rchr(text, '\n');
	struct span rest = span_sub(text, 0, end == SIZE_MAX ? 0 : end + 1);
	uint64_t began = q->at;

	q->at += rest.n;
	while (rest.n) {
		struct span line = span_cut(&rest, '\n');
		int64_t size, messages;

		if (began == 0) {
			if (!parse_limits(line, &q->limit))
				return false;
			began = 1;
		} else if (parse_signed(&line, &size) && parse_signed(&line, &messages)) {
			if (__builtin_add_overflow(q->size, size, &q->size) || __builtin_add_overflow(q->messages, messages, &q->messages))
				return false;
		} else {
			return false;
		}
	}
	return q->at > 0;
}

static bool
read_more(struct quota_file *q, uint64_t size)
{
	char text[READ_MAX];

	if (size < q->at || size - q->at > sizeof(text))
		return false;
	if (size == q->at)
		return q->at > 0;
	return vfs_read_all(q->vfs, q->fd, text, (size_t)(size - q->at), q->at) && take_lines(q, span_of(text, (size_t)(size - q->at)));
}

static bool write_sums(struct quota_file *q, const struct quota *limit);

bool
quota_load(struct quota_file *q, const struct quota *limit)
{
	struct vfs_stat st;

	if (q->vfs->ops->stat(q->vfs, QUOTA_FILE, &st) < 0) {
		quota_close(q);
		return false;
	}
	if (q->fd < 0 || st.inode != q->inode || st.size < q->at) {
		quota_close(q);
		q->fd = q->vfs->ops->open(q->vfs, QUOTA_FILE, VFS_APPEND);
		q->inode = st.inode;
		q->size = q->messages = 0;
		q->limit = (struct quota){ .size = 0 };
	}
	if (q->fd < 0 || !read_more(q, st.size) || q->limit.size != limit->size || q->limit.messages != limit->messages) {
		quota_close(q);
		return false;
	}
	if (st.size > QUOTA_FILE_MAX)
		(void)write_sums(q, limit);
	return true;
}

/* ---- writing ---- */

/* One write, behind everything there: others append to the same file. */
static bool
append(struct quota_file *q, int64_t size, int64_t messages)
{
	char line[LINE_MAX_];
	int n = snprintf(line, sizeof(line), "%lld %lld\n", (long long)size, (long long)messages);

	return n > 0 && vfs_write_all(q->vfs, q->fd, line, (size_t)n, 0);
}

/* A new file that has the limits and the sums. */
static bool
write_sums(struct quota_file *q, const struct quota *limit)
{
	struct vfs *v = q->vfs;
	struct vfs_stat st;
	struct buf text;
	bool ok;
	int fd;

	buf_init(&text, (size_t)LINE_MAX_ * 4);
	if (limit->size)
		buf_printf(&text, "%lluS", (unsigned long long)limit->size);
	if (limit->messages)
		buf_printf(&text, "%s%lluC", limit->size ? "," : "", (unsigned long long)limit->messages);
	buf_printf(&text, "\n%lld %lld\n", (long long)q->size, (long long)q->messages);
	(void)v->ops->unlink(v, QUOTA_FILE ".new");
	fd = v->ops->open(v, QUOTA_FILE ".new", VFS_CREATE);
	ok = fd >= 0 && vfs_write_all(v, fd, buf_span(&text).p, buf_len(&text), 0) && v->ops->stat(v, QUOTA_FILE ".new", &st) == 0;
	if (fd >= 0)
		(void)v->ops->close(v, fd);
	ok = ok && v->ops->rename(v, QUOTA_FILE ".new", QUOTA_FILE) == 0;
	if (ok) {
		quota_close(q);
		q->fd = v->ops->open(v, QUOTA_FILE, VFS_APPEND);
		q->inode = st.inode;
		q->at = buf_len(&text);
		q->limit = *limit;
	}
	buf_free(&text);
	return ok;
}

void
quota_add(struct quota_file *q, int64_t size, int64_t messages)
{
	struct vfs_stat st;

	if (q->vfs->ops->stat(q->vfs, QUOTA_FILE, &st) < 0)
		return; /* without the file there is nothing to keep true */
	if (q->fd < 0 || st.inode != q->inode) {
		quota_close(q);
		q->fd = q->vfs->ops->open(q->vfs, QUOTA_FILE, VFS_APPEND);
		q->inode = st.inode;
		q->size = q->messages = 0;
	}
	if (q->fd >= 0) /* read back by quota_load(), as what others add */
		(void)append(q, size, messages);
}

void
quota_forget(struct vfs *v)
{
	(void)v->ops->unlink(v, QUOTA_FILE);
}

/* ---- counting ---- */

struct counter {
	struct quota_file *q;
	struct span folder; /* ".name" */
	const char *dir;    /* "cur", "new" */
};

static bool
each_file(void *arg, const char *file)
{
	struct counter *c = arg;
	struct maildir_name name;
	struct vfs_stat st = { .size = 0 };
	char path[MAILDIR_NAME_MAX * 2 + 8];
	uint64_t size;

	if (!maildir_name_parse(span_str(file), &name))
		return true;
	size = name.vsize != UINT64_MAX ? name.vsize : name.size;
	if (size == UINT64_MAX) {
		int n = snprintf(path, sizeof(path), "%.*s%s%s/%s", SPAN_ARG(c->folder), c->folder.n ? "/" : "", c->dir, file);

		if (n < 0 || (size_t)n >= sizeof(path) || c->q->vfs->ops->stat(c->q->vfs, path, &st) < 0)
			return true;
		size = st.size;
	}
	c->q->size += size < INT64_MAX / 4 ? (int64_t)size : 0;
	c->q->messages++;
	return true;
}

static void
count_folder(struct quota_file *q, const char *folder)
{
	static const char *const parts[] = { "new", "cur" };
	char path[MAILDIR_NAME_MAX + 8];

	for (size_t i = 0; i < 2; i++) {
		struct counter c = { q, span_str(folder), parts[i] };
		int n = snprintf(path, sizeof(path), "%s%s%s", folder, *folder ? "/" : "", parts[i]);

		if (n > 0 && (size_t)n < sizeof(path))
			(void)q->vfs->ops->list(q->vfs, path, each_file, &c);
	}
}

static bool
each_folder(void *arg, const char *entry)
{
	if (entry[0] == '.' && name_valid(span_str(entry + 1)))
		count_folder(arg, entry);
	return true;
}

bool
quota_count(struct quota_file *q, const struct quota *limit, struct fail *why)
{
	quota_close(q);
	q->size = q->messages = 0;
	count_folder(q, "");
	if (q->vfs->ops->list(q->vfs, "", each_folder, q) < 0)
		return fail_errno(why, STATUS_MAILBOX_TEMP, "the mailbox cannot be counted");
	q->counted_ms = now_ms();
	return !quota_limited(limit) || write_sums(q, limit) || fail_errno(why, STATUS_MAILBOX_TEMP, "cannot write %s", QUOTA_FILE);
}

/* ---- judging ---- */

struct quota
quota_used(const struct quota_file *q)
{
	return (struct quota){ q->size > 0 ? (uint64_t)q->size : 0, q->messages > 0 ? (uint64_t)q->messages : 0 };
}

/* used and more are within limit, without overflow. */
static bool
within(uint64_t used, uint64_t pending, uint64_t more, uint64_t limit)
{
	return !limit || (used <= limit && pending <= limit - used && more <= limit - used - pending);
}

bool
quota_fits(const struct quota_file *q, const struct quota *limit, uint64_t size, uint64_t messages, bool *again)
{
	struct quota used = quota_used(q);

	*again = false;
	if (within(used.size, q->pending.size, size, limit->size) && within(used.messages, q->pending.messages, messages, limit->messages))
		return true;
	*again = !q->counted_ms || now_ms() - q->counted_ms >= QUOTA_COUNT_AGAIN_MS;
	return false;
}

/* ---- words ---- */

static void
put_size(struct buf *out, uint64_t n)
{
	static const char units[] = "kMGT";
	uint64_t whole = n;
	unsigned tenth = 0, unit = 0;

	while (whole >= 1024 && unit < 4) {
		tenth = (unsigned)(whole % 1024 * 10 / 1024);
		whole /= 1024;
		unit++;
	}
	buf_printf(out, "%llu", (unsigned long long)whole);
	if (tenth)
		buf_printf(out, ".%u", tenth);
	if (unit)
		buf_printf(out, " %cB", units[unit - 1]);
	else
		buf_puts(out, " B");
}

void
quota_text(const struct quota *used, const struct quota *limit, struct buf *out)
{
	put_size(out, used->size);
	if (limit->size) {
		buf_puts(out, " of ");
		put_size(out, limit->size);
	}
	buf_printf(out, ", %llu", (unsigned long long)used->messages);
	if (limit->messages)
		buf_printf(out, " of %llu", (unsigned long long)limit->messages);
	buf_puts(out, " messages");
}

bool
quota_full(const struct quota_file *q, const struct quota *limit, struct fail *why)
{
	struct quota used = quota_used(q);
	struct buf text;

	buf_init(&text, 160);
	quota_text(&used, limit, &text);
	(void)fail_set(why, FAIL_LIMIT, STATUS_MAILBOX_FULL, "The quota is exceeded (%.*s used)", SPAN_ARG(buf_span(&text)));
	buf_free(&text);
	return false;
}
