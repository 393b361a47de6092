/* SPDX-License-Identifier: ISC
 *
 * trace: the story of a message, from its connection to the last reply, from
 * the log and, while it is still queued, from queued.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/queueid.h"
#include "tools/common/term.h"
#include "tools/mailctl/trace.h"

enum { TEXT_ROOM = 65536, LIVE_MS = 5000 };

/* What the words of events.def mean in a message's life. */
static const struct {
	struct span event;
	const char *says;
} words[] = {
	{ SPAN_INIT("connect"), "connected" },
	{ SPAN_INIT("tls"), "encrypted" },
	{ SPAN_INIT("auth"), "login" },
	{ SPAN_INIT("reject"), "REFUSED" },
	{ SPAN_INIT("access"), "rule" },
	{ SPAN_INIT("received"), "accepted" },
	{ SPAN_INIT("disconnect"), "left" },
	{ SPAN_INIT("queued"), "queued" },
	{ SPAN_INIT("route"), "routed" },
	{ SPAN_INIT("attempt"), "not taken" },
	{ SPAN_INIT("bounce"), "reported" },
	{ SPAN_INIT("expired"), "expired" },
	{ SPAN_INIT("removed"), "done" },
};

static void
put_says(const struct log_line *l, struct buf *out)
{
	size_t at = span_find(l->rest, SPAN(" status="));

	if (span_eq(l->event, SPAN("delivery")) && at != SIZE_MAX) {
		struct span status = span_from(l->rest, at + 8);

		buf_printf(out, "%-9.*s", SPAN_ARG(span_sub(status, 0, span_chr(status, ' '))));
		return;
	}
	for (size_t i = 0; i < sizeof(words) / sizeof(*words); i++)
		if (span_eq(l->event, words[i].event)) {
			buf_printf(out, "%-9s", words[i].says);
			return;
		}
	buf_printf(out, "%-9.*s", SPAN_ARG(l->event));
}

/* The rest without the ids that the heading has said. */
static void
put_rest(const struct log_line *l, struct buf *out)
{
	struct span rest = l->rest;

	while (rest.n) {
		struct span word = span_cut(&rest, ' ');

		if (word.n && (span_starts(word, SPAN("id=")) || span_starts(word, SPAN("session="))) && (size_t)(word.p - l->rest.p) < 420)
			continue;
		buf_putc(out, ' ');
		buf_put(out, word);
	}
}

static void
put_time(int64_t ms, struct span stamp, struct buf *out)
{
	time_t t = (time_t)(ms / 1000);
	char text[32];
	struct tm tm;

	if (ms >= 0 && localtime_r(&t, &tm) && strftime(text, sizeof(text), "%Y-%m-%d %H:%M:%S", &tm))
		buf_printf(out, "%s.%03d", text, (int)(ms % 1000));
	else
		buf_put(out, stamp);
}

static void
json_event(const struct trace_story *s, const struct log_line *l, struct buf *out)
{
	buf_printf(out, "{\"%s\":\"%.*s\",\"time\":", s->is_session ? "session" : "id", SPAN_ARG(s->id));
	if (l->time_ms >= 0)
		buf_printf(out, "%" PRId64 ".%03d", l->time_ms / 1000, (int)(l->time_ms % 1000));
	else
		buf_puts(out, "null");
	if (s->about)
		buf_printf(out, ",\"report_about\":\"%.*s\"", SPAN_ARG(s->about->id));
	buf_puts(out, ",\"program\":");
	desc_json_string(out, l->tag);
	buf_puts(out, ",\"event\":");
	desc_json_string(out, l->event);
	buf_puts(out, ",\"text\":");
	desc_json_string(out, l->rest);
	buf_puts(out, "}\n");
}

/* Seconds, as "+0.021"; what came before has its sign, too, where they are none. */
static void
put_after(int64_t ms, struct buf *out)
{
	char text[32];

	(void)snprintf(text, sizeof(text), "%c%" PRId64 ".%03d", ms < 0 ? '-' : '+', ms < 0 ? -(ms / 1000) : ms / 1000, abs((int)(ms % 1000)));
	buf_printf(out, " %12s", text);
}

static void
put_event(const struct mailctl *m, const struct trace_story *s, const struct log_line *l, int64_t begun_ms, struct buf *out)
{
	buf_reset(out);
	if (m->json) {
		json_event(s, l, out);
	} else {
		buf_puts(out, "  ");
		put_time(l->time_ms, l->stamp, out);
		if (begun_ms >= 0 && l->time_ms >= 0)
			put_after(l->time_ms - begun_ms, out);
		buf_printf(out, "  %-7.*s ", SPAN_ARG(l->tag));
		put_says(l, out);
		put_rest(l, out);
		buf_putc(out, '\n');
	}
	(void)fwrite(buf_span(out).p, 1, buf_len(out), stdout);
}

