/* SPDX-License-Identifier: ISC
 *
 * queue: list, stats, history, and the verbs that change it.
 */
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/queueid.h"
#include "tools/mailctl/queue.h"

/* ---- asking ---- */

/* How many messages are named by their ids and nothing else; 0: they are not. */
static unsigned
named(const struct mailctl *m)
{
	uint64_t id, other;
	unsigned n = 0;

	for (int i = 0; i < m->nargs; i++) {
		int before = 0;

		if (!queueid_parse(span_str(m->args[i]), &id))
			return 0;
		while (before < i && queueid_parse(span_str(m->args[before]), &other) && other != id)
			before++;
		n += before == i;
	}
	return n;
}

bool
queue_filter(const struct mailctl *m, struct buf *filter)
{
	bool both = m->filter && m->nargs > 0, ids = named(m) > 1; /* several messages, not one with all of them */

	buf_puts(filter, both ? "(" : "");
	for (int i = 0; i < m->nargs; i++)
		buf_printf(filter, "%s%s", i ? (ids ? "," : " ") : (ids ? "id:" : ""), m->args[i]);
	buf_puts(filter, both ? ") and (" : "");
	buf_puts(filter, m->filter ? m->filter : "");
	buf_puts(filter, both ? ")" : "");
	return (buf_ok(filter) && buf_len(filter) <= B_FILTER) || mailctl_fail(0, "the filter is too long");
}

int
queue_refused(const struct ipc_queue_admin_done *done, struct span filter)
{
	if (!done->column)
		return mailctl_fail(done->wrong ? EX_USAGE_ : EX_FAILED, "%.*s", SPAN_ARG(done->text));
	(void)mailctl_fail(0, "filter, column %u: %.*s", done->column, SPAN_ARG(done->text));
	(void)fprintf(stderr, "  %.*s\n  %*s^\n", SPAN_ARG(filter), (int)done->column - 1, "");
	return EX_USAGE_;
}

int
queue_ask_on(struct mailctl *m, struct channel_sync *c, unsigned type, const void *request, bool (*on_row)(void *, unsigned, const void *),
    void *arg, struct ipc_queue_admin_done *done)
{
	static char text[B_REPLY];
	const void *row;
	unsigned what;

	(void)m;
	if (request && !mailctl_send(c, type, request))
		return EX_UNAVAILABLE_;
	while (mailctl_recv(c, &what, &row)) {
		if (what == IPC_queue_admin_done) {
			*done = *(const struct ipc_queue_admin_done *)row;
			if (!span_cstr(done->text, text, sizeof(text)))
				text[0] = '\0';
			done->text = span_str(text); /* the row goes with the connection */
			return 0;
		}
		if (on_row && !on_row(arg, what, row))
			return EX_FAILED;
	}
	return EX_UNAVAILABLE_;
}

int
queue_ask(struct mailctl *m, unsigned type, const void *request, bool (*on_row)(void *, unsigned, const void *), void *arg,
    struct ipc_queue_admin_done *done)
{
	struct channel_sync *c = mailctl_connect(m, &ipc_channel_queue_admin);
	int status = c ? queue_ask_on(m, c, type, request, on_row, arg, done) : EX_UNAVAILABLE_;

	channel_sync_free(&c);
	return status;
}

/* ---- commands ---- */

int
queue_all_there(const struct mailctl *m, uint64_t found, uint64_t done)
{
	unsigned n = named(m);

	if (found >= n || (m->limit && done >= m->limit))
		return EX_OK_;
	if (n == 1)
		return mailctl_fail(EX_FAILED, "%s: no such message was found", m->args[0]);
	return mailctl_fail(EX_FAILED, "%u of the %u messages were not found", n - (unsigned)found, n);
}

/* Asks, prints the rows, and the sum of it: "3 messages held, 12k". */
static int
ask_and_print(struct mailctl *m, unsigned type, const void *request, struct span filter, const char *done_word)
{
	struct ipc_queue_admin_done done = { .ok = false };
	struct answer a;
	char size[16];
	int status;

	answer_init(&a, m);
	a.done = done_word;
	status = queue_ask(m, type, request, answer_row, &a, &done);
	answer_free(&a);
	if (status == 0 && !done.ok)
		status = queue_refused(&done, filter);
	else if (status == 0 && !m->json && type != IPC_queue_admin_stats)
		(void)printf("%llu message%s%s%s%s, %s\n", (unsigned long long)done.count, done.count == 1 ? "" : "s",
		    m->dry_run ? " would be" : "", done_word ? " " : "", done_word ? done_word : "", term_size(done.size, size));
	return status == 0 && type == IPC_queue_admin_act ? queue_all_there(m, done.found, done.count) : status;
}

