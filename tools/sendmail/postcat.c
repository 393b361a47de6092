/* SPDX-License-Identifier: ISC */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/queueid.h"
#include "queue/export.h"
#include "tools/common/term.h"
#include "tools/sendmail/post.h"

struct cat {
	bool envelope, header, body;
	struct buf text, room;
	char name[B_NAME + QUEUEID_TEXT + 2]; /* "deferred/ID" */
	bool told, in_body, blank, cr; /* blank: at a line's beginning */
	bool failed;
};

static int
fatal(const char *text)
{
	return post_fatal("postcat", 1, "%s", text);
}

static void
print_record(const char *name, struct span value)
{
	struct buf line;

	buf_init(&line, 65536);
	term_put(&line, value);
	(void)printf("%s%.*s\n", name, SPAN_ARG(buf_span(&line)));
	buf_free(&line);
}

static void
print_attribute(const char *name, struct span value)
{
	char text[64];

	(void)snprintf(text, sizeof(text), "named_attribute: %s=", name);
	if (value.n)
		print_record(text, value);
}

static void
print_envelope(const struct record_envelope *e)
{
	time_t arrived = (time_t)(queueid_time_ms(e->id) / 1000);
	struct span list = e->list;
	struct record_recipient r;
	char when[64] = "";
	struct tm tm;
	bool ok = true;

	if (localtime_r(&arrived, &tm))
		(void)strftime(when, sizeof(when), "%a %b %e %H:%M:%S %Y", &tm);
	(void)printf("message_size: %llu\nmessage_arrival_time: %s\n", (unsigned long long)e->size, when);
	print_attribute("client_name", e->client_name);
	print_attribute("client_address", e->client_addr);
	print_attribute("helo_name", e->helo);
	print_attribute("protocol_name", e->protocol);
	print_attribute("sasl_username", e->sasl_user);
	print_attribute("envelope_id", e->envid);
	print_attribute("message_id", e->message_id);
	print_record("sender: ", e->sender);
	while (record_list_next(&list, &record_desc_recipient, &r, &ok)) {
		if (r.orcpt.n)
			print_record("original_recipient: ", r.orcpt);
		print_record(r.settled ? "done_recipient: " : "recipient: ", r.address);
	}
}

/* What comes in front of the content. */
static void
begin(struct cat *c)
{
	struct export_message x;
	struct fail why = { .text = "" };

	if (c->told)
		return;
	c->told = true;
	if (!c->envelope)
		return;
	(void)printf("*** ENVELOPE RECORDS %s ***\n", c->name);
	if (export_parse(buf_span(&c->text), &c->room, &x, &why))
		print_envelope(&x.envelope);
	else
		(void)fatal(why.text);
	(void)printf("*** MESSAGE CONTENTS %s ***\n", c->name);
}

/* Lines with LF; the header ends at the first empty one. */
static void
put_content(struct cat *c, struct span s)
{
	for (size_t i = 0; i < s.n; i++) {
		bool was_body = c->in_body;

		if (s.p[i] == '\r')
			continue;
		if (s.p[i] == '\n' && c->blank)
			c->in_body = true;
		c->blank = s.p[i] == '\n';
		if ((was_body || c->in_body) ? c->body : c->header)
			(void)putchar(s.p[i]);
	}
}

static void
take_row(struct cat *c, unsigned type, const void *row)
{
	if (type == IPC_queue_admin_unshown) {
		c->failed = true;
		(void)post_fatal("postcat", 1, "%.*s", SPAN_ARG(((const struct ipc_queue_admin_unshown *)row)->text));
	} else if (type == IPC_queue_admin_shown) {
		const struct ipc_queue_admin_shown *s = row;
		char id[QUEUEID_TEXT + 1];

		(void)snprintf(c->name, sizeof(c->name), "%.*s/%s", SPAN_ARG(s->state), queueid_text(s->message, id).p);
		c->blank = true;
	} else if (type == IPC_queue_admin_envelope) {
		buf_put(&c->text, ((const struct ipc_queue_admin_envelope *)row)->bytes);
	} else if (type == IPC_queue_admin_bytes) {
		begin(c);
		put_content(c, ((const struct ipc_queue_admin_bytes *)row)->bytes);
	}
}

static int
print_message(struct channel_sync *ch, const char *name, struct cat *c)
{
	struct ipc_queue_admin_show show = { .id = 1, .envelope = true, .content = c->header || c->body };
	struct fail why = { .text = "" };
	char filter[64], id[QUEUEID_TEXT + 1];
	uint64_t number;
	const void *m;
	unsigned type;

	if (!queueid_parse(span_str(name), &number))
		return post_fatal("postcat", 1, "bad mail queue ID: %s", name);
	(void)snprintf(filter, sizeof(filter), "id:%s", queueid_text(number, id).p);
	show.filter = span_str(filter);
	if (!channel_sync_send(ch, IPC_queue_admin_show, &show, -1, POST_ANSWER_MS, &why))
		return fatal(why.text);
	while (channel_sync_recv(ch, &type, &m, NULL, POST_ANSWER_MS, &why)) {
		const struct ipc_queue_admin_done *done = m;

		if (type != IPC_queue_admin_done) {
			take_row(c, type, m);
			continue;
		}
		if (!done->ok)
			return post_fatal("postcat", 1, "%.*s", SPAN_ARG(done->text));
		if (c->failed)
			return 1;
		if (done->count == 0)
			return post_fatal("postcat", 1, "open queue file %s: No such file or directory", name);
		if (c->envelope)
			(void)printf("*** HEADER EXTRACTED %s ***\n*** MESSAGE FILE END %s ***\n", c->name, c->name);
		return 0;
	}
	return fatal(why.text);
}

int
postcat_main(int argc, char **argv)
{
	bool queue = false, envelope = false, header = false, body = false;
	const char *config = NULL;
	const struct conf *conf;
	struct channel_sync *ch;
	struct arena arena;
	struct fail why = { .text = "" };
	int letter, status = 0;

	while ((letter = getopt(argc, argv, "bc:dehnoqv")) > 0) {
		if (letter == '?')
			return fatal("usage: postcat [-beh] [-c config_dir] -q queue_id ...");
		if (letter == 'c')
			config = optarg;
		queue |= letter == 'q';
		envelope |= letter == 'e';
		header |= letter == 'h';
		body |= letter == 'b';
	}
	if (!queue || optind == argc)
		return fatal(queue ? "usage: postcat [-beh] [-c config_dir] -q queue_id ..." :
		    "messages are not files of their own here: name queue ids with -q; spoolcheck reads a queue that is not running");
	if (!envelope && !header && !body)
		envelope = header = body = true;
	conf = post_conf(config, &arena);
	if (!conf)
		return EX_CONFIG;
	ch = post_connect(conf, &ipc_channel_queue_admin, &why);
	if (!ch)
		status = fatal(why.err == EACCES ? "the content of queued mail is root's alone to see" : why.text);
	for (int i = optind; ch && i < argc; i++) {
		struct cat c = { .envelope = envelope, .header = header, .body = body };

		buf_init(&c.text, EXPORT_TEXT_MAX);
		buf_init(&c.room, EXPORT_TEXT_MAX);
		status |= print_message(ch, argv[i], &c);
		buf_free(&c.text);
		buf_free(&c.room);
	}
	channel_sync_free(&ch);
	arena_free(&arena);
	return fflush(stdout) == 0 ? status : EX_IOERR;
}
