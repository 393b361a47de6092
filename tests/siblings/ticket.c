/* SPDX-License-Identifier: ISC
 *
 * Tickets: userd lets a front in with what authd has granted, once, for its
 * service, and with nothing else.
 */
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "tests/siblings/siblings.h"

enum { WAIT_MS = 60000 };

static struct end *
end_to(struct rig *r, const struct ipc_channel *type)
{
	for (size_t i = 0; i < r->nends; i++)
		if (r->ends[i]->type == type && r->ends[i]->kind == END_WIRE)
			return r->ends[i];
	return NULL;
}

static void
grant(struct rig *r, const char *ticket, const char *service)
{
	struct ipc_ticket_grant m = { .ticket = span_of(ticket, B_TICKET), .service = span_str(service), .user = SPAN("bob@example.test"),
		.home = SPAN("example.test/bob") };

	end_say(r, end_to(r, &ipc_channel_ticket), IPC_ticket_grant, &m, -1);
}

/* Whether it lets in with that; the answer is read here. */
static bool
enters(struct rig *r, const char *ticket, size_t n, const char *service)
{
	struct end *e = end_to(r, &ipc_channel_login);
	struct ipc_login_enter m = { .id = ++r->logins, .ticket = span_of(ticket, n), .service = span_str(service), .client_addr = SPAN("127.0.0.1") };
	int64_t began = now_ms();
	int fds[2];

	if (!e || socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds) < 0)
		return broke(r, "no channel for logins");
	(void)close(fds[0]);
	end_say(r, e, IPC_login_enter, &m, fds[1]);
	while (r->login_id != m.id && !r->wrong[0]) {
		ends_read(r, 20);
		if (now_ms() - began > WAIT_MS)
			return broke(r, "a login is not answered");
	}
	return r->login_ok;
}

static void
expect(struct rig *r, bool got, bool wanted, const char *what)
{
	if (got != wanted)
		(void)broke(r, "%s: %s", what, got ? "was let in" : "was not let in");
}

bool
tickets_tried(struct rig *r)
{
	static const char good[] = "a ticket of auth", other[] = "another of those";

	grant(r, good, "imap");
	expect(r, enters(r, good, B_TICKET, "imap"), true, "a granted ticket");
	expect(r, enters(r, good, B_TICKET, "imap"), false, "a ticket for the second time");
	expect(r, enters(r, "never was granted", B_TICKET, "imap"), false, "a forged ticket");
	expect(r, enters(r, "", 0, "imap"), false, "no ticket");
	grant(r, other, "pop3");
	expect(r, enters(r, other, B_TICKET - 1, "pop3"), false, "a part of a ticket");
	expect(r, enters(r, other, B_TICKET, "imap"), false, "a ticket for another service");
	expect(r, enters(r, other, B_TICKET, "pop3"), false, "a ticket that was misused");
	return r->wrong[0] == '\0';
}
