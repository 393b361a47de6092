/* SPDX-License-Identifier: ISC
 *
 * queue: show, export, import: whole messages, in the form of queue/export.h.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/queueid.h"
#include "queue/export.h"
#include "tools/mailctl/queue.h"

/* One message of several: the others follow. */
static void
say_unshown(const struct ipc_queue_admin_unshown *u)
{
	char id[QUEUEID_TEXT + 1];

	(void)mailctl_fail(0, "%s: %.*s", queueid_text(u->message, id).p, SPAN_ARG(u->text));
}

/* ---- show ---- */

static bool
show_row(void *arg, unsigned type, const void *row)
{
	struct answer *a = arg;

	if (type == IPC_queue_admin_unshown) {
		say_unshown(row);
		a->failed = true;
	} else if (type == IPC_queue_admin_shown) {
		const struct ipc_queue_admin_shown *s = row;

		(void)printf("%sstate: %.*s\nsize: %llu\n", a->seen++ ? "\n" : "", SPAN_ARG(s->state), (unsigned long long)s->size);
	} else if (type == IPC_queue_admin_envelope) {
		const struct ipc_queue_admin_envelope *e = row;

		(void)fwrite(e->bytes.p, 1, e->bytes.n, stdout);
		a->destinations = 1;
	} else if (type == IPC_queue_admin_bytes) {
		const struct ipc_queue_admin_bytes *b = row;

		if (a->destinations) /* an empty line parts the two */
			(void)putchar('\n');
		a->destinations = 0;
		(void)fwrite(b->bytes.p, 1, b->bytes.n, stdout);
	}
	return true;
}

static bool
content_row(void *arg, unsigned type, const void *row)
{
	if (type == IPC_queue_admin_unshown)
		return show_row(arg, type, row);
	if (type == IPC_queue_admin_bytes)
		(void)fwrite(((const struct ipc_queue_admin_bytes *)row)->bytes.p, 1, ((const struct ipc_queue_admin_bytes *)row)->bytes.n, stdout);
	return true;
}

int
queue_cmd_show(struct mailctl *m)
{
	struct ipc_queue_admin_show show = { .id = 1, .limit = m->limit, .envelope = m->envelope || !m->content, .content = m->content || !m->envelope };
	struct ipc_queue_admin_done done = { .ok = false };
	struct answer a;
	struct buf filter;
	int status = EX_USAGE_;

	if (m->nargs == 0 && !m->filter)
		return mailctl_usage(m);
	buf_init(&filter, B_FILTER + 1);
	answer_init(&a, m);
	if (queue_filter(m, &filter)) {
		show.filter = buf_span(&filter);
		status = queue_ask(m, IPC_queue_admin_show, &show, show.envelope ? show_row : content_row, &a, &done);
		if (status == 0 && !done.ok)
			status = queue_refused(&done, show.filter);
		else if (status == 0 && done.count == 0)
			status = mailctl_fail(EX_FAILED, "no such message is in the queue");
		else if (status == 0)
			status = a.failed ? EX_FAILED : queue_all_there(m, done.count, done.count);
	}
	answer_free(&a);
	buf_free(&filter);
	return status;
}

/* ---- export ---- */

struct exporting {
	struct mailctl *m;
	struct export_dir dir;
	struct buf text, room;
	struct export_message x;
	uint64_t message, size, written, count, there;
	bool open, skip, failed;
};

static bool
export_failed(struct exporting *e, const struct fail *why)
{
	char id[QUEUEID_TEXT + 1];

	export_abandon(&e->dir);
	e->open = false;
	e->failed = true;
	return mailctl_fail(0, "%s: %s", queueid_text(e->message, id).p, why->text) != 0;
}

/* All of the envelope is there. */
static bool
begin_file(struct exporting *e)
{
	struct fail why = { .text = "the envelope is too large" };

	if (!buf_ok(&e->text) || !export_parse(buf_span(&e->text), &e->room, &e->x, &why))
		return export_failed(e, &why);
	if (export_begin(&e->dir, &e->x, &why)) {
		e->open = true;
		return true;
	}
	if (why.err != EEXIST)
		return export_failed(e, &why);
	e->there++;
	e->skip = true;
	return true;
}

