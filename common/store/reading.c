/* SPDX-License-Identifier: ISC */
#include "store/reading.h"

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>

#include "store/state.h"

enum {
	OUT_MAX = 32 << 20,
	ARENA_MAX = 64 << 20,
	AHEAD = 32,      /* files that a thread has the disk asked for at once */
	PAGE_BLOCKS = 8, /* of 512 octets */
};

struct read_file {
	char path[MAILDIR_NAME_MAX + 5];
	char *source;        /* owned; NULL, or where it is below the base if it is not there yet */
	uint64_t size, bare; /* of the file; LF without CR in it */
	int64_t mtime;
	size_t at, n; /* what was said */
	int fd;       /* opened ahead; -1: not so */
	bool sized;          /* all its lines end with CRLF, if its size is that of the index */
	bool known;          /* so, and its date is there, too: reading tells whether it is still that */
	bool read, ok;
};

struct reading_batch {
	struct work work;
	struct reading *owner;
	struct vfs *vfs, *base;
	struct reading_use use;
	uint32_t lo, hi;
	bool cold; /* that the files are on the disk only is expected; then: was seen */
	size_t n;
	struct read_message told[READING_BATCH];
	struct read_file files[READING_BATCH];
	struct buf out;
};

/* ---- on a thread ---- */

static uint64_t
count_bare(struct span s)
{
	size_t bare;

	(void)span_lines(s, &bare);
	return bare;
}

/* Each LF that has no CR gets one; to has room for them. */
static void
complete_lines(struct span s, char *to)
{
	for (size_t i = 0; i < s.n; i++) {
		if (s.p[i] == '\n' && (i == 0 || s.p[i - 1] != '\r'))
			*to++ = '\r';
		*to++ = s.p[i];
	}
}

static int
open_file(const struct reading_batch *b, const struct read_file *f)
{
	int fd = b->vfs->ops->open(b->vfs, f->path, VFS_READ);

	if (fd < 0 && f->source && (fd = b->base->ops->open(b->base, f->source, VFS_READ)) < 0)
		fd = b->vfs->ops->open(b->vfs, f->path, VFS_READ); /* it came, and the other went */
	return fd;
}

/* By one call that finds the end where it should be. */
static bool
load_known(const struct reading_batch *b, const struct read_file *f, int fd, struct buf *mem)
{
	char *room = f->known ? buf_room(mem, (size_t)f->size + 1) : NULL;

	return room && b->vfs->ops->pread(b->vfs, fd, room, (size_t)f->size + 1, 0) == (ssize_t)f->size;
}

static bool
load_found(const struct reading_batch *b, struct read_file *f, int fd, struct buf *mem)
{
	struct stat st;
	char *room;

	if (fstat(fd, &st) < 0 || !S_ISREG(st.st_mode) || st.st_size <= 0 || st.st_size > READING_MESSAGE_MAX)
		return false;
	f->sized = f->sized && (uint64_t)st.st_size == f->size;
	f->known = false;
	f->size = (uint64_t)st.st_size;
	f->mtime = st.st_mtime;
	room = buf_room(mem, (size_t)f->size);
	return room && vfs_read_all(b->vfs, fd, room, (size_t)f->size, 0);
}

/* The file's octets are in mem.  False: they are not to be had. */
static bool
load(const struct reading_batch *b, struct read_file *f, struct buf *mem)
{
	int fd = f->fd >= 0 ? f->fd : open_file(b, f);

	buf_reset(mem);
	if (fd < 0)
		return false;
	f->read = load_known(b, f, fd, mem) || load_found(b, f, fd, mem);
	(void)b->vfs->ops->close(b->vfs, fd);
	if (f->read)
		buf_added(mem, (size_t)f->size);
	return f->read;
}

static void
look(struct reading_batch *b, struct read_file *f, struct arena *arena, struct buf *mem)
{
	char *whole = NULL;
	struct span s;

	if (!load(b, f, mem))
		return;
	s = buf_span(mem);
	f->bare = f->sized ? 0 : count_bare(s);
	if (f->bare && (whole = malloc(s.n + f->bare))) {
		complete_lines(s, whole);
		s = span_of(whole, s.n + f->bare);
	}
	f->at = buf_len(&b->out);
	f->ok = (whole || !f->bare) && b->use.look(b->use.arg, s, arena, &b->out) && buf_ok(&b->out);
	f->n = buf_len(&b->out) - f->at;
	free(whole);
	arena_reset(arena);
}

/* By this thread, from disks. */
static long
blocks_read(void)
{
	struct rusage used;

	return getrusage(RUSAGE_THREAD, &used) == 0 ? used.ru_inblock : 0;
}

/* One file after another, each would be waited for alone. */
static void
ask_for(struct reading_batch *b, size_t *asked, size_t to)
{
	for (; *asked < to && *asked < b->n; ++*asked) {
		struct read_file *f = &b->files[*asked];

		if ((f->fd = open_file(b, f)) >= 0)
			(void)posix_fadvise(f->fd, 0, READING_MESSAGE_MAX, POSIX_FADV_WILLNEED);
	}
}

