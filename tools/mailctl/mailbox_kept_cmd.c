/* SPDX-License-Identifier: ISC
 *
 * mailbox expunged list, restore, purge: what users deleted and can have back.
 * On the files, as their owner; also while the user is logged in.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "desc/desc.h"
#include "mail/header.h"
#include "mail/word.h"
#include "store/kept.h"
#include "store/mailbox.h"
#include "store/name.h"
#include "store/quota.h"
#include "tools/common/term.h"
#include "tools/mailctl/mailbox.h"

enum { HEADER_READ = 16384 };

/* One that was chosen; sorted by time. */
struct found {
	struct kept k;
	char *text; /* owned: path, folder */
};

struct keeping {
	struct mailctl *m;
	struct vfs *vfs;
	int64_t since;
	struct uidset uids;
	struct span only; /* a folder's name; empty: all */
	struct found *all; /* owned */
	size_t n, size;
	bool failed;
	struct term_progress progress;
};

/* ---- finding ---- */

static bool
wanted(const struct keeping *g, const struct kept *k)
{
	return k->since >= g->since && (uidset_empty(&g->uids) || (k->uid && uidset_has(&g->uids, k->uid)));
}

static bool
each_kept(void *arg, const struct kept *k)
{
	struct keeping *g = arg;
	size_t n = strlen(k->path);
	struct found *f;

	if (!wanted(g, k) || (!k->uid && g->only.n && !span_eq(g->only, k->folder)))
		return true;
	if (g->n == g->size) {
		size_t size = g->size ? g->size * 2 : 64;
		struct found *more = realloc(g->all, size * sizeof(*more));

		g->failed |= !more;
		if (!more)
			return false;
		g->all = more;
		g->size = size;
	}
	f = &g->all[g->n];
	*f = (struct found){ *k, malloc(n + k->folder.n + 2) };
	if (!f->text)
		return !(g->failed = true);
	memcpy(f->text, k->path, n + 1);
	memcpy(f->text + n + 1, k->folder.p, k->folder.n);
	f->k.path = f->text;
	f->k.folder = span_of(f->text + n + 1, k->folder.n);
	if (k->uid) { /* the name is parsed anew where it lies now */
		struct span file = span_str(strrchr(f->text, '/') + 1);

		(void)span_cut(&file, ',');
		(void)maildir_name_parse(file, &f->k.name);
	}
	g->n++;
	return true;
}

static bool
each_folder(void *arg, struct span name)
{
	struct keeping *g = arg;
	struct fail why;

	g->failed |= !kept_each(g->vfs, name, each_kept, g, &why);
	return !g->failed;
}

static int
by_time(const void *a, const void *b)
{
	const struct kept *x = &((const struct found *)a)->k, *y = &((const struct found *)b)->k;

	if (x->since != y->since)
		return x->since < y->since ? -1 : 1;
	return x->uid < y->uid ? -1 : x->uid > y->uid;
}

static bool
each_named(void *arg, struct span name)
{
	struct keeping *g = arg;
	struct fail why;

	g->only = name;
	return each_folder(g, name) && kept_each_folder(g->vfs, each_kept, g, &why);
}

static bool
find(struct keeping *g, int base, struct fail *why)
{
	bool ok;

	if (g->m->nargs > 1)
		ok = mailbox_each_named(g->m, each_named, g, why);
	else
		ok = look_folders(base, each_folder, g, why) && kept_each_folder(g->vfs, each_kept, g, why);
	if (ok && g->failed)
		ok = fail_set(why, FAIL_TEMP, 0, "what is kept cannot be read");
	if (g->n)
		qsort(g->all, g->n, sizeof(*g->all), by_time);
	return ok;
}

/* ---- list ---- */

/* Decoded, of a header field. */
static void
put_field(struct span message, struct span name, struct buf *out)
{
	struct header_field f;

	if (header_find(message, name, &f))
		(void)word_decode(span_trim(f.value), out);
}

static uint64_t
read_header(struct keeping *g, const struct kept *k, struct buf *from, struct buf *subject)
{
	int fd = g->vfs->ops->open(g->vfs, k->path, VFS_READ);
	int64_t size = fd < 0 ? 0 : g->vfs->ops->size(g->vfs, fd);
	char *text = malloc(HEADER_READ);
	size_t n = size < HEADER_READ ? (size_t)(size > 0 ? size : 0) : HEADER_READ;

	if (fd >= 0 && text && vfs_read_all(g->vfs, fd, text, n, 0)) {
		put_field(span_of(text, n), SPAN("From"), from);
		put_field(span_of(text, n), SPAN("Subject"), subject);
	}
	free(text);
	if (fd >= 0)
		(void)g->vfs->ops->close(g->vfs, fd);
	return size > 0 ? (uint64_t)size : 0;
}

