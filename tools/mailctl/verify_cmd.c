/* SPDX-License-Identifier: ISC
 *
 * verify: what callouts have told of addresses; routed asks and remembers.
 */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "tools/common/term.h"
#include "tools/mailctl/mailctl.h"

static void
print_known(const struct mailctl *m, const struct ipc_route_admin_known *k)
{
	static const char *const words[] = { [CALLOUT_TAKES] = "taken", [CALLOUT_LATER] = "unknown", [CALLOUT_REFUSES] = "refused" };
	int64_t said = (int64_t)time(NULL) - k->age_s;
	struct buf line;

	buf_init(&line, 6 * (B_LONG_ADDRESS + B_NEXTHOP + B_PEER + B_REPLY) + 512); /* an octet becomes up to six */
	if (m->json) {
		buf_puts(&line, "{\"address\":");
		desc_json_string(&line, k->address);
		buf_printf(&line, ",\"outcome\":\"%s\",\"nexthop\":", words[k->outcome]);
		desc_json_string(&line, k->nexthop);
		buf_puts(&line, ",\"host\":");
		desc_json_string(&line, k->host);
		buf_puts(&line, ",\"reply\":");
		desc_json_string(&line, k->reply);
		buf_printf(&line, ",\"said\":%" PRId64 ",\"until\":%" PRId64 "}", said, said + k->age_s + k->left_s);
	} else {
		term_put(&line, k->address);
		buf_printf(&line, " %s by ", words[k->outcome]);
		term_put(&line, k->host.n ? k->host : k->nexthop);
		buf_puts(&line, ": ");
		term_put(&line, k->reply);
		buf_printf(&line, " (%" PRId64 " seconds ago, ", k->age_s);
		if (k->left_s > 0)
			buf_printf(&line, "for %" PRId64 " more)", k->left_s);
		else
			buf_puts(&line, "counts no more)");
	}
	term_line(stdout, buf_span(&line), 0);
	buf_free(&line);
}

/* Up to done, which is copied but for its text: that is printed. */
static int
read_answer(const struct mailctl *m, struct channel_sync *c, struct ipc_route_admin_done *done)
{
	const void *answer;
	unsigned type;

	while (mailctl_recv(c, &type, &answer)) {
		if (type == IPC_route_admin_line)
			(void)printf("%.*s\n", SPAN_ARG(((const struct ipc_route_admin_line *)answer)->text));
		else if (type == IPC_route_admin_known)
			print_known(m, answer);
		if (type != IPC_route_admin_done)
			continue;
		*done = *(const struct ipc_route_admin_done *)answer;
		return done->ok ? EX_OK_ : mailctl_fail(EX_FAILED, "%.*s", SPAN_ARG(done->text));
	}
	return EX_UNAVAILABLE_;
}

static int
ask(struct mailctl *m, enum verify_verb verb, const char *address, uint64_t *count)
{
	const struct ipc_route_admin_verify request = { .id = 1, .address = span_str(address), .verb = (uint8_t)verb };
	struct channel_sync *c = mailctl_connect(m, &ipc_channel_route_admin);
	struct ipc_route_admin_done done = { .more = false };
	int status = EX_UNAVAILABLE_;

	*count = 0;
	do {
		done.count = 0;
		done.more = false;
		if (c && mailctl_send(c, IPC_route_admin_verify, &request))
			status = read_answer(m, c, &done);
		*count += done.count;
	} while (status == EX_OK_ && done.more && verb == VERIFY_FORGET);
	if (done.more && verb == VERIFY_LIST)
		(void)mailctl_fail(0, "there are more than can be shown: name an address or a domain");
	channel_sync_free(&c);
	return status;
}

int
verify_cmd_show(struct mailctl *m)
{
	bool fresh = strcmp(m->command->verb, "ask") == 0;
	uint64_t n;

	if (m->nargs != 1)
		return mailctl_usage(m);
	return ask(m, fresh ? VERIFY_ASK : VERIFY_SHOW, m->args[0], &n);
}

int
verify_cmd_list(struct mailctl *m)
{
	uint64_t n;

	if (m->nargs > 1)
		return mailctl_usage(m);
	return ask(m, VERIFY_LIST, m->nargs ? m->args[0] : "", &n);
}

int
verify_cmd_forget(struct mailctl *m)
{
	uint64_t n;
	int status;

	if (m->nargs != 1)
		return mailctl_usage(m);
	status = ask(m, m->dry_run ? VERIFY_COUNT : VERIFY_FORGET, strcmp(m->args[0], "all") == 0 ? "" : m->args[0], &n);
	if (status == EX_OK_ || n > 0)
		(void)printf("%" PRIu64 " %sforgotten\n", n, m->dry_run ? "would be " : "");
	return status;
}
