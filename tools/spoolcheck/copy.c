/* SPDX-License-Identifier: ISC
 *
 * export and salvage.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/queueid.h"
#include "tools/spoolcheck/spoolcheck.h"

struct copying {
	struct spoolcheck *c;
	struct export_dir whole, damaged;
	struct buf room;
	char damaged_path[1200];
	bool salvage;
	uint64_t fragments;
	bool trouble; /* the target cannot be written */
};

struct sink {
	struct export_dir *d;
	struct fail *why;
};

static bool
to_file(void *arg, struct span bytes)
{
	struct sink *s = arg;

	return export_write(s->d, bytes, s->why);
}

static void
say(const char *id, const char *text)
{
	(void)fprintf(stderr, "spoolcheck: %s: %s\n", id, text);
}

static void
trouble(struct copying *k, const char *id, const struct fail *why)
{
	k->trouble = true;
	say(id, why->text);
}

static bool
open_damaged(struct copying *k, struct fail *why)
{
	return k->damaged.vfs || export_open(&k->damaged, k->damaged_path, EXPORT_EML, true, why);
}

/* What there is of it, whatever it is worth. */
static void
copy_fragment(struct copying *k, const struct spool_item *i, struct export_message *x, const char *id)
{
	struct sink sink = { .d = &k->damaged };
	struct fail why = { .class = FAIL_NONE };
	uint64_t size;

	if (!open_damaged(k, &why) || !export_begin(&k->damaged, x, &why)) {
		if (why.err != EEXIST)
			trouble(k, id, &why);
		else
			k->c->twice++;
		return;
	}
	sink.why = &why;
	(void)spool_content(&k->c->spool, i, to_file, &sink, &size, &why);
	x->envelope.size = size;
	if (export_end(&k->damaged, x, &why))
		k->fragments++;
	else
		trouble(k, id, &why);
}

/* False: it is not whole. */
static bool
copy_whole(struct copying *k, const struct spool_item *i, struct export_message *x, const char *id, struct fail *why)
{
	struct spoolcheck *c = k->c;
	struct sink sink = { .d = &k->whole, .why = why };
	uint64_t size;

	if (c->dry_run || !i->sound) {
		if (!spool_content(&c->spool, i, NULL, NULL, &size, why))
			return false;
		c->messages++;
		c->bytes += size;
		return true;
	}
	if (!export_begin(&k->whole, x, why)) {
		if (why->err == EEXIST) {
			c->twice++;
			say(id, why->text);
		} else {
			trouble(k, id, why);
		}
		return true;
	}
	if (!spool_content(&c->spool, i, to_file, &sink, &size, why)) {
		export_abandon(&k->whole);
		return false;
	}
	if (!export_end(&k->whole, x, why)) {
		trouble(k, id, why);
		return true;
	}
	c->messages++;
	c->bytes += size;
	return true;
}

static void
copy_message(struct copying *k, const struct spool_item *i)
{
	struct spoolcheck *c = k->c;
	struct export_message x;
	char id[QUEUEID_TEXT + 1];
	struct fail why = { .class = FAIL_NONE };

	(void)queueid_text(i->by_id.id, id);
	buf_reset(&k->room);
	if (!spool_message(i, &k->room, &x, &why)) {
		c->broken++;
		say(id, why.text);
		return;
	}
	if (copy_whole(k, i, &x, id, &why))
		return;
	c->broken++;
	say(id, why.text);
	if (k->salvage && !c->dry_run)
		copy_fragment(k, i, &x, id);
}

/* A content without envelope: to damaged/ID.eml, by itself. */
static void
on_stray(void *arg, const char *name, uint64_t id)
{
	struct copying *k = arg;
	struct vfs *v = k->c->spool.vfs;
	struct fail why = { .class = FAIL_NONE };
	char from[80], bytes[65536];
	uint64_t at = 0;
	struct blob b;
	size_t n;
	int fd;

	(void)id;
	(void)snprintf(from, sizeof(from), "blob/%s", name);
	say(from, "a content without envelope");
	if (k->c->dry_run)
		return;
	fd = blob_open(v, from, &why);
	(void)snprintf(from, sizeof(from), "%s.eml", name);
	if (fd < 0 || !open_damaged(k, &why) || !blob_create(&b, k->damaged.vfs, from, from, &why)) {
		if (why.err != EEXIST)
			trouble(k, name, &why);
	} else {
		while ((n = scan_read(v, fd, bytes, sizeof(bytes), at, NULL)) > 0 && blob_write(&b, span_of(bytes, n)))
			at += n;
		if (blob_commit_now(&b, &why))
			k->fragments++;
		else
			trouble(k, name, &why);
	}
	if (fd >= 0)
		(void)v->ops->close(v, fd);
}

static void
copy_all(struct copying *k)
{
	struct spoolcheck *c = k->c;
	struct spool_item **all;
	struct fail why;
	size_t n;

	all = spool_sorted(&c->spool, &n);
	if (!all)
		k->trouble = true;
	for (size_t i = 0; all && i < n && !k->trouble; i++) {
		if (spoolcheck_wanted(c, all[i]->by_id.id))
			copy_message(k, all[i]);
		spoolcheck_progress(c, "exporting", i + 1, n);
	}
	free(all);
	if (k->salvage && c->nargs <= 1 && !k->trouble && !spool_strays(&c->spool, on_stray, k, &why))
		(void)spoolcheck_fail(NULL, &why);
}

static int
copy_to(struct spoolcheck *c, bool salvage)
{
	struct copying k = { .c = c, .salvage = salvage };
	struct fail why;

	if (!spoolcheck_load(c))
		return EXIT_TROUBLE;
	if (!c->dry_run && !export_open(&k.whole, c->args[0], c->maildir ? EXPORT_MAILDIR : EXPORT_EML, true, &why))
		return spoolcheck_fail(NULL, &why);
	(void)snprintf(k.damaged_path, sizeof(k.damaged_path), "%s/damaged", c->args[0]);
	buf_init(&k.room, EXPORT_TEXT_MAX);
	copy_all(&k);
	buf_free(&k.room);
	if (k.whole.vfs && !export_sync(&k.whole, &why)) { /* damaged/ is in the same file system */
		(void)spoolcheck_fail(c->args[0], &why);
		k.trouble = true;
	}
	if (k.whole.vfs)
		export_close(&k.whole);
	if (k.damaged.vfs)
		export_close(&k.damaged);
	(void)printf("%" PRIu64 " messages %s, %" PRIu64 " bytes; %" PRIu64 " were there already; %" PRIu64 " damaged", c->messages,
	    c->dry_run ? "would be exported" : "exported", c->bytes, c->twice, c->broken);
	if (salvage && !c->dry_run)
		(void)printf(", what is left of %" PRIu64 " is in %s", k.fragments, k.damaged_path);
	(void)printf("\n");
	return k.trouble ? EXIT_TROUBLE : c->broken || c->spool.damages ? EXIT_DAMAGED : EXIT_GOOD;
}

int
spoolcheck_export(struct spoolcheck *c)
{
	return copy_to(c, false);
}

int
spoolcheck_salvage(struct spoolcheck *c)
{
	return copy_to(c, true);
}
