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

static const in_addr_t ABROAD = 0xC6336407; /* 198.51.100.7, which tests/siblings/run makes: whose name is looked up */

/* Piece by piece, each when something has been said to the one before. */
static const struct {
	const char *target, *script[PIECES];
} scripts[] = {
	{ "smtpd", { "EHLO client.test\r\n", "MAIL FROM:<alice@example.test>\r\nRCPT TO:<bob@example.test>\r\nRCPT TO:<x@example.test>\r\n",
	             "BDAT 17 LAST\r\nSubject: x\r\n\r\nx\r\n", "MAIL FROM:<>\r\nRCPT TO:<bob@example.test>\r\nDATA\r\n", "Subject: x\r\n\r\nx\r\n.\r\n",
	             "VRFY bob\r\n", "MAIL FROM:<alice@example.test>\r\n", "RCPT TO:<bob@example.test>\r\n", "DATA\r\n", "Subject: x\r\n\r\nx\r\n.\r\n",
	             "RSET\r\n", "AUTH PLAIN AGJvYgB4\r\n", "QUIT\r\n" } },
	{ "imapd", { "a CAPABILITY\r\n", "b LOGIN bob@example.test secret\r\n", "c AUTHENTICATE PLAIN AGJvYgB4\r\n", "d NOOP\r\n" } },
	{ "pop3d", { "CAPA\r\n", "USER bob@example.test\r\n", "PASS secret\r\n", "STAT\r\n", "QUIT\r\n" } },
};

static const char *const *
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
turn(struct rig *r, struct client *c, const char *const *script)
{
	struct sockaddr_in at = { .sin_family = AF_INET, .sin_port = htons(r->client_port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	struct sockaddr_in abroad = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(ABROAD) };
	char bytes[4096];
	bool said = false;
	ssize_t n;

	if (c->fd < 0 && script && !c->server) {
		c->fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
		if (c->fd >= 0 && rnd(r, 2))
			(void)bind(c->fd, (struct sockaddr *)&abroad, sizeof(abroad));
		if (c->fd >= 0)
			(void)connect(c->fd, (struct sockaddr *)&at, sizeof(at));
		c->piece = 0;
	}
	if (c->fd < 0 || rnd(r, 3000) == 0) {
		hang_up(c);
		return;
	}
	for (; (n = recv(c->fd, bytes, sizeof(bytes), MSG_DONTWAIT)) > 0; said = true)
		if (c->server)
			serve(c, bytes, n);
	if (n == 0 || (script && !c->server && (c->piece == PIECES || !script[c->piece]))) {
		if (n == 0 || said)
			hang_up(c);
	} else if (script && !c->server && (said || rnd(r, 1000) == 0)) { /* some do not wait */
		(void)send(c->fd, script[c->piece], strlen(script[c->piece]), MSG_DONTWAIT | MSG_NOSIGNAL);
		c->piece++;
	}
}

void
clients_turn(struct rig *r)
{
	const char *const *script = script_of(r);
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
clients_leave(struct rig *r)
{
	for (size_t i = 0; i < CLIENTS * 2; i++)
		hang_up(&r->clients[i]);
}

void
clients_close(struct rig *r)
{
	clients_leave(r);
	(void)close(r->listener);
	(void)close(r->sink);
}