/* ---- what queued knows ---- */

static void
tell_item(const struct mailctl *m, const struct trace_story *s, const struct ipc_queue_admin_item *item)
{
	if (m->json)
		(void)printf("{\"id\":\"%.*s\",\"now\":\"%.*s\"}\n", SPAN_ARG(s->id), SPAN_ARG(item->state));
	else
		(void)printf("  now: in the queue, %.*s\n", SPAN_ARG(item->state));
}

static void
tell_recipient(const struct mailctl *m, const struct ipc_queue_admin_item_rcpt *r, struct buf *out)
{
	if (m->json)
		return;
	buf_reset(out);
	buf_printf(out, "       <%.*s>", SPAN_ARG(r->address));
	if (r->next_ms) {
		buf_puts(out, " next attempt ");
		put_time((int64_t)r->next_ms, SPAN_NONE, out);
	}
	if (r->destination.n)
		buf_printf(out, " at %.*s", SPAN_ARG(r->destination));
	if (r->reason.n)
		buf_printf(out, ": %.*s", SPAN_ARG(r->reason));
	(void)printf("%.*s\n", SPAN_ARG(buf_span(out)));
}

/* Silent where the suite does not run: the log has told. */
static void
tell_live(const struct mailctl *m, const struct trace_story *s, struct buf *out)
{
	char path[B_PATH + 20], filter[40];
	struct ipc_queue_admin_list list = { .id = 1, .limit = 1 };
	struct channel_sync *c;
	const void *answer;
	unsigned type;

	(void)snprintf(path, sizeof(path), "%s/%s", m->conf->run_directory.p, ipc_channel_queue_admin.name);
	(void)snprintf(filter, sizeof(filter), "id:%.*s", SPAN_ARG(span_sub(s->id, 0, QUEUEID_TEXT)));
	list.filter = span_str(filter);
	c = channel_sync_connect(path, &ipc_channel_queue_admin, NULL);
	if (c && channel_sync_send(c, IPC_queue_admin_list, &list, -1, LIVE_MS, NULL))
		while (channel_sync_recv(c, &type, &answer, NULL, LIVE_MS, NULL) && type != IPC_queue_admin_done) {
			if (type == IPC_queue_admin_item)
				tell_item(m, s, answer);
			else if (type == IPC_queue_admin_item_rcpt)
				tell_recipient(m, answer, out);
		}
	channel_sync_free(&c);
}

/* ---- stories ---- */

static void
tell_head(const struct trace_story *s)
{
	if (s->is_session)
		(void)printf("session %.*s\n", SPAN_ARG(s->id));
	else if (s->about)
		(void)printf("message %.*s, the report about %.*s\n", SPAN_ARG(s->id), SPAN_ARG(s->about->id));
	else
		(void)printf("message %.*s\n", SPAN_ARG(s->id));
}

static int64_t
begin_of(const struct trace_story *s)
{
	uint64_t id;

	return queueid_parse(s->id, &id) ? queueid_time_ms(id) : -1;
}

static void
tell_story(const struct mailctl *m, const struct trace_story *s, struct buf *out)
{
	size_t n = 0;
	struct trace_event **all = trace_events(s, &n);

	if (!m->json)
		tell_head(s);
	for (size_t i = 0; all && i < n; i++)
		put_event(m, s, &all[i]->line, begin_of(s), out);
	free(all);
	if (!s->is_session && !s->removed)
		tell_live(m, s, out);
}

static bool
is_told(const struct trace_story *s, int64_t since_ms)
{
	bool late = false;

	for (const struct trace_event *e = s->events; e && !late; e = e->next)
		late = e->line.time_ms < 0 || e->line.time_ms >= since_ms;
	return s->found && late && (!s->is_session || s->refused);
}

static unsigned
tell_all(const struct mailctl *m, const struct trace *t, int64_t since_ms, struct buf *out)
{
	unsigned told = 0;

	for (const struct trace_story *s = t->first; s; s = s->next) {
		if (!is_told(s, since_ms))
			continue;
		if (told++ && !m->json)
			(void)printf("\n");
		tell_story(m, s, out);
	}
	return told;
}

struct following {
	const struct mailctl *m;
	struct trace *t;
	struct buf *out;
	const struct trace_story *last;
	bool over;
};

static void
on_new_event(void *arg, struct trace_story *s, const struct trace_event *e)
{
	struct following *f = arg;

	if (s != f->last && !f->m->json)
		tell_head(s);
	f->last = s;
	put_event(f->m, s, &e->line, begin_of(s), f->out);
	(void)fflush(stdout);
}

static bool
on_new(void *arg, struct span text)
{
	struct following *f = arg;

	trace_add(f->t, text, on_new_event, f);
	return true;
}

