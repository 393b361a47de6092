/* SPDX-License-Identifier: ISC
 *
 * What needs queued or routed rather than smtpd: mailq, -q, newaliases.
 */
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "base/queueid.h"
#include "ipc/channel_sync.h"
#include "ipc/messages.h"
#include "table/table.h"
#include "tools/sendmail/sendmail.h"

enum { ANSWER_MS = 60000 };

static struct channel_sync *
connect_to(const struct conf *conf, const struct ipc_channel *type, struct fail *why)
{
	char path[B_PATH];

	(void)snprintf(path, sizeof(path), "%s/%s", conf->run_directory.p, type->name);
	return channel_sync_connect(path, type, why);
}

static int
unreachable(const struct ipc_channel *type, const struct fail *why)
{
	return complain(EX_UNAVAILABLE, "%s is not to be reached: %s", type->server, why->text);
}

static char
state_mark(struct span state)
{
	return span_eq(state, SPAN("active")) ? '*' : span_eq(state, SPAN("hold")) ? '!' : ' ';
}

static void
print_item(const struct ipc_queue_admin_item *item)
{
	char id[QUEUEID_TEXT + 1], when[32] = "";
	time_t t = (time_t)(item->arrived_ms / 1000);
	struct tm tm;

	if (localtime_r(&t, &tm))
		(void)strftime(when, sizeof(when), "%a %b %e %H:%M:%S", &tm);
	(void)printf("%-13s%c %8llu %s  %.*s\n", queueid_text(item->message, id).p, state_mark(item->state),
		     (unsigned long long)item->size, when,
		     SPAN_ARG(item->sender.n ? item->sender : SPAN("MAILER-DAEMON")));
}

static void
print_recipient(const struct ipc_queue_admin_item_rcpt *r, struct buf *reason)
{
	if (r->reason.n && !span_eq(buf_span(reason), r->reason)) { /* once for all recipients that share it */
		buf_reset(reason);
		buf_put(reason, r->reason);
		(void)printf("%*s(%.*s)\n", 8, "", SPAN_ARG(r->reason));
	}
	(void)printf("%*s%.*s\n", 41, "", SPAN_ARG(r->address));
}

/* The rows of an answer up to its end. */
static int
print_answer(struct channel_sync *c, bool list, struct fail *why)
{
	const void *m;
	unsigned type;
	unsigned long long items = 0;
	struct buf reason;

	buf_init(&reason, B_REPLY);
	while (channel_sync_recv(c, &type, &m, NULL, ANSWER_MS, why)) {
		if (type == IPC_queue_admin_item && list) {
			if (items++ == 0)
				(void)printf("%-14s %8s %-19s  %s\n", "-Queue ID-", "--Size--", "----Arrival Time---",
					     "-Sender/Recipient-------");
			else
				(void)printf("\n");
			buf_reset(&reason);
			print_item(m);
		} else if (type == IPC_queue_admin_item_rcpt && list) {
			print_recipient(m, &reason);
		} else if (type == IPC_queue_admin_done) {
			const struct ipc_queue_admin_done *d = m;

			buf_free(&reason);
			if (!d->ok)
				return complain(EX_UNAVAILABLE, "%.*s", SPAN_ARG(d->text));
			if (list && items == 0)
				(void)printf("Mail queue is empty\n");
			else if (list)
				(void)printf("\n-- %llu Kbytes in %llu Request%s.\n",
					     (unsigned long long)(d->size + 1023) / 1024, (unsigned long long)d->count,
					     d->count == 1 ? "" : "s");
			return EX_OK;
		}
	}
	buf_free(&reason);
	return complain(EX_UNAVAILABLE, "no answer from queued: %s", why->text);
}

static int
ask(const struct conf *conf, unsigned type, const void *request)
{
	struct fail why = { .text = "" };
	struct channel_sync *c = connect_to(conf, &ipc_channel_queue_admin, &why);
	int status;

	if (!c || !channel_sync_send(c, type, request, -1, ANSWER_MS, &why))
		status = unreachable(&ipc_channel_queue_admin, &why);
	else
		status = print_answer(c, type == IPC_queue_admin_list, &why);
	channel_sync_free(&c);
	return status;
}

int
admin_list(const struct conf *conf)
{
	return ask(conf, IPC_queue_admin_list, &(struct ipc_queue_admin_list){ .id = 1 });
}

/* -qR takes a whole address or a domain. */
static const char *
filter_key(const struct sendmail_options *o)
{
	if (o->filter_field == 'I')
		return "id:";
	if (o->filter_field == 'S')
		return "from:";
	return strchr(o->filter, '@') ? "to:" : "domain:";
}

int
admin_flush(const struct sendmail_options *o, const struct conf *conf)
{
	struct ipc_queue_admin_act act = { .id = 1, .verb = SPAN("flush") };
	struct buf filter;
	int status;

	buf_init(&filter, 4096);
	if (o->filter && *o->filter)
		buf_printf(&filter, "%s%s", filter_key(o), o->filter);
	act.filter = buf_span(&filter);
	status = ask(conf, IPC_queue_admin_act, &act);
	buf_free(&filter);
	return status;
}

/* By routed, which uses them; its word on the matter is final. */
static bool
rebuild_by_routed(const struct conf *conf, int *status)
{
	struct fail why = { .text = "" };
	struct channel_sync *c = connect_to(conf, &ipc_channel_route_admin, &why);
	struct ipc_route_admin_rebuild request = { .id = 1 };
	const void *m;
	unsigned type;
	bool done = false;

	if (c && channel_sync_send(c, IPC_route_admin_rebuild, &request, -1, ANSWER_MS, &why))
		while (!done && channel_sync_recv(c, &type, &m, NULL, ANSWER_MS, &why)) {
			const struct ipc_route_admin_done *d = m;

			if (type != IPC_route_admin_done)
				continue;
			done = true;
			*status = d->ok ? EX_OK : complain(EX_UNAVAILABLE, "%.*s", SPAN_ARG(d->text));
		}
	channel_sync_free(&c);
	return done;
}

/* The suite is down, or this user may not ask it: as far as the user's own rights go. */
static int
rebuild_here(const struct conf *conf)
{
	int status = EX_OK;

	for (size_t i = 0; i < conf->alias_database.n; i++) {
		struct table_options options = { .syntax = TABLE_ALIASES };
		struct table *table = NULL;
		struct fail why = { .text = "" };

		if (!table_open(conf->alias_database.items[i], &options, &table, &why) || !table_rebuild(table, &why))
			status = complain(EX_CANTCREAT, "%s: %s", conf->alias_database.items[i].p, why.text);
		table_close(&table);
	}
	return status;
}

int
admin_aliases(const struct conf *conf)
{
	int status = EX_OK;

	return rebuild_by_routed(conf, &status) ? status : rebuild_here(conf);
}
