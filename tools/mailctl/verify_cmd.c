/* SPDX-License-Identifier: ISC
 *
 * verify: what callouts have told of addresses; routed asks and remembers.
 */
#include <stdio.h>
#include <string.h>

#include "tools/mailctl/mailctl.h"

static int
ask(struct mailctl *m, enum verify_verb verb, const char *address)
{
	const struct ipc_route_admin_verify request = { .id = 1, .address = span_str(address), .verb = (uint8_t)verb };
	struct channel_sync *c = mailctl_connect(m, &ipc_channel_route_admin);
	int status = EX_UNAVAILABLE_;
	const void *answer;
	unsigned type;

	if (c && mailctl_send(c, IPC_route_admin_verify, &request))
		while (status == EX_UNAVAILABLE_ && mailctl_recv(c, &type, &answer)) {
			const struct ipc_route_admin_line *line = answer;
			const struct ipc_route_admin_done *done = answer;

			if (type == IPC_route_admin_line)
				(void)printf("%.*s\n", SPAN_ARG(line->text));
			if (type != IPC_route_admin_done)
				continue;
			if (done->ok && done->text.n)
				(void)printf("%.*s\n", SPAN_ARG(done->text));
			status = done->ok ? EX_OK_ : mailctl_fail(EX_FAILED, "%.*s", SPAN_ARG(done->text));
		}
	channel_sync_free(&c);
	return status;
}

int
verify_cmd_show(struct mailctl *m)
{
	bool fresh = strcmp(m->command->verb, "ask") == 0;

	if (m->nargs != 1)
		return mailctl_usage(m);
	return ask(m, fresh ? VERIFY_ASK : VERIFY_SHOW, m->args[0]);
}

int
verify_cmd_list(struct mailctl *m)
{
	if (m->nargs > 1)
		return mailctl_usage(m);
	return ask(m, VERIFY_LIST, m->nargs ? m->args[0] : "");
}

int
verify_cmd_forget(struct mailctl *m)
{
	if (m->nargs != 1)
		return mailctl_usage(m);
	return ask(m, VERIFY_FORGET, strcmp(m->args[0], "all") == 0 ? "" : m->args[0]);
}
