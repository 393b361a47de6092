/* SPDX-License-Identifier: ISC */
#include "tools/mailctl/imapclient.h"

#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

enum { READ_SIZE = 65536 };

static bool
is_here(const struct sockaddr *a)
{
	if (a->sa_family == AF_INET)
		return ntohl(((const struct sockaddr_in *)(const void *)a)->sin_addr.s_addr) >> 24 == 127;
	return a->sa_family == AF_INET6 && IN6_IS_ADDR_LOOPBACK(&((const struct sockaddr_in6 *)(const void *)a)->sin6_addr);
}

static int
dial(const struct addrinfo *all, struct fail *why)
{
	struct timeval patience = { .tv_sec = IMAPCLIENT_WAIT_S };
	int fd = -1;

	for (const struct addrinfo *a = all; a && fd < 0; a = a->ai_next) {
		if (!is_here(a->ai_addr)) {
			(void)fail_set(why, FAIL_PERM, 0, "only a server on this host is talked to, for the password goes in clear: use a tunnel (ssh -L, stunnel)");
			continue;
		}
		fd = socket(a->ai_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
		if (fd < 0 || setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience)) < 0 || connect(fd, a->ai_addr, a->ai_addrlen) < 0) {
			(void)fail_errno(why, 0, "connect");
			if (fd >= 0)
				(void)close(fd);
			fd = -1;
		}
	}
	return fd;
}

/* ---- reading ---- */

static bool
fill(struct imapclient *c, struct fail *why)
{
	char *room = buf_room(&c->in, READ_SIZE);
	ssize_t n;

	if (!room)
		return fail_set(why, FAIL_PEER, 0, "the server's line is too long");
	do
		n = recv(c->fd, room, READ_SIZE, 0);
	while (n < 0 && errno == EINTR);
	if (n < 0)
		return fail_errno(why, 0, "the server");
	if (n == 0)
		return fail_set(why, FAIL_PEER, 0, "the server closed the connection");
	buf_added(&c->in, (size_t)n);
	return true;
}

/* "{123}" or "{123+}" at the end of a line. */
static bool
literal_of(struct span *line, uint64_t *size)
{
	size_t open = span_rchr(*line, '{');

	if (open == SIZE_MAX || line->p[line->n - 1] != '}' || !span_u64(span_sub(*line, open + 1, line->n - open - 2), UINT32_MAX, size))
		return false;
	line->n = open;
	return true;
}

static bool
take_octets(struct imapclient *c, uint64_t size, struct fail *why)
{
	while (size > 0) {
		struct span in = buf_span(&c->in);

		if (in.n == 0) {
			if (!fill(c, why))
				return false;
			continue;
		}
		if (in.n > size)
			in.n = (size_t)size;
		if (c->on_octets && !c->on_octets(c->arg, in, why))
			return false;
		size -= in.n;
		buf_eat(&c->in, in.n);
	}
	c->body = true;
	buf_puts(&c->text, "NIL");
	return true;
}

/* Names and the like: as a quoted string. */
static bool
take_short(struct imapclient *c, uint64_t size, struct fail *why)
{
	bool ok;

	if (size > 4096)
		return fail_set(why, FAIL_PEER, 0, "the server's literal is too long");
	while (buf_len(&c->in) < size)
		if (!fill(c, why))
			return false;
	ok = imapclient_quote(&c->text, span_sub(buf_span(&c->in), 0, (size_t)size));
	buf_eat(&c->in, (size_t)size);
	return ok || fail_set(why, FAIL_PEER, 0, "the server's literal has control characters");
}

static bool
read_response(struct imapclient *c, struct fail *why)
{
	buf_reset(&c->text);
	c->body = false;
	for (;;) {
		struct span in = buf_span(&c->in), line;
		size_t end = span_find(in, SPAN("\r\n"));
		uint64_t size;
		bool more;

		if (end == SIZE_MAX) {
			if (!fill(c, why))
				return false;
			continue;
		}
		line = span_sub(in, 0, end);
		more = line.n && literal_of(&line, &size);
		buf_put(&c->text, line);
		buf_eat(&c->in, end + 2);
		if (!buf_ok(&c->text))
			return fail_set(why, FAIL_PEER, 0, "the server's response is too long");
		if (!more)
			return true;
		line = buf_span(&c->text);
		if (line.n > 7 && span_caseeq(span_from(line, line.n - 7), SPAN("BODY[] ")) ? !take_octets(c, size, why) : !take_short(c, size, why))
			return false;
	}
}

enum imapclient_kind
imapclient_read(struct imapclient *c, struct fail *why)
{
	char tag[16];
	struct span text;

	if (!read_response(c, why))
		return IMAPCLIENT_FAILED;
	text = buf_span(&c->text);
	(void)snprintf(tag, sizeof(tag), "a%u", c->tag);
	if (span_starts(text, SPAN("* BYE")))
		(void)fail_set(why, FAIL_PEER, 0, "the server says: %.*s", SPAN_ARG(span_sub(text, 2, 150)));
	else if (span_starts(text, SPAN("* ")))
		return IMAPCLIENT_UNTAGGED;
	else if (!span_eq(span_word(&text), span_str(tag)))
		(void)fail_set(why, FAIL_PEER, 0, "the server does not speak IMAP");
	else if (span_caseeq(span_word(&text), SPAN("OK")))
		return IMAPCLIENT_DONE;
	else {
		(void)fail_set(why, FAIL_PEER, 0, "the server refuses: %.*s", SPAN_ARG(span_sub(span_trim(text), 0, 150)));
		return IMAPCLIENT_REFUSED;
	}
	return IMAPCLIENT_FAILED;
}

