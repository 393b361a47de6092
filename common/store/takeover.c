/* SPDX-License-Identifier: ISC
 *
 * A folder without an index of ours: its files become messages in the order of
 * the time in their names, or keep the UIDs that Dovecot gave them.
 */
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "log/log.h"
#include "store/found.h"
#include "store/listing.h"
#include "store/state.h"
#include "store/uidlist.h"
#include "store/validity.h"

struct finder {
	struct found found;
	bool in_new, failed;
};

void
takeover_record(struct vfs *v, const struct maildir_name *name, bool in_new, struct record_message *out)
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
		if (maildir_path(path, name->base, name->odd, name->letters, in_new) && v->ops->stat(v, path, &st) == 0) {
			size = st.size;
			out->date = st.mtime_ns > 0 ? (uint32_t)(st.mtime_ns / 1000000000) : 0;
		}
	}
	out->size = size < UINT32_MAX ? (uint32_t)size : UINT32_MAX;
}

static bool
each_file(void *arg, const char *file)
{
	struct finder *f = arg;
	struct maildir_name name;

	f->failed |= maildir_name_parse(span_str(file), &name) && !found_add(&f->found, span_str(file), &name, f->in_new);
	return !f->failed;
}

/* ---- lookup ---- */

static struct span
base_of(struct span name)
{
	return span_sub(name, 0, span_chr(name, ':'));
}

/* How many stand before key. */
static size_t
place_of(const struct found *f, uint64_t time, struct span key)
{
	size_t lo = 0, hi = f->n;

	while (lo < hi) {
		size_t mid = lo + (hi - lo) / 2;

		if (found_compare(f->files[mid].time, found_name(f, &f->files[mid]), time, key) < 0)
			lo = mid + 1;
		else
			hi = mid;
	}
	return lo;
}

/* The last of an entry's files: ':' follows the base, or nothing.  Names that the base begins may stand between the two. */
static struct found_file *
find_file(const struct found *f, struct span base)
{
	static const char behind[] = { ':' + 1, 1 };
	char key[MAILDIR_NAME_MAX + 1];

	for (size_t i = 0; i < sizeof(behind) && base.n && base.n <= MAILDIR_NAME_MAX; i++) {
		size_t at;

		memcpy(key, base.p, base.n);
		key[base.n] = behind[i];
		at = place_of(f, found_time(base), span_of(key, base.n + 1));
		if (at && span_eq(base_of(found_name(f, &f->files[at - 1])), base))
			return f->files[at - 1].used ? NULL : &f->files[at - 1];
	}
	return NULL;
}

/* One base name is one message, the last of its files: another program may have moved it from new/ to
 * cur/ between the two lists, or left it there twice, and who removes one of two messages would remove both. */
static void
skip_twins(const struct found *f)
{
	struct found_file *all = f->files;

	for (size_t i = 1; i < f->n; i++) {
		uint64_t next = all[i].next, before = all[i - 1].next;
		struct span base;

		if (all[i - 1].time != all[i].time || (next != before && next && before))
			continue;
		base = base_of(found_next(f, &all[i]));
		for (size_t k = i; k-- > 0 && span_starts(found_name(f, &all[k]), base);)
			if (base_of(found_name(f, &all[k])).n == base.n) {
				all[k].used = true;
				break;
			}
	}
}

/* ---- building ---- */

