/* SPDX-License-Identifier: ISC
 *
 * A folder without an index of ours: its files become messages in the order of
 * the time in their names, or keep the UIDs that Dovecot gave them.
 */
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "log/log.h"
#include "store/state.h"
#include "store/uidlist.h"

enum { NAMES_MAX = 1 << 30 };

struct found_file {
	size_t at;     /* of its name in names */
	uint64_t time; /* that it begins with */
	uint8_t n;
	bool in_new;
};

struct finder {
	struct buf names;
	struct found_file *files; /* owned */
	size_t n, size;
	bool in_new, failed;
};

/* "1700000000.M123..."; 0 where there is no such number */
static uint64_t
time_of(struct span name)
{
	uint64_t time = 0;

	(void)span_u64(span_sub(name, 0, span_chr(name, '.')), UINT64_MAX, &time);
	return time;
}

static int
compare(uint64_t ta, struct span a, uint64_t tb, struct span b)
{
	return ta < tb ? -1 : ta > tb ? 1 : span_cmp(a, b);
}

int
takeover_order(struct span a, struct span b)
{
	return compare(time_of(a), a, time_of(b), b);
}

void
takeover_record(struct mailbox *mb, const struct maildir_name *name, bool in_new, struct record_message *out)
{
	char path[MAILDIR_NAME_MAX + 5];
	uint64_t size = name->vsize != UINT64_MAX ? name->vsize : name->size;
	struct vfs_stat st;

	*out = (struct record_message){
		.flags = name->letters & LETTER_FLAGS,
		.keywords = name->letters >> LETTER_KEYWORD_SHIFT,
		.letters = name->letters,
		.bits = in_new ? MESSAGE_NEW : 0,
		.base = name->base,
		.odd = name->odd,
	};
	if (name->vsize != UINT64_MAX)
		out->bits |= MESSAGE_SIZED;
	if (name->vsize != UINT64_MAX && name->vsize != name->size)
		out->bits |= MESSAGE_BARE;
	if (size == UINT64_MAX) {
		size = 0;
		if (maildir_path(path, name->base, name->odd, name->letters, in_new) && mb->vfs->ops->stat(mb->vfs, path, &st) == 0) {
			size = st.size;
			out->date = st.mtime_ns > 0 ? (uint32_t)(st.mtime_ns / 1000000000) : 0;
		}
	}
	out->size = size < UINT32_MAX ? (uint32_t)size : UINT32_MAX;
}

static struct span
file_name(const struct finder *f, const struct found_file *file)
{
	return span_sub(buf_span(&f->names), file->at, file->n);
}

static bool
each_file(void *arg, const char *name)
{
	struct finder *f = arg;
	struct span text = span_str(name);

	if (!maildir_name_valid(text))
		return true;
	if (f->n == f->size) {
		size_t size = f->size ? f->size * 2 : 256;
		struct found_file *more = realloc(f->files, size * sizeof(*more));

		if (!more) {
			f->failed = true;
			return false;
		}
		f->files = more;
		f->size = size;
	}
	f->files[f->n++] = (struct found_file){ .at = buf_len(&f->names), .time = time_of(text), .n = (uint8_t)text.n, .in_new = f->in_new };
	buf_put(&f->names, text);
	f->failed |= f->names.failed;
	return !f->failed && f->n < INDEX_MESSAGES_MAX;
}

/* ---- order and lookup ---- */

struct sorted {
	uint64_t time;
	struct span name;
	bool in_new, used;
};

static int
by_order(const void *a, const void *b)
{
	const struct sorted *x = a, *y = b;

	return compare(x->time, x->name, y->time, y->name);
}

static struct sorted *
sort_files(const struct finder *f)
{
	struct sorted *all = calloc(f->n ? f->n : 1, sizeof(*all));

	for (size_t i = 0; all && i < f->n; i++)
		all[i] = (struct sorted){ f->files[i].time, file_name(f, &f->files[i]), f->files[i].in_new, false };
	if (all && f->n)
		qsort(all, f->n, sizeof(*all), by_order);
	return all;
}

static struct span
base_of(struct span name)
{
	return span_sub(name, 0, span_chr(name, ':'));
}

/* The files are in order, so an entry's file is found by bisection: ':' may
 * follow the base, and nothing that sorts between. */
static struct sorted *
find_file(struct sorted *all, size_t n, struct span base)
{
	uint64_t time = time_of(base);
	size_t lo = 0, hi = n;

	while (lo < hi) {
		size_t mid = lo + (hi - lo) / 2;

		if (compare(all[mid].time, base_of(all[mid].name), time, base) < 0)
			lo = mid + 1;
		else
			hi = mid;
	}
	/* Names of which one begins another may stand out of order by their ends: look around. */
	for (size_t i = lo > 4 ? lo - 4 : 0; i < n && i < lo + 5; i++)
		if (!all[i].used && span_eq(base_of(all[i].name), base))
			return &all[i];
	return NULL;
}

/* ---- building ---- */