/* ---- writing ---- */

bool
imapclient_quote(struct buf *out, struct span s)
{
	buf_putc(out, '"');
	for (size_t i = 0; i < s.n; i++) {
		if (s.p[i] == '"' || s.p[i] == '\\')
			buf_putc(out, '\\');
		if (s.p[i] == '\r' || s.p[i] == '\n' || s.p[i] == '\0')
			return false;
		buf_putc(out, s.p[i]);
	}
	buf_putc(out, '"');
	return buf_ok(out);
}

bool
imapclient_send(struct imapclient *c, struct span command, struct fail *why)
{
	struct buf line;
	struct span rest;
	ssize_t n = 0;

	buf_init(&line, command.n + 32);
	buf_printf(&line, "a%u ", ++c->tag);
	buf_put(&line, command);
	buf_puts(&line, "\r\n");
	for (rest = buf_span(&line); rest.n && n >= 0; rest = span_from(rest, (size_t)(n > 0 ? n : 0))) {
		n = send(c->fd, rest.p, rest.n, MSG_NOSIGNAL);
		n = n < 0 && errno == EINTR ? 0 : n;
	}
	buf_wipe(&line);
	return n >= 0 || fail_errno(why, 0, "the server");
}

bool
imapclient_connect(struct imapclient *c, struct span host_port, struct fail *why)
{
	struct addrinfo want = { .ai_socktype = SOCK_STREAM }, *all = NULL;
	size_t colon = span_rchr(host_port, ':');
	char host[256], port[16] = "143";
	int rc;

	*c = (struct imapclient){ .fd = -1 };
	buf_init(&c->in, IMAPCLIENT_LINE_MAX + READ_SIZE);
	buf_init(&c->text, IMAPCLIENT_LINE_MAX);
	if (colon != SIZE_MAX && span_chr(host_port, ':') == colon) {
		if (!span_cstr(span_from(host_port, colon + 1), port, sizeof(port)))
			return fail_set(why, FAIL_PERM, 0, "not a port");
		host_port.n = colon;
	}
	if (!span_cstr(host_port, host, sizeof(host)))
		return fail_set(why, FAIL_PERM, 0, "the host's name is too long");
	rc = getaddrinfo(host, port, &want, &all);
	if (rc)
		return fail_set(why, FAIL_TEMP, 0, "%s: %s", host, gai_strerror(rc));
	c->fd = dial(all, why);
	freeaddrinfo(all);
	return c->fd >= 0 && read_response(c, why) &&
	    (span_starts(buf_span(&c->text), SPAN("* OK")) || fail_set(why, FAIL_PEER, 0, "the server does not speak IMAP"));
}

void
imapclient_close(struct imapclient *c)
{
	if (c->fd >= 0)
		(void)close(c->fd);
	c->fd = -1;
	buf_free(&c->in);
	buf_free(&c->text);
}

/* ---- items ---- */

static bool
take_quoted(struct span *rest, struct arena *mem, struct span *value)
{
	char *to = arena_alloc(mem, rest->n + 1);
	size_t n = 0, i = 1;

	for (; to && i < rest->n && rest->p[i] != '"'; i++) {
		if (rest->p[i] == '\\' && i + 1 < rest->n)
			i++;
		to[n++] = rest->p[i];
	}
	if (!to || i >= rest->n)
		return false;
	*value = span_of(to, n);
	*rest = span_from(*rest, i + 1);
	return true;
}

bool
imapclient_item(struct span *rest, struct arena *mem, struct span *value, bool *list)
{
	size_t n = 0, depth = 0;

	*list = false;
	while (rest->n && rest->p[0] == ' ')
		*rest = span_from(*rest, 1);
	if (rest->n == 0)
		return false;
	if (rest->p[0] == '"')
		return take_quoted(rest, mem, value);
	if (rest->p[0] != '(') {
		while (n < rest->n && rest->p[n] != ' ' && rest->p[n] != ')' && rest->p[n] != '(')
			n++;
		*value = span_sub(*rest, 0, n);
		*rest = span_from(*rest, n);
		return n > 0;
	}
	*list = true;
	for (bool quoted = false; n < rest->n; n++) {
		char c = rest->p[n];

		if (quoted && c == '\\')
			n++;
		else if (c == '"')
			quoted = !quoted;
		else if (!quoted && c == '(')
			depth++;
		else if (!quoted && c == ')' && --depth == 0)
			break;
	}
	if (n >= rest->n)
		return false;
	*value = span_sub(*rest, 1, n - 1);
	*rest = span_from(*rest, n + 1);
	return true;
}