static bool
end_file(struct exporting *e)
{
	struct fail why = { .text = "the content was cut short" };
	char id[QUEUEID_TEXT + 1];

	if (e->written != e->size || !export_end(&e->dir, &e->x, &why))
		return export_failed(e, &why);
	e->open = false;
	e->count++;
	if (e->m->json)
		(void)printf("{\"id\":\"%s\",\"action\":\"exported\",\"size\":%llu}\n", queueid_text(e->message, id).p, (unsigned long long)e->size);
	else if (!e->m->quiet)
		(void)printf("%s exported\n", queueid_text(e->message, id).p);
	return true;
}

static bool
export_row(void *arg, unsigned type, const void *row)
{
	struct exporting *e = arg;
	struct fail why;

	if (type == IPC_queue_admin_unshown) {
		say_unshown(row);
		e->failed = true;
	} else if (type == IPC_queue_admin_shown) {
		const struct ipc_queue_admin_shown *s = row;

		e->message = s->message;
		e->size = s->size;
		e->written = 0;
		e->skip = false;
		buf_reset(&e->text);
		buf_reset(&e->room);
	} else if (type == IPC_queue_admin_envelope) {
		buf_put(&e->text, ((const struct ipc_queue_admin_envelope *)row)->bytes);
	} else if (type == IPC_queue_admin_bytes) {
		struct span bytes = ((const struct ipc_queue_admin_bytes *)row)->bytes;

		if (!e->open && !e->skip && !begin_file(e))
			return false;
		e->written += bytes.n;
		if (e->open && bytes.n && !export_write(&e->dir, bytes, &why))
			return export_failed(e, &why);
		if (bytes.n == 0 && e->open)
			return end_file(e);
	}
	return true;
}

int
queue_cmd_export(struct mailctl *m)
{
	struct ipc_queue_admin_show show = { .id = 1, .limit = m->limit, .envelope = true, .content = true };
	struct ipc_queue_admin_done done = { .ok = false };
	struct exporting e = { .m = m };
	struct fail why = { .text = "" };
	struct buf filter;
	int status = EX_USAGE_;

	if (!m->to || (m->nargs == 0 && !m->filter))
		return mailctl_usage(m);
	if (!export_open(&e.dir, m->to, m->maildir ? EXPORT_MAILDIR : EXPORT_EML, true, &why))
		return mailctl_fail(EX_FAILED, "%s: %s", m->to, why.text);
	buf_init(&filter, B_FILTER + 1);
	buf_init(&e.text, EXPORT_TEXT_MAX);
	buf_init(&e.room, EXPORT_TEXT_MAX);
	if (queue_filter(m, &filter)) {
		show.filter = buf_span(&filter);
		status = queue_ask(m, IPC_queue_admin_show, &show, export_row, &e, &done);
		if (status == 0 && !done.ok)
			status = queue_refused(&done, show.filter);
		else if (status == 0 && e.failed)
			status = EX_FAILED;
		else if (status == 0)
			status = queue_all_there(m, done.count, done.count);
		if (!m->json)
			(void)printf("%llu message%s exported to %s%s\n", (unsigned long long)e.count, e.count == 1 ? "" : "s", m->to,
			    e.there ? "; others were there already" : "");
	}
	buf_free(&filter);
	buf_free(&e.text);
	buf_free(&e.room);
	if (!export_sync(&e.dir, &why))
		status = mailctl_fail(EX_FAILED, "%s: %s", m->to, why.text);
	export_close(&e.dir);
	return status;
}

/* ---- import ---- */

struct importing {
	struct mailctl *m;
	struct channel_sync *c;
	struct export_dir dir;
	struct buf text, room;
	uint64_t *ids;
	size_t n, max, done;
	bool lost;
};

static bool
note_id(void *arg, uint64_t id, bool imported)
{
	struct importing *i = arg;

	if (imported)
		return true;
	if (i->n == i->max) {
		size_t max = i->max ? i->max * 2 : 256;
		uint64_t *more = realloc(i->ids, max * sizeof(*more));

		if (!more)
			return false;
		i->ids = more;
		i->max = max;
	}
	i->ids[i->n++] = id;
	return true;
}

static bool
send_pieces(struct importing *i, unsigned type, struct span s)
{
	while (s.n) {
		struct ipc_queue_admin_import_envelope e = { .id = 1, .bytes = span_sub(s, 0, IPC_DATA_MAX) };
		struct ipc_queue_admin_import_bytes b = { .id = 1, .bytes = e.bytes };

		if (!mailctl_send(i->c, type, type == IPC_queue_admin_import_bytes ? (const void *)&b : (const void *)&e))
			return false;
		s = span_from(s, e.bytes.n);
	}
	return true;
}

