/* SPDX-License-Identifier: ISC
 *
 * A plain, blocking ESMTP client for one socket of this host.
 */
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/cursor.h"
#include "mail/content.h"
#include "tools/sendmail/sendmail.h"

enum {
	PATIENCE_SECONDS = 300,
	REPLY_MAX = 65536,
	PIPELINE = 50, /* commands on the way at once: their replies fit any socket buffer */
	CHUNK = 65536,
};

struct client {
	int fd;
	bool verbose;
	struct buf in, out;
	unsigned code;        /* of the last reply */
	char text[512];       /* its last line, behind the code */
	bool pipelining, size, eightbit, utf8, dsn;
};

/* Where the configuration has a listener for local programs, or the usual place. */
static bool
find_submit(const struct conf *conf, struct sockaddr_un *sun)
{
	int n;

	*sun = (struct sockaddr_un){ .sun_family = AF_UNIX };
	for (size_t i = 0; i < conf->nlisteners; i++) {
		const struct conf_listener *l = &conf->listeners[i];

		if (l->service == CONF_SERVICE_SUBMIT && l->address.len && l->address.un.sun_family == AF_UNIX) {
			*sun = l->address.un;
			return true;
		}
	}
	n = snprintf(sun->sun_path, sizeof(sun->sun_path), "%s/submit", conf->run_directory.p);
	return n > 0 && (size_t)n < sizeof(sun->sun_path);
}

static int
connect_submit(const struct conf *conf)
{
	struct sockaddr_un sun;
	struct timeval patience = { .tv_sec = PATIENCE_SECONDS };
	int fd;

	if (!find_submit(conf, &sun)) {
		errno = ENAMETOOLONG;
		return -1;
	}
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return -1;
	if (connect(fd, (struct sockaddr *)&sun, sizeof(sun)) != 0) {
		int err = errno;

		(void)close(fd);
		errno = err;
		return -1;
	}
	(void)setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience));
	(void)setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof(patience));
	return fd;
}

static bool
write_all(int fd, struct span s)
{
	while (s.n) {
		ssize_t n = write(fd, s.p, s.n);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return false;
		s = span_from(s, (size_t)n);
	}
	return true;
}

static bool
flush_out(struct client *c)
{
	bool ok = buf_ok(&c->out) && write_all(c->fd, buf_span(&c->out));

	buf_reset(&c->out);
	return ok;
}

static bool
read_more(struct client *c)
{
	ssize_t n;
	char *room = buf_room(&c->in, 4096);

	if (!room)
		return false;
	do
		n = read(c->fd, room, 4096);
	while (n < 0 && errno == EINTR);
	if (n <= 0)
		return false;
	buf_added(&c->in, (size_t)n);
	return true;
}

static void
note_extension(struct client *c, struct span line)
{
	struct span word = span_word(&line);

	c->pipelining |= span_caseeq(word, SPAN("PIPELINING"));
	c->size |= span_caseeq(word, SPAN("SIZE"));
	c->eightbit |= span_caseeq(word, SPAN("8BITMIME"));
	c->utf8 |= span_caseeq(word, SPAN("SMTPUTF8"));
	c->dsn |= span_caseeq(word, SPAN("DSN"));
}

/* Reads one whole reply. False: the connection is lost or it is none; code is 0 then. */
static bool
read_reply(struct client *c)
{
	bool more = true;

	c->code = 0;
	while (more) {
		struct span line = buf_span(&c->in);
		size_t end = span_chr(line, '\n');
		struct cursor digits;

		if (end == SIZE_MAX) {
			if (!read_more(c)) {
				c->code = 0;
				(void)snprintf(c->text, sizeof(c->text), "connection to the mail system lost");
				return false;
			}
			continue;
		}
		line = span_trim(span_sub(line, 0, end));
		if (c->verbose)
			(void)fprintf(stdout, "<<< %.*s\n", SPAN_ARG(line));
		digits = cursor_of(span_sub(line, 0, 3));
		c->code = (unsigned)cursor_number(&digits, 599);
		if (!digits.ok || c->code < 200 || (line.n > 3 && line.p[3] != ' ' && line.p[3] != '-')) {
			c->code = 0;
			(void)snprintf(c->text, sizeof(c->text), "not a reply: %.*s",
				       (int)(line.n > 100 ? 100 : line.n), line.p);
			return false;
		}
		more = line.n > 3 && line.p[3] == '-';
		line = span_from(line, 4);
		note_extension(c, line);
		(void)snprintf(c->text, sizeof(c->text), "%.*s", (int)(line.n > 500 ? 500 : line.n),
			       line.n ? line.p : "");
		buf_eat(&c->in, end + 1);
	}
	return true;
}