static bool
add(struct mailbox *mb, struct sorted *file, uint32_t uid, struct span uidl, struct fail *why)
{
	struct index *ix = mailbox_index(mb);
	struct maildir_name name;
	union record r;

	file->used = true;
	if (!maildir_name_parse(file->name, &name))
		return true;
	takeover_record(mb, &name, file->in_new, &r.message);
	r.message.uid = uid ? uid : ix->uidnext;
	r.message.uidl = uidl;
	r.message.modseq = ix->modseq;
	r.message.saved = (uint32_t)time(NULL);
	if (index_apply(ix, RECORD_message, &r))
		return true;
	return fail_set(why, ix->failed ? FAIL_TEMP : FAIL_LIMIT, 0, "cannot take over file %.*s", SPAN_ARG(file->name));
}

/* Reads a file of Dovecot's whole; false when there is none. */
static bool
read_text(struct mailbox *mb, const char *name, size_t most, struct buf *out)
{
	buf_init(out, most);
	return vfs_load(mb->vfs, name, out) && buf_len(out) > 0;
}

static void
take_keywords(struct mailbox *mb)
{
	struct buf text;
	struct span rest;
	union record r;
	unsigned number;

	if (read_text(mb, "dovecot-keywords", KEYWORDS_FILE_MAX, &text)) {
		rest = buf_span(&text);
		while (keywords_next(&rest, &number, &r.keyword.name)) {
			r.keyword.bit = (uint8_t)number;
			(void)index_apply(mailbox_index(mb), RECORD_keyword, &r);
		}
	}
	buf_free(&text);
}

static bool
fill(struct mailbox *mb, struct sorted *all, size_t n, struct span uidlist, bool *taken, struct fail *why)
{
	struct index *ix = mailbox_index(mb);
	union record r = { .start = { .uidvalidity = (uint32_t)time(NULL), .uidnext = 1, .modseq = 1 } };
	struct uidlist_entry e;
	struct uidlist l;

	*taken = uidlist_open(&l, uidlist);
	if (*taken) {
		r.start.uidvalidity = l.uidvalidity;
		/* The other server's mod-sequences are not known, but clients have them: beyond all of
		 * them, so that a client that comes back is told of every flag (RFC 7162 3.1.2). */
		r.start.modseq = (uint64_t)time(NULL);
	}
	(void)index_apply(ix, RECORD_start, &r);
	r.objectid.id = objectid_new();
	(void)index_apply(ix, RECORD_objectid, &r);
	take_keywords(mb);
	while (*taken && uidlist_next(&l, &e)) {
		struct sorted *file = find_file(all, n, e.base);

		if (file && !add(mb, file, e.uid, e.uidl, why))
			return false;
	}
	/* A UID that was given is never given again, whether its file is there or not. */
	if (*taken && l.uidnext > ix->uidnext)
		ix->uidnext = l.uidnext;
	if (*taken && l.last >= ix->uidnext)
		ix->uidnext = l.last + 1;
	for (size_t i = 0; i < n; i++)
		if (!all[i].used && !add(mb, &all[i], 0, SPAN_NONE, why))
			return false;
	return true;
}

static bool
build(struct mailbox *mb, const struct finder *f, struct fail *why)
{
	struct sorted *all = sort_files(f);
	struct buf uidlist;
	bool ok, taken = false;

	if (!all)
		return fail_set(why, FAIL_TEMP, 0, "out of memory");
	(void)read_text(mb, "dovecot-uidlist", UIDLIST_FILE_MAX, &uidlist);
	ok = fill(mb, all, f->n, buf_span(&uidlist), &taken, why);
	buf_free(&uidlist);
	free(all);
	if (ok && (taken || f->n))
		log_put(LOG_mailbox, "folder=%s messages=%zu %s", mb->name, mb->file.ix.n,
		    taken ? "taken over with their UIDs from dovecot-uidlist" : "found and given UIDs");
	return ok;
}

bool
takeover(struct mailbox *mb, enum indexfile_found found, struct fail *why)
{
	struct finder f = { .in_new = true };
	bool ok;

	buf_init(&f.names, NAMES_MAX);
	ok = mb->vfs->ops->list(mb->vfs, "new", each_file, &f) == 0;
	f.in_new = false;
	ok = ok && mb->vfs->ops->list(mb->vfs, "cur", each_file, &f) == 0;
	if (!ok)
		(void)fail_errno(why, 0, "cannot read the Maildir");
	else if (f.failed)
		ok = fail_set(why, FAIL_TEMP, 0, "out of memory for a mailbox");
	/* With our own index lost, the old list of another program is no longer the truth about UIDs. */
	if (ok && found == INDEXFILE_LOST)
		(void)mb->vfs->ops->rename(mb->vfs, "dovecot-uidlist", "dovecot-uidlist.old");
	ok = ok && build(mb, &f, why) && indexfile_start(&mb->file, why);
	if (ok) {
		mb->visible = mb->file.ix.n ? mb->file.ix.messages[mb->file.ix.n - 1].uid : 0;
		follow_later(mb, 1, UINT32_MAX);
	}
	free(f.files);
	buf_free(&f.names);
	return ok;
}
