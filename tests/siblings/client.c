/* SPDX-License-Identifier: ISC
 *
 * Clients of a front, and a server for remoted: just enough that the daemon
 * asks its siblings.
 */
#include <arpa/inet.h>
#include <netinet/in.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "tests/siblings/siblings.h"

static const struct {
	const char *target, *script;
} scripts[] = {
	{ "smtpd", "EHLO client.test\r\nMAIL FROM:<alice@example.test>\r\nRCPT TO:<bob@example.test>\r\nRCPT TO:<x@example.test>\r\n"
	           "BDAT 17 LAST\r\nSubject: x\r\n\r\nx\r\nMAIL FROM:<>\r\nRCPT TO:<bob@example.test>\r\nDATA\r\nSubject: x\r\n\r\nx\r\n.\r\n"
	           "VRFY bob\r\nRSET\r\nAUTH PLAIN AGJvYgB4\r\nQUIT\r\n" },
	{ "imapd", "a CAPABILITY\r\nb LOGIN bob@example.test secret\r\nc AUTHENTICATE PLAIN AGJvYgB4\r\nd NOOP\r\n" },
	{ "pop3d", "CAPA\r\nUSER bob@example.test\r\nPASS secret\r\nSTAT\r\nQUIT\r\n" },
};

static const char *
script_of(const struct rig *r)
{
	for (size_t i = 0; i < sizeof(scripts) / sizeof(scripts[0]); i++)
		if (strcmp(scripts[i].target, r->target->name) == 0)
			return scripts[i].script;
	return NULL;
}

static int
listen_here(uint16_t *port)
{
	struct sockaddr_in at = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	socklen_t len = sizeof(at);
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

	if (fd < 0 || bind(fd, (struct sockaddr *)&at, len) < 0 || listen(fd, 64) < 0 || getsockname(fd, (struct sockaddr *)&at, &len) < 0) {
		if (fd >= 0)
			(void)close(fd);
		return -1;
	}
	*port = ntohs(at.sin_port);
	return fd;
}

bool
clients_open(struct rig *r)
{
	for (size_t i = 0; i < CLIENTS * 2; i++)
		r->clients[i].fd = -1;
	r->listener = listen_here(&r->client_port);
	r->sink = listen_here(&r->sink_port);
	return r->listener >= 0 && r->sink >= 0;
}

static void
hang_up(struct client *c)
{
	if (c->fd >= 0)
		(void)close(c->fd);
	c->fd = -1;
}

/* A mail host that takes everything, a reply for each line. */
static void
serve(struct client *c, const char *bytes, ssize_t n)
{
	for (ssize_t i = 0; i < n; i++)
		if (bytes[i] == '\n')
			(void)send(c->fd, "250 ok\r\n", 8, MSG_DONTWAIT | MSG_NOSIGNAL);
}

static void
turn(struct rig *r, struct client *c, const char *script)
{
	struct sockaddr_in at = { .sin_family = AF_INET, .sin_port = htons(r->client_port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	char bytes[4096];
	ssize_t n;

	if (c->fd < 0 && script && !c->server) {
		c->fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
		if (c->fd >= 0)
			(void)connect(c->fd, (struct sockaddr *)&at, sizeof(at));
	}
	if (c->fd < 0 || rnd(r, 300) == 0) {
		hang_up(c);
		return;
	}
	while ((n = recv(c->fd, bytes, sizeof(bytes), MSG_DONTWAIT)) > 0)
		if (c->server)
			serve(c, bytes, n);
	if (n == 0)
		hang_up(c);
	else if (script && !c->server && rnd(r, 4) == 0 && send(c->fd, script, strlen(script), MSG_DONTWAIT | MSG_NOSIGNAL) == 0)
		hang_up(c);
}

void
clients_turn(struct rig *r)
{
	const char *script = script_of(r);
	size_t i = CLIENTS + rnd(r, CLIENTS);
	int fd;

	if (strcmp(r->target->name, "remoted") == 0 && (fd = accept4(r->sink, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK)) >= 0) {
		hang_up(&r->clients[i]);
		r->clients[i] = (struct client){ .fd = fd, .server = true };
		(void)send(fd, "220 sink ESMTP\r\n", 16, MSG_DONTWAIT | MSG_NOSIGNAL);
	}
	for (i = 0; i < CLIENTS * 2; i++)
		turn(r, &r->clients[i], i < CLIENTS ? script : NULL);
}

void
clients_close(struct rig *r)
{
	for (size_t i = 0; i < CLIENTS * 2; i++)
		hang_up(&r->clients[i]);
	(void)close(r->listener);
	(void)close(r->sink);
}
