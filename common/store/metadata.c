/* SPDX-License-Identifier: ISC
 *
 * The file "pillarpost-metadata": a line each of folder, entry and value in
 * base64, divided by tabs.  It is read once and kept.
 */
#include "store/metadata.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/base64.h"
#include "log/log.h"
#include "store/name.h"
#include "store/state.h"

enum { FILE_CAP = 128 << 20 };

struct metadata_row {
	char *text; /* owned: folder, entry, value one behind the other */
	uint32_t folder_n, entry_n, value_n;
};

struct metadata {
	struct metadata_row rows[METADATA_ENTRIES_MAX];
	size_t n;
};

static struct span
folder_of(const struct metadata_row *r)
{
	return span_of(r->text, r->folder_n);
}

static struct span
entry_of(const struct metadata_row *r)
{
	return span_of(r->text + r->folder_n, r->entry_n);
}

static struct span
value_of(const struct metadata_row *r)
{
	return span_of(r->text + r->folder_n + r->entry_n, r->value_n);
}

static bool
make_row(struct metadata_row *r, struct span folder, struct span entry, struct span value)
{
	*r = (struct metadata_row){ malloc(folder.n + entry.n + value.n + 1), (uint32_t)folder.n, (uint32_t)entry.n, (uint32_t)value.n };
	if (!r->text)
		return false;
	if (folder.n)
		memcpy(r->text, folder.p, folder.n);
	if (entry.n)
		memcpy(r->text + folder.n, entry.p, entry.n);
	if (value.n)
		memcpy(r->text + folder.n + entry.n, value.p, value.n);
	return true;
}

/* Where it is or would be. */
static size_t
place(const struct metadata *m, struct span folder, struct span entry, bool *there)
{
	size_t i = 0;
	int order = 1;

	for (; i < m->n; i++) {
		order = span_cmp(folder_of(&m->rows[i]), folder);
		if (order == 0)
			order = span_cmp(entry_of(&m->rows[i]), entry);
		if (order >= 0)
			break;
	}
	*there = i < m->n && order == 0;
	return i;
}

static void
cut(struct metadata *m, size_t at)
{
	free(m->rows[at].text);
	memmove(m->rows + at, m->rows + at + 1, (m->n - at - 1) * sizeof *m->rows);
	m->n--;
}

static bool
put(struct metadata *m, struct span folder, struct span entry, struct span value)
{
	struct metadata_row row;
	bool there;
	size_t at = place(m, folder, entry, &there);

	if (!value.p) {
		if (there)
			cut(m, at);
		return true;
	}
	if ((!there && m->n == METADATA_ENTRIES_MAX) || !make_row(&row, folder, entry, value))
		return false;
	if (there) {
		free(m->rows[at].text);
	} else {
		memmove(m->rows + at + 1, m->rows + at, (m->n - at) * sizeof *m->rows);
		m->n++;
	}
	m->rows[at] = row;
	return true;
}

static void
empty(struct metadata *m)
{
	while (m->n)
		free(m->rows[--m->n].text);
}

void
metadata_free(struct store *store)
{
	if (store->metadata)
		empty(store->metadata);
	free(store->metadata);
	store->metadata = NULL;
}

/* ---- the file ---- */

/* Lines that are none of ours are passed over: the file may be another's doing. */
static void
parse(struct metadata *m, struct span text)
{
	struct buf value;

	buf_init(&value, METADATA_VALUE_MAX);
	while (text.n) {
		struct span line = span_cut(&text, '\n'), folder = span_cut(&line, '\t'), entry = span_cut(&line, '\t');

		buf_reset(&value);
		if (folder.n > STORE_NAME_MAX || !entry.n || entry.n > METADATA_NAME_MAX || !base64_decode(&value, line))
			continue;
		(void)put(m, folder, entry, buf_len(&value) ? buf_span(&value) : SPAN(""));
	}
	buf_free(&value);
}

static struct metadata *
load(struct store *store, struct fail *why)
{
	struct metadata *m = store->metadata;
	struct buf text;

	if (m)
		return m;
	buf_init(&text, FILE_CAP);
	/* Whole or not at all: what is missing here would be lost with the next change. */
	if ((!vfs_load(store->vfs, METADATA_FILE, &text) && errno != ENOENT) || !(m = calloc(1, sizeof *m)))
		(void)fail_errno(why, 0, "The annotations cannot be read");
	else
		parse(m, buf_span(&text));
	store->metadata = m;
	buf_free(&text);
	return m;
}

static bool
save(struct store *store, const struct metadata *m, struct fail *why)
{
	struct buf text;
	bool ok;

	buf_init(&text, FILE_CAP);
	for (size_t i = 0; i < m->n; i++) {
		buf_put(&text, folder_of(&m->rows[i]));
		buf_putc(&text, '\t');
		buf_put(&text, entry_of(&m->rows[i]));
		buf_putc(&text, '\t');
		base64_encode(&text, value_of(&m->rows[i]));
		buf_putc(&text, '\n');
	}
	ok = buf_ok(&text) && vfs_replace(store->vfs, METADATA_FILE, buf_span(&text));
	buf_free(&text);
	return ok || fail_errno(why, 0, "The annotations cannot be written");
}

/* ---- use ---- */

bool
metadata_set(struct store *store, struct span folder, const struct metadata_change *changes, size_t n, struct fail *why)
{
	struct metadata *m = load(store, why);
	bool ok = m != NULL;

	for (size_t i = 0; ok && i < n; i++)
		ok = put(m, folder, changes[i].entry, changes[i].value) || fail_set(why, FAIL_LIMIT, 0, "There are too many annotations");
	ok = ok && save(store, m, why);
	if (m && !ok) /* what stands in the file is what is so */
		metadata_free(store);
	return ok;
}

bool
metadata_each(struct store *store, struct span folder, bool any_folder,
    void (*each)(void *, struct span, struct span, struct span), void *arg, struct fail *why)
{
	const struct metadata *m = load(store, why);

	for (size_t i = 0; m && i < m->n; i++)
		if (any_folder || span_eq(folder_of(&m->rows[i]), folder))
			each(arg, folder_of(&m->rows[i]), entry_of(&m->rows[i]), value_of(&m->rows[i]));
	return m != NULL;
}

void
metadata_moved(struct store *store, struct span from, struct span to)
{
	struct metadata *m = load(store, NULL), *moved = m ? calloc(1, sizeof *moved) : NULL;
	struct fail why;
	bool any = false, ok = true;

	for (size_t i = 0; moved && i < m->n; i++) {
		struct span folder = folder_of(&m->rows[i]);
		bool same = span_eq(folder, from);
		struct buf name;

		buf_init(&name, (size_t)STORE_NAME_MAX * 2);
		if (same || (to.n && span_starts(folder, from) && folder.n > from.n && folder.p[from.n] == '.')) {
			any = true;
			buf_put(&name, to);
			buf_put(&name, span_from(folder, from.n));
			if (to.n)
				ok = put(moved, buf_span(&name), entry_of(&m->rows[i]), value_of(&m->rows[i])) && ok;
		} else {
			ok = put(moved, folder, entry_of(&m->rows[i]), value_of(&m->rows[i])) && ok;
		}
		buf_free(&name);
	}
	if (any && ok && save(store, moved, &why)) {
		metadata_free(store);
		store->metadata = moved;
		return;
	}
	if (any)
		log_put(LOG_mailbox, "folder=%.*s its annotations stay behind: %s", SPAN_ARG(from), ok ? why.text : "out of memory");
	if (moved)
		empty(moved);
	free(moved);
}
