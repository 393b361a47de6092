/* SPDX-License-Identifier: ISC */
#include "store/build.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "store/delivery.h"
#include "store/indexfile.h"
#include "store/mailbox.h"

struct build {
	struct vfs *vfs;
	struct indexfile file;
	bool open;
	struct maildir_namer namer;
	struct temp temp; /* fd -1: nothing of the next message yet */
};

struct build *
build_begin(int base, const char *dir, struct span host, uint32_t uidvalidity, struct fail *why)
{
	struct build *b = calloc(1, sizeof(*b));
	struct vfs *v = maildir_vfs(base, "", why);
	/* Beyond the other server's mod-sequences, as for a takeover. */
	union record r = { .start = { .uidvalidity = uidvalidity, .uidnext = 1, .modseq = (uint64_t)time(NULL) } };
	enum indexfile_found found;
	bool ok = v && (b || fail_set(why, FAIL_TEMP, 0, "out of memory")) && maildir_make(v, dir, why);

	if (ok) {
		b->temp.fd = -1;
		maildir_namer_init(&b->namer, host);
		ok = (b->vfs = maildir_vfs(base, dir, why)) != NULL;
	}
	ok = ok && (b->open = indexfile_open(&b->file, b->vfs, NULL, NULL, &found, why));
	ok = ok && (found == INDEXFILE_NONE || fail_set(why, FAIL_PERM, 0, "there is an index already"));
	ok = ok && (index_apply(&b->file.ix, RECORD_start, &r) || fail_set(why, FAIL_PERM, 0, "no valid UIDVALIDITY"));
	if (v)
		vfs_posix_free(&v);
	if (!ok)
		build_free(&b);
	return b;
}

bool
build_write(struct build *b, struct span bytes, struct fail *why)
{
	char unique[MAILDIR_BASE_MAX];

	if (b->temp.fd < 0) {
		maildir_unique(&b->namer, unique);
		if (!temp_create(&b->temp, b->vfs, unique, why))
			return false;
	}
	return temp_write(&b->temp, bytes, why);
}

static uint64_t
keyword_bit(struct build *b, struct span name)
{
	struct index *ix = &b->file.ix;
	int bit = index_keyword(ix, name);
	union record r = { .keyword = { .name = name } };

	if (bit >= 0)
		return 1ull << bit;
	while (r.keyword.bit < MAILBOX_KEYWORDS_MAX && ix->keywords[r.keyword.bit])
		r.keyword.bit++;
	if (name.n > MAILBOX_KEYWORD_LEN || r.keyword.bit == MAILBOX_KEYWORDS_MAX || !index_apply(ix, RECORD_keyword, &r))
		return 0;
	return 1ull << r.keyword.bit;
}

bool
build_message(struct build *b, const struct build_message *m, struct fail *why)
{
	union record r = { .message = { .uid = m->uid, .flags = m->flags, .bits = MESSAGE_SIZED } };
	char base[MAILDIR_BASE_MAX], from[MAILDIR_BASE_MAX + 5], to[MAILDIR_NAME_MAX + 5];
	struct temp *t = &b->temp;
	bool ok;

	if (t->fd < 0 && !build_write(b, SPAN(""), why))
		return false;
	for (size_t i = 0; i < m->nkeywords; i++)
		r.message.keywords |= keyword_bit(b, m->keywords[i]);
	(void)snprintf(base, sizeof(base), "%s", t->unique);
	maildir_add_sizes(base, t->size, t->size + t->bare);
	r.message.size = t->size + t->bare < UINT32_MAX ? (uint32_t)(t->size + t->bare) : UINT32_MAX;
	r.message.bits |= t->bare ? MESSAGE_BARE : 0;
	r.message.date = m->date > 0 && m->date < UINT32_MAX ? (uint32_t)m->date : 0;
	r.message.saved = (uint32_t)time(NULL);
	r.message.modseq = b->file.ix.modseq;
	r.message.base = span_str(base);
	r.message.letters = m->flags | (uint32_t)r.message.keywords << LETTER_KEYWORD_SHIFT;
	(void)snprintf(from, sizeof(from), "tmp/%s", t->unique);
	ok = maildir_path(to, r.message.base, SPAN_NONE, r.message.letters, false) && (!m->date || b->vfs->ops->touch(b->vfs, t->fd, m->date) == 0) &&
	    b->vfs->ops->rename(b->vfs, from, to) == 0;
	if (!ok)
		(void)fail_errno(why, 0, "UID %u cannot be written", m->uid);
	else if (!index_apply(&b->file.ix, RECORD_message, &r))
		ok = fail_set(why, FAIL_PERM, 0, "UID %u came out of order", m->uid);
	(void)b->vfs->ops->close(b->vfs, t->fd);
	t->fd = -1;
	return ok;
}

bool
build_end(struct build *b, uint32_t uidnext, struct fail *why)
{
	temp_abandon(&b->temp);
	if (uidnext > b->file.ix.uidnext)
		b->file.ix.uidnext = uidnext;
	b->file.ix.recent_from = b->file.ix.uidnext;
	return (vfs_posix_sync(b->vfs) || fail_errno(why, 0, "cannot sync the folder")) && indexfile_start(&b->file, why);
}

void
build_free(struct build **at)
{
	struct build *b = *at;

	if (!b)
		return;
	if (b->vfs)
		temp_abandon(&b->temp);
	if (b->open)
		indexfile_close(&b->file);
	if (b->vfs)
		vfs_posix_free(&b->vfs);
	free(b);
	*at = NULL;
}
