/* SPDX-License-Identifier: ISC */
#include "tools/sendmail/post.h"

#include <errno.h>
#include <pwd.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "base/queueid.h"
#include "tools/common/term.h"

int
post_fatal(const char *program, int status, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	(void)fprintf(stderr, "%s: fatal: ", program);
	(void)vfprintf(stderr, fmt, ap);
	(void)fputc('\n', stderr);
	va_end(ap);
	return status;
}

const struct conf *
post_conf(const char *config, struct arena *arena)
{
	const char *env = getenv("PILLARPOST_CONFIG");
	const struct conf *conf;
	struct stat st;
	char path[B_PATH];

	if (!config)
		config = env && *env ? env : SYSCONFDIR "/pillarpost.conf";
	(void)snprintf(path, sizeof(path), "%s%s", config, stat(config, &st) == 0 && S_ISDIR(st.st_mode) ? "/pillarpost.conf" : "");
	arena_init(arena, (size_t)CONF_ARENA_MAX * 4);
	conf = conf_load_to_ask(path, arena, stderr);
	if (!conf)
		arena_free(arena);
	return conf;
}

struct channel_sync *
post_connect(const struct conf *conf, const struct ipc_channel *type, struct fail *why)
{
	char path[B_PATH];

	(void)snprintf(path, sizeof(path), "%s/%s", conf->run_directory.p, type->name);
	return channel_sync_connect(path, type, why);
}

/* ---- listing ---- */

struct listing {
	bool json;
	uint64_t items;
	time_t second; /* whose text stands in when */
	char when[32];
	uint32_t expected, seen;
	struct buf reason, line;
};

static char
state_mark(const struct ipc_queue_view_item *item)
{
	return span_eq(item->state, SPAN("active")) ? '*' : span_eq(item->state, SPAN("hold")) ? '!' : item->expired ? '#' : ' ';
}

/* The columns of Postfix with long queue ids. */
static void
print_item(struct listing *l, const struct ipc_queue_view_item *item)
{
	char id[QUEUEID_TEXT + 2];
	time_t t = (time_t)(item->arrived_ms / 1000);
	size_t n = queueid_text(item->message, id).n;
	struct tm tm;

	id[n] = state_mark(item);
	id[n + 1] = '\0';
	if (t != l->second && localtime_r(&t, &tm)) {
		(void)strftime(l->when, sizeof(l->when), "%a %b %e %H:%M:%S", &tm);
		l->second = t;
	}
	if (l->items++ == 0)
		(void)printf("%-17s %8s %-19s %s\n", "----Queue ID-----", "--Size--", "---Arrival Time----", "--Sender/Recipient------");
	else
		(void)putchar('\n');
	buf_reset(&l->line);
	term_put(&l->line, item->sender.n ? item->sender : SPAN("MAILER-DAEMON"));
	(void)printf("%-17s %8llu %19.19s %.*s\n", id, (unsigned long long)item->size, l->when, SPAN_ARG(buf_span(&l->line)));
}

static void
print_recipient(struct listing *l, const struct ipc_queue_view_item_rcpt *r)
{
	if (r->reason.n) { /* at the right, where there is room: so does Postfix */
		buf_reset(&l->line);
		term_put(&l->line, r->reason);
		(void)printf("%*s(%.*s)\n", buf_len(&l->line) < 76 ? (int)(76 - buf_len(&l->line)) : 0, "", SPAN_ARG(buf_span(&l->line)));
	}
	buf_reset(&l->line);
	term_put(&l->line, r->address);
	(void)printf("%-17s %8s %-19s %.*s\n", "", "", "", SPAN_ARG(buf_span(&l->line)));
}

static void
json_item(struct listing *l, const struct ipc_queue_view_item *item)
{
	char id[QUEUEID_TEXT + 1];
	struct buf *out = &l->line;

	buf_reset(out);
	buf_reset(&l->reason);
	l->expected = item->recipients;
	l->seen = 0;
	buf_printf(out, "{\"queue_name\": \"%.*s\", \"queue_id\": \"%s\", \"arrival_time\": %llu, \"message_size\": %llu, \"forced_expire\": %s, \"sender\": ",
	    SPAN_ARG(item->state), queueid_text(item->message, id).p, (unsigned long long)(item->arrived_ms / 1000),
	    (unsigned long long)item->size, item->expired ? "true" : "false");
	desc_json_string(out, item->sender.n ? item->sender : SPAN("MAILER-DAEMON"));
	buf_puts(out, ", \"recipients\": [");
	if (!item->recipients)
		(void)printf("%.*s]}\n", SPAN_ARG(buf_span(out)));
}

static void
json_recipient(struct listing *l, const struct ipc_queue_view_item_rcpt *r)
{
	struct buf *out = &l->line;

	if (r->reason.n) {
		buf_reset(&l->reason);
		buf_put(&l->reason, r->reason);
	}
	buf_puts(out, l->seen ? ", {\"address\": " : "{\"address\": ");
	desc_json_string(out, r->address);
	if (buf_len(&l->reason)) {
		buf_puts(out, ", \"delay_reason\": ");
		desc_json_string(out, buf_span(&l->reason));
	}
	buf_puts(out, "}");
	if (++l->seen == l->expected)
		(void)printf("%.*s]}\n", SPAN_ARG(buf_span(out)));
}

