/* SPDX-License-Identifier: ISC */
#include <stdio.h>
#include <string.h>

#include "tools/mailctl/mailctl.h"

enum { NEXTHOPS = 8 /* of different targets; more are not looked at more closely */ };

struct nexthops {
	char text[NEXTHOPS][B_NEXTHOP + 1];
	size_t n;
};

static void
note_nexthop(struct nexthops *h, struct span nexthop)
{
	for (size_t i = 0; i < h->n; i++)
		if (span_eq(nexthop, span_str(h->text[i])))
			return;
	if (nexthop.n && h->n < NEXTHOPS && span_cstr(nexthop, h->text[h->n], sizeof(h->text[0])))
		h->n++;
}

/* How remoted would speak to its hosts; an exit status. */
static int
print_hosts(struct mailctl *m, const char *nexthop)
{
	struct ipc_remote_admin_explain explain = { .id = 1, .nexthop = span_str(nexthop) };
	struct channel_sync *c = mailctl_connect(m, &ipc_channel_remote_admin);
	int status = EX_UNAVAILABLE_;
	const void *answer;
	unsigned type;

	if (c && mailctl_send(c, IPC_remote_admin_explain, &explain)) {
		(void)printf("%s:\n", nexthop);
		while (mailctl_recv(c, &type, &answer)) {
			if (type == IPC_remote_admin_line) {
				(void)printf("  %.*s\n", SPAN_ARG(((const struct ipc_remote_admin_line *)answer)->text));
			} else if (type == IPC_remote_admin_done) {
				const struct ipc_remote_admin_done *d = answer;

				status = d->ok ? EX_OK_ : EX_FAILED;
				if (!d->ok)
					(void)printf("  %.*s\n", SPAN_ARG(d->text));
				break;
			}
		}
	}
	channel_sync_free(&c);
	return status;
}

int
route_cmd(struct mailctl *m)
{
	struct ipc_route_admin_explain explain = { .id = 1, .sender = span_str(m->sender ? m->sender : "") };
	struct nexthops hops = { .n = 0 };
	int status = EX_UNAVAILABLE_;
	struct channel_sync *c;
	const void *answer;
	unsigned type;

	if (m->nargs != 1)
		return mailctl_usage(m);
	explain.address = span_str(m->args[0]);
	c = mailctl_connect(m, &ipc_channel_route_admin);
	if (!c || !mailctl_send(c, IPC_route_admin_explain, &explain))
		goto out;
	while (mailctl_recv(c, &type, &answer)) {
		if (type == IPC_route_admin_line) {
			const struct ipc_route_admin_line *line = answer;

			(void)printf("%*s%s%.*s\n", line->depth * 2, "", line->target ? "=> " : "", SPAN_ARG(line->text));
			note_nexthop(&hops, line->nexthop);
		} else if (type == IPC_route_admin_done) {
			const struct ipc_route_admin_done *d = answer;

			status = d->ok ? 0 : mailctl_fail(EX_FAILED, "%.*s", SPAN_ARG(d->text));
			break;
		}
	}
	for (size_t i = 0; i < hops.n; i++) {
		int hosts = print_hosts(m, hops.text[i]);

		status = status ? status : hosts;
	}
out:
	channel_sync_free(&c);
	return status;
}
