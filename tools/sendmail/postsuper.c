/* SPDX-License-Identifier: ISC */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/queueid.h"
#include "tools/sendmail/post.h"

enum { IDS_AT_ONCE = 1000, STEPS_MAX = 200 };

static const struct verb {
	char letter;
	const char *verb, *one, *all; /* said of a message, and of all together */
} verbs[] = {
	{ 'd', "delete", "removed", "Deleted" },         { 'e', "expire", "expired", "Force-expired" },
	{ 'f', "expire", "expired", "Force-expired" },   { 'h', "hold", "placed on hold", "Placed on hold" },
	{ 'H', "release", "released from hold", "Released from hold" }, { 'r', "requeue", "requeued", "Requeued" },
};

struct super {
	struct channel_sync *c;
	struct buf where; /* " status:deferred,hold", or empty */
	struct buf filter;
	unsigned ids;     /* in it */
	uint64_t counts[sizeof(verbs) / sizeof(verbs[0])];
	bool failed;
};

static int
fatal(const char *text)
{
	return post_fatal("postsuper", 1, "%s", text);
}

/* What is in the filter is done; each message is told. */
static bool
send_verb(struct super *s, const struct verb *v)
{
	struct ipc_queue_admin_act act = { .id = 1, .verb = span_str(v->verb) };
	struct fail why = { .text = "the list of queue ids is too long" };
	const void *m;
	unsigned type;

	buf_put(&s->filter, buf_span(&s->where));
	act.filter = buf_span(&s->filter);
	if (!buf_ok(&s->filter) || !channel_sync_send(s->c, IPC_queue_admin_act, &act, -1, POST_ANSWER_MS, &why))
		return fatal(why.text) == 0;
	while (channel_sync_recv(s->c, &type, &m, NULL, POST_ANSWER_MS, &why)) {
		char id[QUEUEID_TEXT + 1];

		if (type == IPC_queue_admin_item) {
			s->counts[v - verbs]++;
			(void)fprintf(stderr, "postsuper: %s: %s\n", queueid_text(((const struct ipc_queue_admin_item *)m)->message, id).p, v->one);
		} else if (type == IPC_queue_admin_done) {
			const struct ipc_queue_admin_done *d = m;

			buf_reset(&s->filter);
			s->ids = 0;
			return d->ok || post_fatal("postsuper", 1, "%.*s", SPAN_ARG(d->text)) == 0;
		}
	}
	return fatal(why.text) == 0;
}

static bool
add_id(struct super *s, const struct verb *v, struct span word)
{
	char id[QUEUEID_TEXT + 1];
	uint64_t number;

	word = span_trim(word);
	if (!word.n)
		return true;
	if (!queueid_parse(word, &number)) {
		(void)fprintf(stderr, "postsuper: warning: invalid mail queue id: %.*s\n", (int)(word.n < 100 ? word.n : 100), word.p);
		return true;
	}
	buf_printf(&s->filter, "%s%s", s->ids ? "," : "id:", queueid_text(number, id).p);
	return ++s->ids < IDS_AT_ONCE || send_verb(s, v);
}

/* "-": one id a line on standard input. */
static bool
read_ids(struct super *s, const struct verb *v)
{
	char line[256];
	bool ok = true;

	while (ok && fgets(line, sizeof(line), stdin)) {
		struct span rest = span_str(line);

		ok = add_id(s, v, span_word(&rest));
	}
	return ok && (!s->ids || send_verb(s, v));
}

static bool
step(struct super *s, const struct verb *v, const char *what)
{
	if (strcmp(what, "ALL") == 0) {
		buf_puts(&s->filter, "all");
		return send_verb(s, v);
	}
	if (strcmp(what, "-") == 0)
		return read_ids(s, v);
	return add_id(s, v, span_str(what)) && (!s->ids || send_verb(s, v));
}

static const struct verb *
verb_of(int letter)
{
	for (size_t i = 0; i < sizeof(verbs) / sizeof(verbs[0]); i++)
		if (verbs[i].letter == letter)
			return &verbs[i];
	return NULL;
}

static int
usage(void)
{
	return fatal("usage: postsuper [-c config_dir] [-d queue_id] [-e queue_id] [-f queue_id] [-h queue_id] [-H queue_id] [-r queue_id] [-v] [queue...]");
}

/* The names of Postfix's queues behind the options. */
static bool
take_queues(struct super *s, char **names, int n)
{
	for (int i = 0; i < n; i++) {
		if (strcmp(names[i], "incoming") != 0 && strcmp(names[i], "active") != 0 && strcmp(names[i], "deferred") != 0 && strcmp(names[i], "hold") != 0)
			return fatal("queue names are incoming, active, deferred and hold") == 0;
		buf_printf(&s->where, "%s%s", i ? "," : " status:", names[i]);
	}
	return true;
}

static void
sum_up(const struct super *s)
{
	for (size_t i = 0; i < sizeof(verbs) / sizeof(verbs[0]); i++)
		if (s->counts[i])
			(void)fprintf(stderr, "postsuper: %s: %llu message%s\n", verbs[i].all, (unsigned long long)s->counts[i], s->counts[i] == 1 ? "" : "s");
}

int
postsuper_main(int argc, char **argv)
{
	struct super s = { .c = NULL };
	struct {
		const struct verb *v;
		const char *what;
	} steps[STEPS_MAX];
	const char *config = NULL;
	const struct conf *conf;
	struct arena arena;
	struct fail why = { .text = "" };
	size_t n = 0;
	int letter;
	bool ok;

	while ((letter = getopt(argc, argv, "c:d:e:f:h:H:pr:sSv")) > 0) {
		if (letter == '?' || n == STEPS_MAX)
			return usage();
		if (letter == 'c')
			config = optarg;
		else if (verb_of(letter)) /* -p, -s, -S: there is no structure of files to repair */
			steps[n].v = verb_of(letter), steps[n++].what = optarg;
	}
	conf = post_conf(config, &arena);
	if (!conf)
		return EX_CONFIG;
	buf_init(&s.where, 100);
	buf_init(&s.filter, B_FILTER);
	ok = take_queues(&s, argv + optind, argc - optind);
	if (ok && n) {
		s.c = post_connect(conf, &ipc_channel_queue_admin, &why);
		if (!s.c)
			ok = (why.err == EACCES ? fatal("use of this command is reserved for the superuser") : fatal(why.text)) == 0;
	}
	for (size_t i = 0; ok && i < n; i++)
		ok = step(&s, steps[i].v, steps[i].what);
	sum_up(&s);
	channel_sync_free(&s.c);
	buf_free(&s.where);
	buf_free(&s.filter);
	arena_free(&arena);
	return ok ? 0 : 1;
}
