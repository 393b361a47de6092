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

#define TLS "\001" /* a piece: TLS begins, unless the answer to the one before was no */
#define HELLO "EHLO client.test\r\n"
#define MAIL "MAIL FROM:<alice@example.test>\r\nRCPT TO:<bob@example.test>\r\n"
#define LETTER "Subject: x\r\n\r\nx\r\n"
/* SCRAM of bob with nonces that both sides know beforehand (honest.c): n,,n=bob,r=fake and c=biws,r=fakesrv,p=... */
#define SCRAM_FIRST "biwsbj1ib2Iscj1mYWtl\r\n"
#define SCRAM_FINAL "Yz1iaXdzLHI9ZmFrZXNydixwPUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUE9\r\n"

/* Piece by piece, each when something has been said to the one before. */
static const struct script {
	const char *target, *pieces[PIECES];
} scripts[] = {
	{ "smtpd", { HELLO, "MAIL FROM:<alice@example.test>\r\nRCPT TO:<bob@example.test>\r\nRCPT TO:<x@example.test>\r\n",
	             "BDAT 17 LAST\r\n" LETTER, "MAIL FROM:<>\r\nRCPT TO:<bob@example.test>\r\nDATA\r\n", LETTER ".\r\n",
	             "VRFY bob\r\n", "MAIL FROM:<alice@example.test>\r\n", "RCPT TO:<bob@example.test>\r\n", "DATA\r\n", LETTER ".\r\n",
	             "RSET\r\n", "AUTH PLAIN AGJvYgB4\r\n", "ETRN example.test\r\n", "QUIT\r\n" } },
	{ "smtpd", { HELLO, "STARTTLS\r\n", TLS HELLO, "AUTH PLAIN AGJvYgB4\r\n", MAIL "DATA\r\n", LETTER ".\r\n", "QUIT\r\n" } },
	{ "smtpd", { HELLO, "AUTH SCRAM-SHA-256 " SCRAM_FIRST, SCRAM_FINAL, "\r\n", MAIL "DATA\r\n", LETTER ".\r\n", "QUIT\r\n" } },
	{ "smtpd", { HELLO, "STARTTLS\r\n", TLS HELLO, "AUTH EXTERNAL =\r\n", MAIL "DATA\r\n", LETTER ".\r\n", MAIL "BDAT 17 LAST\r\n" LETTER, "QUIT\r\n" } },
	{ "imapd", { "a CAPABILITY\r\n", "b LOGIN bob@example.test secret\r\n", "c AUTHENTICATE PLAIN AGJvYgB4\r\n", "d NOOP\r\n" } },
	{ "imapd", { "a STARTTLS\r\n", TLS "b LOGIN bob@example.test secret\r\n", "c NOOP\r\n" } },
	{ "imapd", { "a STARTTLS\r\n", TLS "b AUTHENTICATE SCRAM-SHA-256 " SCRAM_FIRST, SCRAM_FINAL, "\r\n", "c NOOP\r\n" } },
	{ "pop3d", { "CAPA\r\n", "USER bob@example.test\r\n", "PASS secret\r\n", "STAT\r\n", "QUIT\r\n" } },
	{ "pop3d", { "STLS\r\n", TLS "USER bob@example.test\r\n", "PASS secret\r\n", "STAT\r\n", "QUIT\r\n" } },
	{ "pop3d", { "STLS\r\n", TLS "AUTH SCRAM-SHA-256 " SCRAM_FIRST, SCRAM_FINAL, "\r\n", "STAT\r\n" } },
};

/* One of those for its target. */
static const char *const *
script_for(struct rig *r)
{
	const char *const *found = NULL;
	uint32_t n = 0;

	for (size_t i = 0; i < sizeof(scripts) / sizeof(scripts[0]); i++)
		if (strcmp(scripts[i].target, r->target->name) == 0 && rnd(r, ++n) == 0)
			found = scripts[i].pieces;
	return found;
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
	for (size_t i = 0; i < CLIENTS + SERVED; i++)
		r->clients[i].fd = -1;
	r->listener = listen_here(&r->client_port);
	r->sink = listen_here(&r->sink_port);
	return r->listener >= 0 && r->sink >= 0 && (crypts_open(r) || broke(r, "no certificate for clients"));
}

static void
hang_up(struct client *c)
{
	crypt_free(&c->crypt);
	if (c->fd >= 0)
		(void)close(c->fd);
	c->fd = -1;
}

static void
tell(struct client *c, const char *text)
{
	if (c->crypt)
		crypt_send(c->crypt, text, strlen(text));
	else
		(void)send(c->fd, text, strlen(text), MSG_DONTWAIT | MSG_NOSIGNAL);
}