static void
list_row(struct listing *l, unsigned type, const void *m)
{
	if (type == IPC_queue_view_item && l->json)
		json_item(l, m);
	else if (type == IPC_queue_view_item)
		print_item(l, m);
	else if (l->json)
		json_recipient(l, m);
	else
		print_recipient(l, m);
}

static int
denied(const char *program, const char *what)
{
	const struct passwd *pw = getpwuid(getuid());

	return post_fatal(program, EX_NOPERM, "User %s(%ld) is not allowed to %s the mail queue", pw ? pw->pw_name : "unknown", (long)getuid(), what);
}

/* Rows up to done, which is copied but for its text: that is printed. False: said so, *status tells. */
static bool
answer(const char *program, struct channel_sync *c, struct listing *l, struct ipc_queue_view_done *done, int *status)
{
	struct fail why = { .text = "" };
	const void *m;
	unsigned type;

	while (channel_sync_recv(c, &type, &m, NULL, POST_ANSWER_MS, &why)) {
		if (type != IPC_queue_view_done) {
			list_row(l, type, m);
			continue;
		}
		*done = *(const struct ipc_queue_view_done *)m;
		if (done->ok)
			return true;
		*status = done->denied ? denied(program, l ? "view" : "flush") : post_fatal(program, EX_UNAVAILABLE, "%.*s", SPAN_ARG(done->text));
		return false;
	}
	*status = post_fatal(program, EX_UNAVAILABLE, "no answer from queued: %s", why.text);
	return false;
}

int
post_list(const char *program, const struct conf *conf, bool json)
{
	struct listing l = { .json = json };
	struct ipc_queue_view_done done;
	struct fail why = { .text = "" };
	struct channel_sync *c = post_connect(conf, &ipc_channel_queue_view, &why);
	int status = EX_OK;

	if (!c || !channel_sync_send(c, IPC_queue_view_list, &(struct ipc_queue_view_list){ .id = 1 }, -1, POST_ANSWER_MS, &why)) {
		channel_sync_free(&c);
		return post_fatal(program, EX_UNAVAILABLE, "Queue report unavailable - mail system is down (%s)", why.text);
	}
	buf_init(&l.line, 64 * 1024 * 1024);
	buf_init(&l.reason, B_REPLY);
	if (!isatty(STDOUT_FILENO))
		(void)setvbuf(stdout, NULL, _IOFBF, 65536);
	if (answer(program, c, &l, &done, &status) && !json) {
		if (l.items)
			(void)printf("\n-- %llu Kbytes in %llu Request%s.\n", (unsigned long long)(done.size + 1023) / 1024,
			    (unsigned long long)done.count, done.count == 1 ? "" : "s");
		else
			(void)printf("Mail queue is empty\n");
	}
	buf_free(&l.line);
	buf_free(&l.reason);
	channel_sync_free(&c);
	return fflush(stdout) == 0 ? status : EX_IOERR;
}

int
post_flush(const char *program, const struct conf *conf, const struct ipc_queue_view_flush *what)
{
	struct ipc_queue_view_done done;
	struct fail why = { .text = "" };
	struct channel_sync *c = post_connect(conf, &ipc_channel_queue_view, &why);
	int status = EX_OK;

	if (!c || !channel_sync_send(c, IPC_queue_view_flush, what, -1, POST_ANSWER_MS, &why))
		status = post_fatal(program, EX_UNAVAILABLE, "Cannot flush mail queue - mail system is down (%s)", why.text);
	else
		(void)answer(program, c, NULL, &done, &status);
	channel_sync_free(&c);
	return status;
}

/* ---- postqueue ---- */

static int
usage(void)
{
	return post_fatal("postqueue", EX_USAGE, "usage: postqueue -f | postqueue -i queueid | postqueue -j | postqueue -p | postqueue -s site");
}

int
postqueue_main(int argc, char **argv)
{
	struct ipc_queue_view_flush flush = { .id = 1 };
	const char *config = NULL;
	const struct conf *conf;
	struct arena arena;
	int what = 0, c, status;

	while ((c = getopt(argc, argv, "c:fi:jps:v")) > 0) {
		if (c == 'c') {
			config = optarg;
		} else if (c == '?' || (c != 'v' && what)) {
			return usage();
		} else if (c != 'v') {
			what = c;
			if (c == 'i' && !queueid_parse(span_str(optarg), &flush.message))
				return post_fatal("postqueue", EX_USAGE, "Cannot flush queue ID - invalid name: \"%.100s\"", optarg);
			if (c == 's')
				flush.site = span_str(optarg);
		}
	}
	if (!what || optind < argc)
		return usage();
	if (what == 's' && (!flush.site.n || flush.site.n > B_HOST))
		return post_fatal("postqueue", EX_USAGE, "Cannot flush mail queue - invalid destination: \"%.100s\"", flush.site.p);
	conf = post_conf(config, &arena);
	status = !conf ? EX_CONFIG : what == 'p' || what == 'j' ? post_list("postqueue", conf, what == 'j') : post_flush("postqueue", conf, &flush);
	arena_free(&arena);
	return status;
}
