/* SPDX-License-Identifier: ISC */
#include <stdio.h>

#include "tools/mailctl/mailctl.h"

int
route_cmd(struct mailctl *m)
{
	struct ipc_route_admin_explain explain = { .id = 1, .sender = span_str(m->sender ? m->sender : "") };
	int status = EX_UNAVAILABLE_;
	struct channel_sync *c;
	const void *answer;
	unsigned type;

	if (m->nargs != 1)
		return mailctl_fail(EX_USAGE_, "usage: mailctl route ADDRESS [--sender ADDRESS]");
	explain.address = span_str(m->args[0]);
	c = mailctl_connect(m, &ipc_channel_route_admin);
	if (!c || !mailctl_send(c, IPC_route_admin_explain, &explain))
		goto out;
	while (mailctl_recv(c, &type, &answer)) {
		if (type == IPC_route_admin_line) {
			const struct ipc_route_admin_line *line = answer;

			(void)printf("%*s%s%.*s\n", line->depth * 2, "", line->target ? "=> " : "", SPAN_ARG(line->text));
		} else if (type == IPC_route_admin_done) {
			const struct ipc_route_admin_done *d = answer;

			status = d->ok ? 0 : mailctl_fail(EX_FAILED, "%.*s", SPAN_ARG(d->text));
			break;
		}
	}
out:
	channel_sync_free(&c);
	return status;
}