static void command(struct client *c, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

static void
command(struct client *c, const char *fmt, ...)
{
	va_list ap;
	size_t from = buf_len(&c->out);

	va_start(ap, fmt);
	buf_vprintf(&c->out, fmt, ap);
	va_end(ap);
	if (c->verbose)
		(void)fprintf(stdout, ">>> %.*s\n", SPAN_ARG(span_from(buf_span(&c->out), from)));
	buf_puts(&c->out, "\r\n");
}

static bool
say(struct client *c)
{
	return flush_out(c) && read_reply(c);
}

static int
status_of(unsigned code, int permanent)
{
	return code == 0 || code / 100 == 4 ? EX_TEMPFAIL : permanent;
}

static int
refused(const struct client *c, const char *what, int permanent)
{
	return complain(status_of(c->code, permanent), "%s: %u %s", what, c->code, c->text);
}

/* Up to the answer to EHLO. Returns EX_OK, or the status with the reason printed. */
static int
open_client(struct client *c, const struct sendmail_options *o, const struct conf *conf)
{
	*c = (struct client){ .fd = connect_submit(conf), .verbose = o->verbose };
	buf_init(&c->in, REPLY_MAX);
	buf_init(&c->out, 4 * CHUNK);
	if (c->fd < 0)
		return complain(EX_TEMPFAIL, "the mail system is not to be reached (%s/submit): %s",
				conf->run_directory.p, strerror(errno));
	if (!read_reply(c) || c->code != 220)
		return refused(c, "greeting", EX_UNAVAILABLE);
	command(c, "EHLO localhost");
	if (!say(c) || c->code != 250)
		return refused(c, "EHLO", EX_PROTOCOL);
	return EX_OK;
}

static void
close_client(struct client *c)
{
	if (c->fd >= 0) {
		command(c, "QUIT");
		(void)say(c);
		(void)close(c->fd);
	}
	buf_free(&c->in);
	buf_free(&c->out);
}

static bool
needs_utf8(const struct message *m)
{
	bool utf8 = m->sender.utf8;

	for (size_t i = 0; i < m->nrecipients; i++)
		utf8 = utf8 || m->recipients[i].utf8;
	return utf8;
}

static void
put_mail(struct client *c, const struct sendmail_options *o, const struct message *m)
{
	char size[40] = "", envid[120] = "";
	struct buf x;

	if (c->size)
		(void)snprintf(size, sizeof(size), " SIZE=%zu", buf_len(&m->content));
	buf_init(&x, 100); /* RFC 3461 4.4 */
	if (c->dsn && o->envid) {
		xtext_encode(&x, span_str(o->envid));
		if (buf_ok(&x))
			(void)snprintf(envid, sizeof(envid), " ENVID=%.*s", SPAN_ARG(buf_span(&x)));
	}
	buf_free(&x);
	command(c, "MAIL FROM:<%.*s>%s%s%s%s%s%s", SPAN_ARG(address_text(&m->sender)), size,
		c->eightbit && m->eightbit ? " BODY=8BITMIME" : "", c->utf8 && needs_utf8(m) ? " SMTPUTF8" : "",
		c->dsn && o->ret ? " RET=" : "", c->dsn && o->ret ? o->ret : "", envid);
}

static void
put_rcpt(struct client *c, const struct sendmail_options *o, const struct address *a)
{
	bool notify = c->dsn && o->notify;

	command(c, "RCPT TO:<%.*s>%s%s", SPAN_ARG(address_text(a)), notify ? " NOTIFY=" : "", notify ? o->notify : "");
}

/* What became of the recipients of one transaction. */
struct outcome {
	size_t done;   /* recipients settled, from the first on */
	size_t taken;  /* of them */
	int status;    /* the worst so far */
};

static void
settle(struct client *c, const struct address *a, struct outcome *r)
{
	if (c->code / 100 == 2) {
		r->taken++;
		return;
	}
	r->status = complain(status_of(c->code, EX_NOUSER), "%.*s: %u %s", SPAN_ARG(address_text(a)), c->code, c->text);
}

/* MAIL, and RCPT for what is left, as many as the server takes at once. */
static bool
send_envelope(struct client *c, const struct sendmail_options *o, const struct message *m, struct outcome *r)
{
	size_t first = r->done, window = c->pipelining ? PIPELINE : 1;

	put_mail(c, o, m);
	if (!say(c) || c->code != 250) {
		r->status = refused(c, "sender", EX_UNAVAILABLE);
		return false;
	}
	while (r->done < m->nrecipients) {
		size_t n = m->nrecipients - r->done < window ? m->nrecipients - r->done : window;
		bool full = false;

		for (size_t i = 0; i < n; i++)
			put_rcpt(c, o, &m->recipients[r->done + i]);
		if (!flush_out(c))
			return false;
		for (size_t i = 0; i < n; i++) {
			if (!read_reply(c)) {
				r->status = refused(c, "recipient", EX_TEMPFAIL);
				return false;
			}
			full = full ||
			       (c->code == 452 && r->taken && r->done > first && strncmp(c->text, "4.5.3", 5) == 0);
			if (full)
				continue; /* these wait for the next transaction */
			settle(c, &m->recipients[r->done], r);
			r->done++;
		}
		if (full)
			break;
	}
	return true;
}

static bool
send_content(struct client *c, struct span content)
{
	struct stuff s;
	struct span run;

	stuff_init(&s);
	while (stuff_next(&s, &content, &run)) {
		if (run.n > CHUNK) {
			if (!flush_out(c) || !write_all(c->fd, run))
				return false;
			continue;
		}
		buf_put(&c->out, run);
		if (buf_len(&c->out) > CHUNK && !flush_out(c))
			return false;
	}
	buf_put(&c->out, stuff_tail(&s));
	return flush_out(c);
}

static bool
transaction(struct client *c, const struct sendmail_options *o, const struct message *m, struct outcome *r)
{
	size_t before = r->taken;

	if (!send_envelope(c, o, m, r))
		return false;
	if (r->taken == before) {
		command(c, "RSET");
		return say(c);
	}
	command(c, "DATA");
	if (!say(c) || c->code != 354) {
		r->status = refused(c, "message", EX_UNAVAILABLE);
		return false;
	}
	if (!send_content(c, buf_span(&m->content)))
		(void)0; /* the server may have said why */
	if (!read_reply(c) || c->code / 100 != 2) {
		r->status = refused(c, "message", EX_DATAERR);
		return false;
	}
	return true;
}

int
submit_message(const struct sendmail_options *o, const struct conf *conf, const struct message *m)
{
	struct client c;
	struct outcome r = { .status = open_client(&c, o, conf) };

	if (r.status == EX_OK && needs_utf8(m) && !c.utf8)
		r.status = complain(EX_UNAVAILABLE, "an address needs SMTPUTF8, which the mail system does not offer");
	if (r.status == EX_OK)
		while (r.done < m->nrecipients && transaction(&c, o, m, &r))
			continue;
	if (r.status == EX_OK && r.done < m->nrecipients)
		r.status = complain(EX_TEMPFAIL, "connection to the mail system lost");
	close_client(&c);
	return r.status;
}

int
submit_verify(const struct sendmail_options *o, const struct conf *conf, const struct message *m)
{
	struct client c;
	int status = open_client(&c, o, conf);

	if (status == EX_OK) {
		command(&c, "MAIL FROM:<%.*s>", SPAN_ARG(address_text(&m->sender)));
		if (!say(&c) || c.code != 250)
			status = refused(&c, "sender", EX_UNAVAILABLE);
	}
	for (size_t i = 0; i < m->nrecipients && (status == EX_OK || status == EX_NOUSER); i++) {
		const struct address *a = &m->recipients[i];

		put_rcpt(&c, o, a);
		if (!say(&c))
			status = refused(&c, "recipient", EX_TEMPFAIL);
		else if (c.code / 100 != 2)
			status = status_of(c.code, EX_NOUSER);
		if (c.code)
			(void)printf("%.*s... %s: %u %s\n", SPAN_ARG(address_text(a)),
				     c.code / 100 == 2 ? "deliverable" : "not deliverable", c.code, c.text);
	}
	close_client(&c);
	return status;
}

/* Moves what one side has said to the other. False: that side said nothing more. */
static bool
pump(int from, int to)
{
	char bytes[16384];
	ssize_t n = read(from, bytes, sizeof(bytes));

	if (n < 0)
		return errno == EINTR || errno == EAGAIN;
	return n > 0 && write_all(to, span_of(bytes, (size_t)n));
}

int
submit_relay(const struct conf *conf)
{
	int fd = connect_submit(conf);
	struct pollfd p[2] = { { .fd = STDIN_FILENO, .events = POLLIN }, { .fd = fd, .events = POLLIN } };

	if (fd < 0) {
		(void)printf("421 4.3.2 %s Service not available\r\n", conf->myhostname.p);
		return EX_TEMPFAIL;
	}
	while (p[1].fd >= 0) {
		if (poll(p, 2, PATIENCE_SECONDS * 1000) <= 0 && errno != EINTR)
			break;
		if (p[0].revents && !pump(STDIN_FILENO, fd)) {
			p[0].fd = -1;
			p[0].revents = 0;
			(void)shutdown(fd, SHUT_WR);
		}
		if (p[1].revents && !pump(fd, STDOUT_FILENO))
			p[1].fd = -1;
	}
	(void)close(fd);
	return EX_OK;
}