static void
run(struct work *w)
{
	struct reading_batch *b = OWNER_OF(w, struct reading_batch, work);
	long before = blocks_read();
	size_t asked = 0;
	struct arena arena;
	struct buf mem;

	arena_init(&arena, ARENA_MAX);
	buf_init(&mem, READING_MESSAGE_MAX + 1);
	for (size_t i = 0; i < b->n; i++) {
		if (b->cold)
			ask_for(b, &asked, i + AHEAD);
		look(b, &b->files[i], &arena, &mem);
	}
	b->cold = blocks_read() - before >= (long)b->n * PAGE_BLOCKS / 2; /* half of the files; asking for what is there costs something */
	buf_free(&mem);
	arena_free(&arena);
}

/* ---- on the loop ---- */

static void
batch_free(struct reading_batch *b)
{
	for (size_t i = 0; i < b->n; i++)
		free(b->files[i].source);
	buf_free(&b->out);
	free(b);
}

static void done(struct work *w);

static size_t
behind(const struct index *ix, uint32_t uid)
{
	size_t at = index_place(ix, uid);

	return at + (at < ix->n && ix->messages[at].uid == uid);
}

/* The next messages that are wanted go to a thread.  False: there are none. */
static bool
begin(struct reading *r, struct reading_batch **place)
{
	const struct index *ix = mailbox_index(r->mailbox);
	struct reading_batch *b = malloc(sizeof(*b));
	size_t at = index_place(ix, r->next);
	uint64_t size = 0;
	uint32_t uid;

	if (!b)
		return false;
	b->owner = r;
	b->vfs = r->mailbox->vfs;
	b->base = r->mailbox->store->vfs;
	b->use = r->use;
	b->n = 0;
	b->lo = r->next;
	b->hi = r->hi;
	b->cold = r->cold;
	for (; at < ix->n && ix->messages[at].uid <= r->hi && b->n < READING_BATCH && size < READING_BATCH_SIZE; at = behind(ix, uid)) {
		struct read_file *f = &b->files[b->n];
		const struct message *m = &ix->messages[at];

		uid = m->uid;
		if (!r->use.wants(r->use.arg, m) || !(m = index_find(ix, uid)) || !index_path(ix, m, f->path))
			continue;
		size += m->size;
		f->read = f->ok = false;
		f->size = m->size;
		f->fd = -1;
		f->mtime = 0;
		f->sized = (m->bits & MESSAGE_SIZED) && !(m->bits & MESSAGE_BARE);
		f->known = f->sized && m->date && m->size && m->size <= READING_MESSAGE_MAX;
		f->source = linking_from(r->mailbox, m->uid) ? strdup(linking_from(r->mailbox, m->uid)) : NULL;
		b->told[b->n++] = (struct read_message){ .uid = b->hi = m->uid };
	}
	r->next = b->n == READING_BATCH || size >= READING_BATCH_SIZE ? b->hi + 1 : r->hi + 1;
	if (b->n == 0) {
		free(b);
		return false;
	}
	buf_init(&b->out, OUT_MAX);
	b->work = (struct work){ .run = run, .done = done };
	*place = b;
	worker_submit_later(r->mailbox->store->pool, &b->work);
	return true;
}

static void
begin_all(struct reading *r)
{
	for (size_t i = 0; i < READING_BATCHES && r->next <= r->hi && r->hi; i++)
		if (!r->batches[i] && !begin(r, &r->batches[i]))
			return;
}

bool
reading_under_way(const struct reading *r, uint32_t uid)
{
	for (size_t i = 0; i < READING_BATCHES; i++)
		if (r->batches[i] && r->batches[i]->lo <= uid && uid <= r->batches[i]->hi)
			return true;
	return false;
}

static void
tell(struct reading *r, struct reading_batch *b)
{
	for (size_t i = 0; i < b->n; i++) {
		struct read_file *f = &b->files[i];

		if (f->read && !f->known) {
			content_learn_date(r->mailbox, b->told[i].uid, f->mtime);
			content_learn_size(r->mailbox, b->told[i].uid, f->size, f->bare);
		}
		if (f->ok)
			b->told[i].said = span_sub(buf_span(&b->out), f->at, f->n);
	}
	r->use.on_batch(r->use.arg, b->told, b->n);
}

static void
done(struct work *w)
{
	struct reading_batch *b = OWNER_OF(w, struct reading_batch, work);
	struct reading *r = b->owner;

	for (size_t i = 0; i < READING_BATCHES; i++)
		if (r->batches[i] == b)
			r->batches[i] = NULL;
	r->cold = b->cold;
	begin_all(r); /* first, so that the threads have work while the loop tells */
	tell(r, b);
	batch_free(b);
}

void
reading_init(struct reading *r, struct mailbox *mb, const struct reading_use *use)
{
	*r = (struct reading){ .use = *use, .mailbox = mb, .next = 1 };
}

bool
reading_ask(struct reading *r, uint32_t uid, uint32_t hi)
{
	if (reading_under_way(r, uid))
		return true;
	r->next = uid;
	r->hi = hi;
	begin_all(r);
	return reading_under_way(r, uid);
}

void
reading_extend(struct reading *r, uint32_t hi)
{
	if (!r->hi || hi <= r->hi)
		return;
	r->hi = hi;
	begin_all(r);
}

void
reading_stop(struct reading *r)
{
	for (size_t i = 0; i < READING_BATCHES; i++) {
		struct reading_batch *b = r->batches[i];

		if (!b)
			continue;
		if (!worker_withdraw(r->mailbox->store->pool, &b->work))
			worker_wait(r->mailbox->store->pool, &b->work);
		batch_free(b);
		r->batches[i] = NULL;
	}
	r->hi = 0;
}