static bool
add(struct mailbox *mb, const struct found *f, struct found_file *file, uint32_t uid, struct span uidl, struct fail *why)
{
	struct index *ix = mailbox_index(mb);
	struct maildir_name name;
	union record r;

	file->used = true;
	found_parts(f, file, &name);
	takeover_record(mb->vfs, &name, file->in_new, &r.message);
	r.message.uid = uid ? uid : ix->uidnext;
	r.message.uidl = uidl;
	r.message.modseq = ix->modseq;
	r.message.saved = (uint32_t)time(NULL);
	if (index_apply(ix, RECORD_message, &r))
		return true;
	return fail_set(why, ix->failed ? FAIL_TEMP : FAIL_LIMIT, 0, "cannot take over file %.*s", SPAN_ARG(found_name(f, file)));
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

/* Room for all of them at once, where it is to be had. */
static void
make_room(struct index *ix, const struct found *f)
{
	struct message *all = f->n && !ix->messages ? malloc(f->n * sizeof(*all)) : NULL;

	if (all) {
		ix->messages = all;
		ix->size = f->n;
	}
	(void)buf_room(&ix->names, buf_len(&f->names));
}

static bool
fill(struct mailbox *mb, const struct found *f, struct span uidlist, bool *taken, struct fail *why)
{
	struct index *ix = mailbox_index(mb);
	union record r = { .start = { .uidnext = 1, .modseq = 1 } };
	struct uidlist_entry e;
	struct uidlist l;

	*taken = uidlist_open(&l, uidlist);
	if (*taken) {
		r.start.uidvalidity = l.uidvalidity;
		/* The other server's mod-sequences are not known, but clients have them: beyond all of
		 * them, so that a client that comes back is told of every flag (RFC 7162 3.1.2). */
		r.start.modseq = (uint64_t)time(NULL);
	} else if (!validity_next(mb->store->vfs, &r.start.uidvalidity, why)) {
		return false;
	}
	(void)index_apply(ix, RECORD_start, &r);
	r.objectid.id = objectid_new();
	(void)index_apply(ix, RECORD_objectid, &r);
	take_keywords(mb);
	make_room(ix, f);
	while (*taken && uidlist_next(&l, &e)) {
		struct found_file *file = find_file(f, e.base);

		if (file && !add(mb, f, file, e.uid, e.uidl, why))
			return false;
	}
	/* A UID that was given is never given again, whether its file is there or not. */
	if (*taken && l.uidnext > ix->uidnext)
		ix->uidnext = l.uidnext;
	if (*taken && l.last >= ix->uidnext)
		ix->uidnext = l.last + 1;
	for (size_t i = 0; i < f->n; i++)
		if (!f->files[i].used && !add(mb, f, &f->files[i], 0, SPAN_NONE, why))
			return false;
	return true;
}

/* taken: with the UIDs of a list that another program will not keep for us, so that they must be durable now. */
static bool
build(struct mailbox *mb, struct found *f, bool *taken, struct fail *why)
{
	struct buf uidlist;
	bool ok;

	if (!found_sort(f))
		return fail_set(why, FAIL_TEMP, 0, "out of memory");
	skip_twins(f);
	(void)read_text(mb, "dovecot-uidlist", UIDLIST_FILE_MAX, &uidlist);
	ok = fill(mb, f, buf_span(&uidlist), taken, why);
	buf_free(&uidlist);
	if (ok && (*taken || f->n))
		log_put(LOG_mailbox, "folder=%s messages=%zu %s", mb->name, mb->file.ix.n,
		    *taken ? "taken over with their UIDs from dovecot-uidlist" : "found and given UIDs");
	return ok;
}

/* The list of another program is no longer the truth about UIDs. */
static void
retire_uidlist(struct mailbox *mb)
{
	if (mb->vfs->ops->rename(mb->vfs, "dovecot-uidlist", "dovecot-uidlist.old") == 0)
		(void)mb->vfs->ops->sync_dir(mb->vfs, "");
}

bool
takeover(struct mailbox *mb, enum indexfile_found found, struct fail *why)
{
	struct finder f = { .in_new = true };
	bool ok, taken = false;

	found_init(&f.found);
	ok = listing_each(mb->vfs, mb->store->pool, "new", each_file, &f) == 0;
	f.in_new = false;
	ok = ok && listing_each(mb->vfs, mb->store->pool, "cur", each_file, &f) == 0;
	if (!ok)
		(void)fail_errno(why, 0, "cannot read the Maildir");
	else if (f.failed)
		ok = fail_set(why, FAIL_TEMP, 0, "out of memory for a mailbox, or too many files in it");
	if (ok && found == INDEXFILE_LOST)
		retire_uidlist(mb);
	ok = ok && build(mb, &f.found, &taken, why) && (taken ? indexfile_start : indexfile_begin)(&mb->file, why);
	if (ok) {
		retire_uidlist(mb); /* should our index be missing one day, it would be believed again */
		mb->visible = mb->file.ix.n ? mb->file.ix.messages[mb->file.ix.n - 1].uid : 0;
		follow_later(mb, 1, UINT32_MAX);
	}
	found_free(&f.found);
	return ok;
}
