/* SPDX-License-Identifier: ISC
 *
 * queue: list, stats, show, and the verbs that change it.
 */
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "base/queueid.h"
#include "tools/mailctl/mailctl.h"

/* The words behind the verb are one filter. */
static bool
join_filter(const struct mailctl *m, struct buf *filter)
{
	for (int i = 0; i < m->nargs; i++)
		buf_printf(filter, "%s%s", i ? " " : "", m->args[i]);
	return buf_ok(filter) || mailctl_fail(0, "the filter is too long");
}

static const char *
time_text(uint64_t ms, char *text, size_t size)
{
	time_t t = (time_t)(ms / 1000);
	struct tm tm;

	text[0] = '\0';
	if (ms && localtime_r(&t, &tm))
		(void)strftime(text, size, "%Y-%m-%d %H:%M:%S", &tm);
	return text;
}

static void
print_item(const struct mailctl *m, const struct ipc_queue_admin_item *item)
{
	char id[QUEUEID_TEXT + 1], when[32];

	(void)queueid_text(item->message, id);
	if (m->json)
		(void)printf("{\"id\":\"%s\",\"state\":\"%.*s\",\"arrived\":%llu,\"size\":%llu,\"sender\":", id, SPAN_ARG(item->state),
		    (unsigned long long)(item->arrived_ms / 1000), (unsigned long long)item->size);
	else
		(void)printf("%-13s %-8.*s %10llu  %s  <%.*s>\n", id, SPAN_ARG(item->state), (unsigned long long)item->size,
		    time_text(item->arrived_ms, when, sizeof(when)), SPAN_ARG(item->sender));
	if (m->json) {
		struct buf text;

		buf_init(&text, 8192);
		desc_json_string(&text, item->sender);
		(void)printf("%.*s,\"recipients\":[", SPAN_ARG(buf_span(&text)));
		buf_free(&text);
	}
}

static void
print_recipient(const struct mailctl *m, const struct ipc_queue_admin_item_rcpt *r, bool first)
{
	char when[32];
	struct buf text;

	if (!m->json) {
		(void)printf("    <%.*s> attempts=%u%s%s %.*s\n", SPAN_ARG(r->address), r->attempts, r->next_ms ? " next=" : "",
		    time_text(r->next_ms, when, sizeof(when)), SPAN_ARG(r->reason));
		return;
	}
	buf_init(&text, 32768);
	buf_puts(&text, first ? "{\"address\":" : ",{\"address\":");
	desc_json_string(&text, r->address);
	buf_puts(&text, ",\"reason\":");
	desc_json_string(&text, r->reason);
	buf_puts(&text, ",\"destination\":");
	desc_json_string(&text, r->destination);
	buf_printf(&text, ",\"attempts\":%u,\"next\":%llu}", r->attempts, (unsigned long long)(r->next_ms / 1000));
	(void)printf("%.*s", SPAN_ARG(buf_span(&text)));
	buf_free(&text);
}

static void
print_destination(const struct mailctl *m, const struct ipc_queue_admin_destination *d)
{
	char when[32];
	struct buf text;

	if (!m->json) {
		(void)printf("%-40.*s waiting=%llu active=%u/%u%s%s %.*s\n", SPAN_ARG(d->name), (unsigned long long)d->waiting, d->active, d->concurrency,
		    d->next_ms ? " next=" : "", time_text(d->next_ms, when, sizeof(when)), SPAN_ARG(d->last));
		return;
	}
	buf_init(&text, 32768);
	buf_puts(&text, "{\"destination\":");
	desc_json_string(&text, d->name);
	buf_printf(&text, ",\"waiting\":%llu,\"active\":%u,\"concurrency\":%u,\"next\":%llu,\"last\":", (unsigned long long)d->waiting, d->active,
	    d->concurrency, (unsigned long long)(d->next_ms / 1000));
	desc_json_string(&text, d->last);
	(void)printf("%.*s}\n", SPAN_ARG(buf_span(&text)));
	buf_free(&text);
}