static ssize_t
hear(struct client *c, char *bytes, size_t n)
{
	return c->crypt ? crypt_recv(c->crypt, bytes, n) : recv(c->fd, bytes, n, MSG_DONTWAIT);
}

/* A mail host that takes everything, a reply for each line; a line comes whole. */
static void
serve_line(struct rig *r, struct client *c, struct span line)
{
	if (c->content) {
		c->content = !span_eq(line, SPAN(".\r\n"));
		if (!c->content)
			tell(c, "250 2.0.0 taken\r\n");
		c->over = !c->content && rnd(r, 4) == 0; /* else the next handshake is long in coming */
	} else if (rnd(r, 100) == 0) {
		tell(c, rnd(r, 2) ? "451 4.3.0 not now\r\n" : "nonsense\r\n");
	} else if (span_caseeq(span_sub(line, 0, 4), SPAN("EHLO"))) {
		tell(c, c->crypt ? "250-sink\r\n250-SIZE\r\n250 PIPELINING\r\n" : "250-sink\r\n250-STARTTLS\r\n250 PIPELINING\r\n");
	} else if (span_caseeq(line, SPAN("STARTTLS\r\n"))) {
		tell(c, "220 go\r\n");
		c->crypt = crypt_new(r, c->fd, true);
	} else {
		c->content = span_caseeq(line, SPAN("DATA\r\n"));
		tell(c, c->content ? "354 go on\r\n" : "250 2.0.0 ok\r\n");
	}
}

static void
serve(struct rig *r, struct client *c, struct span bytes)
{
	while (bytes.n) {
		const char *end = memchr(bytes.p, '\n', bytes.n);
		size_t n = end ? (size_t)(end - bytes.p) + 1 : bytes.n;

		serve_line(r, c, span_sub(bytes, 0, n));
		bytes = span_from(bytes, n);
	}
}

static void
call(struct rig *r, struct client *c)
{
	struct sockaddr_in at = { .sin_family = AF_INET, .sin_port = htons(r->client_port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	struct sockaddr_in abroad = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(ABROAD) };

	if (!(c->script = script_for(r)))
		return;
	c->fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (c->fd >= 0 && rnd(r, 2))
		(void)bind(c->fd, (struct sockaddr *)&abroad, sizeof(abroad));
	if (c->fd >= 0)
		(void)connect(c->fd, (struct sockaddr *)&at, sizeof(at));
	c->piece = 0;
}

/* Its next words; yes: the last answer was not a refusal. */
static void
go_on(struct rig *r, struct client *c, bool yes)
{
	const char *piece = c->script[c->piece++];

	if (piece[0] == TLS[0]) {
		piece++;
		if (yes && !c->crypt)
			c->crypt = crypt_new(r, c->fd, false);
	}
	tell(c, piece);
}

static void
turn(struct rig *r, struct client *c)
{
	char bytes[4096];
	bool said = false, yes = false;
	ssize_t n;

	if (c->fd < 0 && !c->server)
		call(r, c);
	if (c->fd < 0 || rnd(r, 3000) == 0) {
		hang_up(c);
		return;
	}
	for (; (n = hear(c, bytes, sizeof(bytes))) > 0; said = true) {
		yes = bytes[0] == '2' || bytes[0] == '+' || memmem(bytes, (size_t)n, " OK ", 4);
		if (c->server)
			serve(r, c, span_of(bytes, (size_t)n));
	}
	if (c->over || n == 0)
		hang_up(c);
	else if (c->server || (!said && rnd(r, 1000))) /* some do not wait */
		return;
	else if (c->piece < PIECES && c->script[c->piece])
		go_on(r, c, yes);
	else if (said)
		hang_up(c);
}

void
clients_turn(struct rig *r)
{
	size_t i = CLIENTS;
	int fd;

	if (strcmp(r->target->name, "remoted") == 0 && (fd = accept4(r->sink, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK)) >= 0) {
		while (i < CLIENTS + SERVED && r->clients[i].fd >= 0)
			i++;
		if (i == CLIENTS + SERVED) /* somebody's turn is over */
			i = CLIENTS + rnd(r, SERVED);
		hang_up(&r->clients[i]);
		r->clients[i] = (struct client){ .fd = fd, .server = true };
		tell(&r->clients[i], "220 sink ESMTP\r\n");
	}
	for (i = 0; i < CLIENTS + SERVED; i++)
		if (i < CLIENTS || r->clients[i].server)
			turn(r, &r->clients[i]);
}

void
clients_leave(struct rig *r)
{
	for (size_t i = 0; i < CLIENTS + SERVED; i++)
		hang_up(&r->clients[i]);
}

void
clients_close(struct rig *r)
{
	clients_leave(r);
	(void)close(r->listener);
	(void)close(r->sink);
}
