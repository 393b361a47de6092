/* SPDX-License-Identifier: ISC
 *
 * spoolcheck: looks into a queue directory while no queued is running: reads
 * every record, says what is damaged, prints, exports.  Writes nothing into
 * the queue directory.
 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/queueid.h"
#include "journal/blob.h"
#include "log/log.h"
#include "queue/queue.h"

enum { EXIT_GOOD = 0, EXIT_DAMAGED = 1, EXIT_TROUBLE = 2, EXIT_USAGE = 64, CHUNK = 65536, RECORD_ROOM = JOURNAL_RECORD_MAX + 4096 };

struct check {
	struct vfs *vfs;
	struct journal *journal;
	struct queue *queue;
	const char *target; /* export */
	unsigned damaged, unreadable;
};

static void
on_event(void *arg, const struct fail *what)
{
	(void)arg;
	(void)fprintf(stderr, "spoolcheck: %s\n", what->text);
}

static bool
complain(const struct fail *why)
{
	(void)fprintf(stderr, "spoolcheck: %s\n", why->text);
	return false;
}

static bool
open_journal(struct check *c)
{
	struct journal_options o = { .vfs = c->vfs, .dir = "journal", .kind = "queu", .read_only = true, .on_event = on_event };
	struct fail why;

	c->journal = journal_open(&o, &why);
	return c->journal || complain(&why);
}

static int64_t
now_ms(void *arg)
{
	(void)arg;
	return (int64_t)time(NULL) * 1000;
}

static void
no_wake(void *arg, int64_t at_ms)
{
	(void)arg, (void)at_ms;
}

static bool
open_queue(struct check *c)
{
	static const struct queue_params p = { .initial_concurrency = 1, .concurrency_limit = 1, .local_concurrency_limit = 1 };
	const struct queue_ports ports = { .now_ms = now_ms, .wake = no_wake };
	struct fail why = { .class = FAIL_NONE };

	if (!open_journal(c))
		return false;
	c->queue = queue_new(c->journal, c->vfs, &p, &ports);
	return (c->queue && queue_inspect(c->queue, &c->damaged, &why)) || complain(&why);
}

/* Copies a message's content to out (may be NULL: only read it). */
static bool
read_content(struct check *c, const struct message *m, struct record_envelope *e, struct buf *room, FILE *out, struct fail *why)
{
	struct span content;
	char name[40], *bytes;
	uint64_t at = 0;
	int fd;
	bool ok;

	if (!queue_read(c->queue, m, room, e, &content, why))
		return false;
	if (!e->blob)
		return content.n == e->size ? !out || fwrite(content.p, 1, content.n, out) == content.n || fail_errno(why, 0, "cannot write")
		                            : fail_set(why, FAIL_PERM, 0, "content is %zu bytes, not %" PRIu64, content.n, e->size);
	queue_blob_name(message_id(m), name);
	fd = blob_open(c->vfs, name, why);
	bytes = malloc(CHUNK);
	ok = fd >= 0 && bytes;
	while (ok && at < e->size) {
		size_t n = e->size - at < CHUNK ? (size_t)(e->size - at) : CHUNK;

		ok = vfs_read_all(c->vfs, fd, bytes, n, at) || fail_errno(why, 0, "cannot read %s", name);
		if (ok && out)
			ok = fwrite(bytes, 1, n, out) == n || fail_errno(why, 0, "cannot write");
		at += n;
	}
	if (fd >= 0)
		(void)c->vfs->ops->close(c->vfs, fd);
	free(bytes);
	return ok;
}

static void
show_recipients(const struct message *m)
{
	for (uint32_t i = 0; i < m->nrcpts; i++)
		if (!m->rcpts[i].settled)
			(void)printf("    <%.*s>\n", SPAN_ARG(text_span(m->rcpts[i].address)));
}

static void
show_message(const struct message *m)
{
	char id[QUEUEID_TEXT + 1], when[40] = "";
	time_t t = (time_t)(queueid_time_ms(message_id(m)) / 1000);
	struct tm tm;

	if (gmtime_r(&t, &tm))
		(void)strftime(when, sizeof(when), "%Y-%m-%d %H:%M:%SZ", &tm);
	(void)printf("%-13s %10" PRIu64 "  %s  <%.*s>%s\n", queueid_text(message_id(m), id).p, m->size, when,
	    SPAN_ARG(text_span(m->sender)), m->flags & MESSAGE_HELD ? "  held" : "");
	if (m->reason)
		(void)printf("    (%.*s)\n", SPAN_ARG(word_span(m->reason)));
	show_recipients(m);
}

