/* SPDX-License-Identifier: ISC
 *
 * quarantine: what crashed a program twice: messages, which queued holds,
 * mailboxes, which userd lets nobody enter, and peers, which the program no longer serves.
 */
#include <stdio.h>
#include <string.h>

#include "base/queueid.h"
#include "queue/queue.h"
#include "sys/box.h"
#include "tools/mailctl/queue.h"

#define IN_QUARANTINE "status:hold and reason~\"" QUEUE_QUARANTINE "\""

enum { JSON_MOST = 6 * (BOX_INPUT + B_REPLY + B_ADDRESS + B_NAME) + 512 }; /* an octet becomes up to six */

/* Printable, a line a line. */
static void
print_part(void *arg, uint32_t session, struct span bytes)
{
	(void)arg;
	while (bytes.n) {
		size_t end = span_chr(bytes, '\n'), n = end == SIZE_MAX ? bytes.n : end + 1;

		(void)printf("  %u> ", session);
		for (size_t i = 0; i < n; i++) {
			unsigned char c = (unsigned char)bytes.p[i];

			if (c == '\r' || c == '\n')
				(void)fputs(c == '\r' ? "\\r" : "\\n", stdout);
			else if (c < ' ' || c > '~' || c == '\\')
				(void)printf("\\x%02x", c);
			else
				(void)putchar(c);
		}
		(void)putchar('\n');
		bytes = span_from(bytes, n);
	}
}

static void
find_last(void *last, uint32_t session, struct span bytes)
{
	(void)bytes;
	*(uint32_t *)last = session;
}

static void
write_part(void *last, uint32_t session, struct span bytes)
{
	if (session == *(uint32_t *)last)
		(void)fwrite(bytes.p, 1, bytes.n, stdout);
}

/* The case: as it came, of the session that spoke last, to be replayed; or all, to be read. */
static void
print_input(const struct mailctl *m, struct span input)
{
	uint32_t last = 0;

	if (!m->content) {
		(void)box_each(input, print_part, NULL);
		return;
	}
	(void)box_each(input, find_last, &last);
	(void)box_each(input, write_part, &last);
}

static void
print_row(struct mailctl *m, const struct ipc_mailbox_admin_mailbox *row)
{
	bool peer = span_chr(row->user, '@') == SIZE_MAX;
	struct buf line;
	char when[32];

	if (m->content) {
		print_input(m, row->input);
		return;
	}
	buf_init(&line, JSON_MOST);
	if (m->json) {
		desc_json(&ipc_channel_mailbox_admin.messages[IPC_mailbox_admin_mailbox].desc, row, &line);
	} else {
		buf_puts(&line, peer ? "peer " : "mailbox ");
		term_put(&line, row->user);
		buf_printf(&line, ": %.*s crashed %u time%s, last at %s (%.*s)%s", SPAN_ARG(row->program), row->crashes,
		    row->crashes == 1 ? "" : "s", queue_time(row->last_ms, when), SPAN_ARG(row->why), !row->held ? "" : peer ? ": not served" : ": no logins");
	}
	term_line(stdout, buf_span(&line), 0);
	buf_free(&line);
	if (!m->json)
		print_input(m, row->input);
}

/* Asks userd; each row is printed, and counted in *rows. */
static int
ask_userd(struct mailctl *m, unsigned type, const void *request, unsigned *rows)
{
	struct channel_sync *c = mailctl_connect(m, &ipc_channel_mailbox_admin);
	int status = EX_UNAVAILABLE_;
	const void *row;
	unsigned what;

	if (!c)
		return status;
	if (mailctl_send(c, type, request))
		while (status == EX_UNAVAILABLE_ && mailctl_recv(c, &what, &row)) {
			const struct ipc_mailbox_admin_done *done = row;

			if (what == IPC_mailbox_admin_mailbox) {
				print_row(m, row);
				++*rows;
			} else {
				status = done->ok ? EX_OK_ : mailctl_fail(EX_FAILED, "%.*s", SPAN_ARG(done->text));
			}
		}
	channel_sync_free(&c);
	return status;
}

/* One of the queue's commands, for messages that are on hold for it. */
static int
with_filter(struct mailctl *m, int (*command)(struct mailctl *))
{
	m->filter = IN_QUARANTINE;
	return command(m);
}

int
quarantine_cmd_list(struct mailctl *m)
{
	int status = with_filter(m, queue_cmd_list);
	unsigned rows = 0;
	int also = ask_userd(m, IPC_mailbox_admin_list, &(struct ipc_mailbox_admin_list){ .id = 1 }, &rows);

	return status ? status : also;
}

static bool
is_message(const struct mailctl *m)
{
	uint64_t id;

	return m->nargs == 1 && queueid_parse(span_str(m->args[0]), &id);
}

int
quarantine_cmd_show(struct mailctl *m)
{
	unsigned rows = 0;
	int status;

	if (m->nargs != 1)
		return mailctl_usage(m);
	if (is_message(m))
		return with_filter(m, queue_cmd_show);
	status = ask_userd(m, IPC_mailbox_admin_list, &(struct ipc_mailbox_admin_list){ .id = 1, .only = span_str(m->args[0]) }, &rows);
	return status || rows ? status : mailctl_fail(EX_FAILED, "%s has crashed nothing", m->args[0]);
}

int
quarantine_cmd_release(struct mailctl *m)
{
	struct ipc_mailbox_admin_release release = { .id = 1 };
	unsigned rows = 0;

	if (m->nargs != 1)
		return mailctl_usage(m);
	if (is_message(m))
		return with_filter(m, queue_cmd_act);
	release.user = span_str(m->args[0]);
	return ask_userd(m, IPC_mailbox_admin_release, &release, &rows);
}