static int
print_done(const struct mailctl *m, const struct ipc_queue_admin_done *d, const char *what)
{
	if (!d->ok)
		return mailctl_fail(EX_FAILED, "%.*s", SPAN_ARG(d->text));
	if (!m->json && what)
		(void)printf("%llu %s%s, %llu bytes\n", (unsigned long long)d->count, what, d->count == 1 ? "" : "s", (unsigned long long)d->size);
	return 0;
}

/* Prints the rows of any answer until it is done. */
static int
print_answer(struct mailctl *m, struct channel_sync *c, const char *what)
{
	uint32_t expected = 0, seen = 0;
	const void *answer;
	unsigned type;

	while (mailctl_recv(c, &type, &answer)) {
		switch (type) {
		case IPC_queue_admin_item:
			print_item(m, answer);
			expected = ((const struct ipc_queue_admin_item *)answer)->recipients;
			seen = 0;
			if (m->json && expected == 0)
				(void)printf("]}\n");
			break;
		case IPC_queue_admin_item_rcpt:
			print_recipient(m, answer, seen == 0);
			if (++seen == expected && m->json)
				(void)printf("]}\n");
			break;
		case IPC_queue_admin_destination:
			print_destination(m, answer);
			break;
		case IPC_queue_admin_bytes:
			(void)fwrite(((const struct ipc_queue_admin_bytes *)answer)->bytes.p, 1, ((const struct ipc_queue_admin_bytes *)answer)->bytes.n, stdout);
			break;
		default:
			return print_done(m, answer, what);
		}
	}
	return EX_UNAVAILABLE_;
}

static int
ask_queued(struct mailctl *m, unsigned type, const void *request, const char *what)
{
	struct channel_sync *c = mailctl_connect(m, &ipc_channel_queue_admin);
	int status = EX_UNAVAILABLE_;

	if (c && mailctl_send(c, type, request))
		status = print_answer(m, c, what);
	channel_sync_free(&c);
	return status;
}

int
queue_cmd_list(struct mailctl *m)
{
	struct ipc_queue_admin_list list = { .id = 1, .sort = span_str(m->sort ? m->sort : ""), .limit = m->limit };
	struct buf filter;
	int status = EX_USAGE_;

	buf_init(&filter, 4096);
	if (join_filter(m, &filter)) {
		list.filter = buf_span(&filter);
		status = ask_queued(m, IPC_queue_admin_list, &list, "message");
	}
	buf_free(&filter);
	return status;
}

int
queue_cmd_stats(struct mailctl *m)
{
	return ask_queued(m, IPC_queue_admin_stats, &(struct ipc_queue_admin_stats){ .id = 1 }, NULL);
}

int
queue_cmd_show(struct mailctl *m)
{
	struct ipc_queue_admin_show show = { .id = 1 };

	if (m->nargs != 1 || !queueid_parse(span_str(m->args[0]), &show.message))
		return mailctl_fail(EX_USAGE_, "usage: mailctl queue show ID");
	return ask_queued(m, IPC_queue_admin_show, &show, NULL);
}

int
queue_cmd_act(struct mailctl *m)
{
	struct ipc_queue_admin_act act = { .id = 1, .verb = span_str(m->verb), .dry_run = m->dry_run };
	struct buf filter;
	int status = EX_USAGE_;

	if (m->nargs == 0 && strcmp(m->verb, "flush") != 0)
		return mailctl_fail(EX_USAGE_, "%s needs a filter; \"all\" means everything", m->verb);
	buf_init(&filter, 4096);
	if (join_filter(m, &filter)) {
		act.filter = span_eq(buf_span(&filter), SPAN("all")) ? SPAN("") : buf_span(&filter);
		status = ask_queued(m, IPC_queue_admin_act, &act, m->dry_run ? "message would be changed" : "message changed");
	}
	buf_free(&filter);
	return status;
}