static void
list_one(struct keeping *g, const struct kept *k)
{
	struct buf from, subject, line, folder;
	char when[32] = "", size[16];
	time_t since = (time_t)k->since;
	struct tm tm;
	uint64_t bytes;

	buf_init(&from, 4096);
	buf_init(&subject, 4096);
	buf_init(&line, 32768);
	buf_init(&folder, (size_t)STORE_NAME_MAX * 4);
	(void)name_to_utf8(k->folder, &folder);
	bytes = k->uid ? read_header(g, k, &from, &subject) : 0;
	if (g->m->json) {
		buf_puts(&line, "{\"folder\":");
		desc_json_string(&line, buf_span(&folder));
		buf_printf(&line, ",\"expunged\":%lld,\"whole\":%s,\"uid\":%u,\"size\":%llu,\"from\":", (long long)k->since, k->uid ? "false" : "true",
		    k->uid, (unsigned long long)bytes);
		desc_json_string(&line, buf_span(&from));
		buf_puts(&line, ",\"subject\":");
		desc_json_string(&line, buf_span(&subject));
		buf_puts(&line, "}");
	} else {
		if (gmtime_r(&since, &tm))
			(void)strftime(when, sizeof(when), "%Y-%m-%dT%H:%M:%SZ", &tm);
		buf_printf(&line, "%s  ", when);
		if (k->uid)
			buf_printf(&line, "%6u %5s  ", k->uid, term_size(bytes, size));
		else
			buf_puts(&line, "the whole folder  ");
		term_put(&line, buf_span(&folder));
		if (k->uid)
			buf_puts(&line, "  ");
		term_put(&line, buf_span(&from));
		if (k->uid)
			buf_puts(&line, "  ");
		term_put(&line, buf_span(&subject));
	}
	term_line(stdout, buf_span(&line), g->m->json ? 0 : term_width(stdout));
	buf_free(&from);
	buf_free(&subject);
	buf_free(&line);
	buf_free(&folder);
}

static int
list_all(struct keeping *g)
{
	for (size_t i = 0; i < g->n; i++)
		list_one(g, &g->all[i].k);
	return 0;
}

/* ---- restore, purge ---- */

static int
report(const struct keeping *g, const char *verb, size_t messages, size_t folders)
{
	if (g->m->json)
		(void)printf("{\"action\":\"%s\",\"messages\":%zu,\"folders\":%zu,\"dry_run\":%s}\n", verb, messages, folders, g->m->dry_run ? "true" : "false");
	else
		(void)printf("%zu message%s and %zu folder%s %s%s\n", messages, messages == 1 ? "" : "s", folders, folders == 1 ? "" : "s",
		    g->m->dry_run ? "would be " : "", verb);
	return 0;
}

static void
tell_progress(struct keeping *g, size_t done)
{
	if (term_progress_due(&g->progress))
		(void)fprintf(stderr, "\r%zu of %zu\033[K", done, g->n);
}

static int
restore_all(struct keeping *g)
{
	struct maildir_namer namer;
	size_t done[2] = { 0, 0 };
	int status = 0;

	maildir_namer_init(&namer, g->m->conf->myhostname);
	for (size_t i = g->n; i-- > 0;) { /* the latest first: of two folders of one name it is that one */
		const struct kept *k = &g->all[i].k;
		struct fail why;

		if (g->m->dry_run || (k->uid ? kept_restore(g->vfs, &namer, k, &why) : kept_restore_folder(g->vfs, k, &why)))
			done[k->uid == 0]++;
		else
			status = mailctl_fail(EX_FAILED, "%.*s: %s", SPAN_ARG(k->folder), why.text);
		tell_progress(g, g->n - i);
	}
	term_progress_end(&g->progress);
	if (!g->m->dry_run && (done[0] || done[1]))
		quota_forget(g->vfs); /* counted anew when it is asked next */
	(void)report(g, "restored", done[0], done[1]);
	return status;
}

static int
purge_all(struct keeping *g)
{
	size_t done[2] = { 0, 0 };

	for (size_t i = 0; i < g->n; i++) {
		if (g->m->dry_run || kept_remove(g->vfs, &g->all[i].k))
			done[g->all[i].k.uid == 0]++;
		tell_progress(g, i + 1);
	}
	term_progress_end(&g->progress);
	return report(g, "removed for good", done[0], done[1]);
}

/* ---- the command ---- */

static int
run(struct mailctl *m, int (*act)(struct keeping *))
{
	struct keeping g = { .m = m };
	struct fail why = { .text = "" };
	int64_t since_ms;
	int status, base;

	uidset_init(&g.uids);
	term_progress_begin(&g.progress);
	if (!mailctl_since(m->since, &since_ms) || (m->uids && !uidset_parse(&g.uids, span_str(m->uids), UINT32_MAX)))
		return mailctl_fail(EX_USAGE_, "--since takes 2026-11-21T08:00, or 90s, 10m, 2h, 3d; --uids takes 3,7:9");
	g.since = since_ms / 1000;
	base = mailbox_open(m, m->args[0], &why);
	if (base >= 0)
		g.vfs = maildir_vfs(base, "", &why);
	if (base < 0)
		status = mailbox_unopened(m, &why);
	else
		status = g.vfs && find(&g, base, &why) ? act(&g) : mailctl_failed(&why);
	for (size_t i = 0; i < g.n; i++)
		free(g.all[i].text);
	free(g.all);
	uidset_free(&g.uids);
	if (g.vfs)
		vfs_posix_free(&g.vfs);
	if (base >= 0)
		close(base);
	return status;
}

int
mailbox_cmd_expunged(struct mailctl *m)
{
	static const struct {
		const char *name;
		int (*act)(struct keeping *);
	} verbs[] = { { "list", list_all }, { "restore", restore_all }, { "purge", purge_all } };

	if (m->nargs < 2 || !strchr(m->args[1], '@'))
		return mailctl_usage(m);
	for (size_t i = 0; i < sizeof(verbs) / sizeof(*verbs); i++)
		if (strcmp(m->args[0], verbs[i].name) == 0) {
			m->args++;
			m->nargs--;
			return run(m, verbs[i].act);
		}
	return mailctl_usage(m);
}