static bool
send_content(struct importing *i, int fd, uint64_t size)
{
	struct vfs *v = i->dir.vfs;
	char bytes[IPC_DATA_MAX];
	bool ok = true;

	for (uint64_t at = 0; ok && at < size;) {
		size_t n = size - at < sizeof(bytes) ? (size_t)(size - at) : sizeof(bytes);

		ok = vfs_read_all(v, fd, bytes, n, at) && send_pieces(i, IPC_queue_admin_import_bytes, span_of(bytes, n));
		at += n;
	}
	return ok;
}

static bool
import_one(struct importing *i, uint64_t id, struct fail *why)
{
	struct ipc_queue_admin_import begin = { .id = 1, .hold = i->m->hold };
	struct ipc_queue_admin_import_end end = { .id = 1 };
	struct ipc_queue_admin_done done = { .ok = false };
	struct export_message x;
	int fd = -1;
	bool ok;

	buf_reset(&i->text);
	buf_reset(&i->room);
	if (!export_read(&i->dir, id, &i->text, &i->room, &x, &fd, why))
		return false;
	ok = mailctl_send(i->c, IPC_queue_admin_import, &begin) && send_pieces(i, IPC_queue_admin_import_envelope, buf_span(&i->text)) &&
	    send_content(i, fd, x.envelope.size) && queue_ask_on(i->m, i->c, IPC_queue_admin_import_end, &end, NULL, NULL, &done) == 0;
	(void)i->dir.vfs->ops->close(i->dir.vfs, fd);
	if (!ok) {
		i->lost = true;
		return fail_set(why, FAIL_TEMP, 0, "not imported: the connection to queued is lost");
	}
	if (!done.ok)
		return fail_set(why, FAIL_PERM, 0, "%.*s", SPAN_ARG(done.text));
	return export_imported(&i->dir, id, why);
}

static int
import_all(struct importing *i)
{
	int status = 0;

	for (size_t k = 0; k < i->n && !i->lost && (!i->m->limit || i->done < i->m->limit); k++) {
		char id[QUEUEID_TEXT + 1];
		struct fail why = { .text = "" };

		(void)queueid_text(i->ids[k], id);
		if (!i->m->dry_run && !import_one(i, i->ids[k], &why))
			status = mailctl_fail(i->lost ? EX_UNAVAILABLE_ : EX_FAILED, "%s: %s", id, why.text);
		else if (i->m->json)
			(void)printf("{\"id\":\"%s\",\"action\":\"imported\",\"dry_run\":%s}\n", id, i->m->dry_run ? "true" : "false");
		else if (!i->m->quiet)
			(void)printf("%s %simported%s\n", id, i->m->dry_run ? "would be " : "", i->m->hold ? ", on hold" : "");
		i->done += !why.text[0];
	}
	if (!i->m->json)
		(void)printf("%zu of %zu message%s %simported\n", i->done, i->n, i->n == 1 ? "" : "s", i->m->dry_run ? "would be " : "");
	return status;
}

int
queue_cmd_import(struct mailctl *m)
{
	struct importing i = { .m = m };
	struct fail why = { .text = "" };
	int status = EX_FAILED;

	if (m->nargs != 1)
		return mailctl_usage(m);
	if (!export_open(&i.dir, m->args[0], EXPORT_EML, false, &why))
		return mailctl_fail(EX_FAILED, "%s: %s", m->args[0], why.text);
	buf_init(&i.text, EXPORT_TEXT_MAX);
	buf_init(&i.room, EXPORT_TEXT_MAX);
	i.c = mailctl_connect(m, &ipc_channel_queue_admin);
	if (!i.c)
		status = EX_UNAVAILABLE_;
	else if (!export_each(&i.dir, note_id, &i, &why))
		(void)mailctl_fail(0, "%s: %s", m->args[0], why.text);
	else
		status = import_all(&i);
	channel_sync_free(&i.c);
	free(i.ids);
	buf_free(&i.text);
	buf_free(&i.room);
	if (i.dir.vfs && !export_sync(&i.dir, &why)) /* no harm: queued knows them as well */
		(void)mailctl_fail(0, "%s: %s", m->args[0], why.text);
	export_close(&i.dir);
	return status;
}