int
queue_cmd_list(struct mailctl *m)
{
	struct ipc_queue_admin_list list = { .id = 1, .sort = span_str(m->sort ? m->sort : ""), .limit = m->limit };
	struct buf filter;
	int status = EX_USAGE_;

	buf_init(&filter, B_FILTER + 1);
	if (queue_filter(m, &filter)) {
		list.filter = buf_span(&filter);
		status = ask_and_print(m, IPC_queue_admin_list, &list, list.filter, NULL);
	}
	buf_free(&filter);
	return status;
}

int
queue_cmd_stats(struct mailctl *m)
{
	struct ipc_queue_admin_stats stats = { .id = 1, .senders = m->by_sender };
	struct buf filter;
	int status = EX_USAGE_;

	buf_init(&filter, B_FILTER + 1);
	if (queue_filter(m, &filter)) {
		stats.filter = buf_span(&filter);
		status = ask_and_print(m, IPC_queue_admin_stats, &stats, stats.filter, NULL);
	}
	buf_free(&filter);
	return status;
}

int
queue_cmd_history(struct mailctl *m)
{
	struct ipc_queue_admin_history history = { .id = 1, .limit = m->limit };
	struct ipc_queue_admin_done done = { .ok = false };
	struct answer a;
	struct buf filter;
	int status = EX_USAGE_;

	buf_init(&filter, B_FILTER + 1);
	if (queue_filter(m, &filter)) {
		history.filter = buf_span(&filter);
		answer_init(&a, m);
		status = queue_ask(m, IPC_queue_admin_history, &history, answer_past_row, &a, &done);
		answer_past_end(&a);
		answer_free(&a);
		if (status == 0 && !done.ok)
			status = queue_refused(&done, history.filter);
	}
	buf_free(&filter);
	return status;
}

static const char *
done_word(const char *verb)
{
	static const char *const words[][2] = { { "flush", "due now" }, { "hold", "held" }, { "release", "released" }, { "delete", "deleted" },
		{ "bounce", "returned" }, { "requeue", "requeued" }, { "expire", "expired" } };

	for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++)
		if (strcmp(words[i][0], verb) == 0)
			return words[i][1];
	return verb;
}

/* hold --rule: what comes is held as well as what is there. */
static int
add_rule(struct mailctl *m, struct span filter)
{
	struct ipc_queue_admin_rule_add add = { .id = 1, .filter = filter, .comment = span_str(m->comment ? m->comment : "") };
	struct ipc_queue_admin_done done = { .ok = false };
	int status = queue_ask(m, IPC_queue_admin_rule_add, &add, NULL, NULL, &done);

	if (status == 0 && !done.ok)
		status = queue_refused(&done, filter);
	else if (status == 0 && m->json)
		(void)printf("{\"rule\":%llu}\n", (unsigned long long)done.message);
	else if (status == 0)
		(void)printf("rule %llu: new mail that matches is held\n", (unsigned long long)done.message);
	return status;
}

int
queue_cmd_act(struct mailctl *m)
{
	struct ipc_queue_admin_act act = { .id = 1, .verb = span_str(m->command->verb), .dry_run = m->dry_run, .quiet = m->quiet, .limit = m->limit };
	struct buf filter;
	int status = EX_USAGE_;

	if (m->nargs == 0 && !m->filter && strcmp(m->command->verb, "flush") != 0)
		return mailctl_fail(EX_USAGE_, "%s needs a filter; \"all\" means everything", m->command->verb);
	if (m->rule && strcmp(m->command->verb, "hold") != 0)
		return mailctl_fail(EX_USAGE_, "--rule goes with hold");
	buf_init(&filter, B_FILTER + 1);
	if (queue_filter(m, &filter)) {
		act.filter = buf_span(&filter);
		status = m->rule && !m->dry_run ? add_rule(m, act.filter) : 0;
		if (status == 0)
			status = ask_and_print(m, IPC_queue_admin_act, &act, act.filter, done_word(m->command->verb));
	}
	buf_free(&filter);
	return status;
}

/* ---- rules ---- */