/* ID.eml, and ID.env with what the queue knew: lines a shell can read. */
static bool
export_message(struct check *c, const struct message *m, struct buf *room, struct fail *why)
{
	char id[QUEUEID_TEXT + 1], path[1200];
	struct record_envelope e;
	FILE *f;
	bool ok;

	(void)queueid_text(message_id(m), id);
	(void)snprintf(path, sizeof(path), "%s/%s.eml", c->target, id);
	f = fopen(path, "wx");
	if (!f)
		return fail_errno(why, 0, "cannot create %s", path);
	ok = read_content(c, m, &e, room, f, why);
	ok = fclose(f) == 0 && ok;
	(void)snprintf(path, sizeof(path), "%s/%s.env", c->target, id);
	f = ok ? fopen(path, "wx") : NULL;
	if (!f)
		return ok ? fail_errno(why, 0, "cannot create %s", path) : false;
	(void)fprintf(f, "id=%s\nsender=%.*s\nclient=%.*s[%.*s]\nlogin=%.*s\n", id, SPAN_ARG(e.sender), SPAN_ARG(e.client_name),
	    SPAN_ARG(e.client_addr), SPAN_ARG(e.sasl_user));
	for (uint32_t i = 0; i < m->nrcpts; i++)
		if (!m->rcpts[i].settled)
			(void)fprintf(f, "recipient=%.*s\n", SPAN_ARG(text_span(m->rcpts[i].address)));
	return fclose(f) == 0 || fail_errno(why, 0, "cannot write %s", path);
}

enum what { VERIFY, LIST, EXPORT };

static int
each_message(struct check *c, enum what what)
{
	struct record_envelope e;
	struct fail why = { .class = FAIL_NONE };
	struct buf room;
	uint64_t *ids, bytes = 0;
	size_t n;

	if (!open_queue(c))
		return EXIT_TROUBLE;
	n = queue_ids(c->queue, &ids);
	buf_init(&room, RECORD_ROOM);
	for (size_t i = 0; i < n; i++) {
		const struct message *m = queue_find(c->queue, ids[i]);
		char id[QUEUEID_TEXT + 1];
		bool ok = true;

		buf_reset(&room);
		if (what == LIST)
			show_message(m);
		else
			ok = what == EXPORT ? export_message(c, m, &room, &why) : read_content(c, m, &e, &room, NULL, &why);
		bytes += m->size;
		if (!ok) {
			c->unreadable++;
			(void)fprintf(stderr, "spoolcheck: %s: %s\n", queueid_text(ids[i], id).p, why.text);
		}
	}
	(void)printf("%zu messages, %" PRIu64 " bytes, %u damaged places, %u messages unreadable\n", n, bytes, c->damaged, c->unreadable);
	buf_free(&room);
	free(ids);
	return c->damaged || c->unreadable ? EXIT_DAMAGED : EXIT_GOOD;
}

static bool
print_record(void *arg, const struct journal_record *r)
{
	struct buf out;

	(void)arg;
	buf_init(&out, 32 * 1024 * 1024);
	record_print(r, &out);
	(void)printf("%.*s\n", SPAN_ARG(buf_span(&out)));
	buf_free(&out);
	return true;
}

static int
print_all(struct check *c)
{
	struct fail why;

	if (!open_journal(c))
		return EXIT_TROUBLE;
	if (!journal_replay(c->journal, print_record, c, &c->damaged, &why)) {
		(void)complain(&why);
		return EXIT_TROUBLE;
	}
	return c->damaged ? EXIT_DAMAGED : EXIT_GOOD;
}

static int
run(struct check *c, const char *verb)
{
	if (strcmp(verb, "verify") == 0)
		return each_message(c, VERIFY);
	if (strcmp(verb, "list") == 0)
		return each_message(c, LIST);
	if (strcmp(verb, "export") == 0 && c->target)
		return each_message(c, EXPORT);
	if (strcmp(verb, "print") == 0)
		return print_all(c);
	return EXIT_USAGE;
}

int
main(int argc, char **argv)
{
	struct check c = { .target = NULL };
	const char *dir = LOCALSTATEDIR "/spool/pillarpost";
	struct fail why;
	int status = EXIT_USAGE, option;

	while ((option = getopt(argc, argv, "d:")) == 'd')
		dir = optarg;
	if (option == -1 && optind < argc) {
		c.target = argv[optind + 1];
		log_set_level(LOG_LEVEL_ERROR);
		c.vfs = vfs_posix_new(dir, &why);
		if (!c.vfs) {
			(void)complain(&why);
			return EXIT_TROUBLE;
		}
		status = run(&c, argv[optind]);
		queue_free(&c.queue);
		journal_close(&c.journal);
		vfs_posix_free(&c.vfs);
	}
	if (status == EXIT_USAGE)
		(void)fputs("usage: spoolcheck [-d queue_directory] verify | list | print | export DIRECTORY\n", stderr);
	return status;
}