/* The line that says a message is done and those that say why may come in any order. */
static bool
go_on(void *arg)
{
	struct following *f = arg;
	bool over = f->over;

	f->over = trace_is_over(f->t);
	return !(over && f->over);
}

/* ---- progress ---- */

static void
on_progress(void *arg, const char *path, unsigned percent)
{
	if (term_progress_due(arg))
		(void)fprintf(stderr, "\r%s: %u%%\033[K", path, percent);
}

static bool
read_log(struct trace *t, struct logfiles *files, int64_t since_ms, struct fail *why)
{
	struct term_progress progress;
	bool ok;

	term_progress_begin(&progress);
	files->on_progress = on_progress;
	files->arg = &progress;
	ok = trace_read(t, files, since_ms, why);
	files->on_progress = NULL;
	files->arg = NULL;
	term_progress_end(&progress);
	return ok;
}

/* ---- the command ---- */

/* A Message-ID or an address may have a slash, too. */
static bool
is_path(const char *text)
{
	bool id = text[0] == '<' || (strchr(text, '@') && text[0] != '/' && text[0] != '.');

	return strcmp(text, "-") == 0 || (strchr(text, '/') && !id);
}

bool
trace_is_received(const struct mailctl *m)
{
	return m->received || (m->nargs == 0 && !isatty(STDIN_FILENO)) || (m->nargs == 1 && is_path(m->args[0]));
}

/* A time as the log has it, or so long ago: 90s, 10m, 2h, 3d. */
bool
mailctl_since(const char *text, int64_t *ms)
{
	static const struct {
		char unit;
		int64_t ms;
	} units[] = { { 's', 1000 }, { 'm', 60000 }, { 'h', 3600000 }, { 'd', 86400000 } };
	struct span s = span_str(text);
	uint64_t n;

	*ms = 0;
	if (!text)
		return true;
	for (size_t i = 0; i < sizeof(units) / sizeof(*units); i++)
		if (s.n > 1 && s.p[s.n - 1] == units[i].unit && span_u64(span_sub(s, 0, s.n - 1), 1000000, &n)) {
			*ms = (int64_t)time(NULL) * 1000 - (int64_t)n * units[i].ms;
			return true;
		}
	*ms = log_time_parse(s);
	return *ms >= 0;
}

static bool
find_log(const struct mailctl *m, struct logfiles *files, struct fail *why)
{
	static const char *const usual[] = { "/var/log/mail.log", "/var/log/maillog", "/var/log/syslog", "/var/log/messages" };

	if (m->log || strcmp(m->conf->maillog_file.p, "syslog") != 0)
		return logfiles_find(files, m->log ? m->log : m->conf->maillog_file.p, why);
	for (size_t i = 0; i < sizeof(usual) / sizeof(*usual); i++)
		if (logfiles_find(files, usual[i], why))
			return true;
	return fail_set(why, FAIL_PERM, 0, "maillog_file is syslog, and none of its usual files is there: name one with --log");
}

static int
run(struct mailctl *m, struct trace *t, struct logfiles *files, int64_t since_ms)
{
	struct fail why = { .text = "" };
	struct following f = { .m = m, .t = t };
	struct buf out;
	unsigned told;

	if (!read_log(t, files, since_ms, &why))
		return mailctl_fail(EX_FAILED, "%s", why.text);
	buf_init(&out, TEXT_ROOM);
	f.out = &out;
	told = tell_all(m, t, since_ms, &out);
	(void)fflush(stdout);
	if (t->cut)
		(void)fprintf(m->json ? stderr : stdout, "\nThere is more: these are the latest %zu messages; --limit shows others.\n", t->limit);
	if (m->follow && !trace_is_over(t) && !logfiles_follow(files, on_new, go_on, &f, &why))
		(void)mailctl_fail(0, "%s", why.text);
	buf_free(&out);
	if (told || f.last)
		return 0;
	return mailctl_fail(EX_FAILED, "nothing in %zu log files is about %.*s", files->n, SPAN_ARG(t->query));
}

int
trace_cmd(struct mailctl *m)
{
	struct logfiles *files;
	struct fail why = { .text = "" };
	struct trace t;
	int64_t since_ms;
	int status = EX_FAILED;

	if (trace_is_received(m))
		return trace_received(m);
	if (m->nargs != 1)
		return mailctl_usage(m);
	if (!mailctl_since(m->since, &since_ms))
		return mailctl_fail(EX_USAGE_, "--since takes 2026-11-21T08:00, or 90s, 10m, 2h, 3d");
	files = calloc(1, sizeof(*files));
	trace_init(&t, m->args[0], (size_t)m->limit);
	if (files && find_log(m, files, &why))
		status = run(m, &t, files, since_ms);
	else
		(void)mailctl_fail(0, "%s", files ? why.text : "no memory");
	trace_free(&t);
	free(files);
	return status;
}