static bool
rule_row(void *arg, unsigned type, const void *row)
{
	const struct ipc_queue_admin_rule *r = row;
	struct answer *a = arg;
	char when[32];
	struct buf line;

	if (type != IPC_queue_admin_rule)
		return true;
	buf_init(&line, 4 * B_FILTER);
	if (a->m->json) {
		buf_printf(&line, "{\"rule\":%llu,\"added\":%llu,\"held\":%llu,\"filter\":", (unsigned long long)r->number,
		    (unsigned long long)(r->added_ms / 1000), (unsigned long long)r->held);
		desc_json_string(&line, r->filter);
		buf_puts(&line, ",\"comment\":");
		desc_json_string(&line, r->comment);
		buf_puts(&line, "}");
	} else {
		buf_printf(&line, "%5llu  %s  held %llu  ", (unsigned long long)r->number, queue_time(r->added_ms, when), (unsigned long long)r->held);
		term_put(&line, r->filter.n ? r->filter : SPAN("all"));
		buf_puts(&line, r->comment.n ? "  # " : "");
		term_put(&line, r->comment);
	}
	term_line(stdout, buf_span(&line), a->m->json ? 0 : a->width);
	buf_free(&line);
	return true;
}

static int
list_rules(struct mailctl *m)
{
	struct ipc_queue_admin_done done = { .ok = false };
	struct answer a;
	int status;

	answer_init(&a, m);
	status = queue_ask(m, IPC_queue_admin_rules, &(struct ipc_queue_admin_rules){ .id = 1 }, rule_row, &a, &done);
	answer_free(&a);
	if (status == 0 && !done.ok)
		return queue_refused(&done, SPAN_NONE);
	if (status == 0 && done.count == 0 && !m->json)
		(void)printf("no hold rules\n");
	return status;
}

static int
delete_rule(struct mailctl *m)
{
	struct ipc_queue_admin_rule_delete request = { .id = 1 };
	struct ipc_queue_admin_done done = { .ok = false };
	int status;

	if (m->nargs != 1 || !span_u64(span_str(m->args[0]), UINT64_MAX, &request.number))
		return mailctl_usage(m);
	status = queue_ask(m, IPC_queue_admin_rule_delete, &request, NULL, NULL, &done);
	if (status == 0 && !done.ok)
		return queue_refused(&done, SPAN_NONE);
	if (status == 0 && !m->json)
		(void)printf("rule %llu is gone; what it has held stays on hold\n", (unsigned long long)request.number);
	return status;
}

int
queue_cmd_rule(struct mailctl *m)
{
	const char *verb = m->nargs ? m->args[0] : "";
	struct buf filter;
	int status = EX_USAGE_;

	m->args += m->nargs > 0;
	m->nargs -= m->nargs > 0;
	if (strcmp(verb, "list") == 0)
		return m->nargs ? mailctl_usage(m) : list_rules(m);
	if (strcmp(verb, "delete") == 0)
		return delete_rule(m);
	if (strcmp(verb, "add") != 0 || (m->nargs == 0 && !m->filter))
		return mailctl_usage(m);
	buf_init(&filter, B_FILTER + 1);
	if (queue_filter(m, &filter))
		status = add_rule(m, buf_span(&filter));
	buf_free(&filter);
	return status;
}

/* ---- undelete ---- */

int
queue_cmd_undelete(struct mailctl *m)
{
	struct channel_sync *c = m->nargs ? mailctl_connect(m, &ipc_channel_queue_admin) : NULL;
	int status = 0;

	if (!c)
		return m->nargs ? EX_UNAVAILABLE_ : mailctl_usage(m);
	for (int i = 0; i < m->nargs && status != EX_UNAVAILABLE_; i++) {
		struct ipc_queue_admin_undelete request = { .id = (uint64_t)i + 1 };
		struct ipc_queue_admin_done done = { .ok = false };

		if (!queueid_parse(span_str(m->args[i]), &request.message)) {
			status = mailctl_fail(EX_USAGE_, "%s is no queue id", m->args[i]);
			continue;
		}
		if (queue_ask_on(m, c, IPC_queue_admin_undelete, &request, NULL, NULL, &done))
			status = EX_UNAVAILABLE_;
		else if (!done.ok)
			status = mailctl_fail(EX_FAILED, "%s: %.*s", m->args[i], SPAN_ARG(done.text));
		else
			(void)printf(m->json ? "{\"id\":\"%s\",\"action\":\"undeleted\"}\n" : "%s is in the queue again\n", m->args[i]);
	}
	channel_sync_free(&c);
	return status;
}
