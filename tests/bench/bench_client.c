/* SPDX-License-Identifier: ISC
 *
 * bench_client: a cheap mailbox client that works against any server.
 *
 *   bench_client MODE -p PORT [-q LMTP_PORT] [-u USER] [-w PASSWORD] [-t TO] [-s SESSIONS]
 *                [-U USERS] [-n COUNT] [-l SIZE] [-T]
 *
 * MODE  ask     reads commands from standard input, one a line, and prints a line of JSON for each: milliseconds,
 *               octets, the last untagged and the tagged line.  "again" logs in anew, "random N OF"
 *               fetches N whole messages, chosen by chance of the first OF, one after the other
 *       mixed   SESSIONS sessions, one a user, COUNT commands of all kinds; latencies of each kind
 *       idle    SESSIONS sessions of USERS users select the INBOX and idle; prints a line when all do,
 *               and stays until standard input ends; "wake" there ends each IDLE, and prints how long all of
 *               that took; USERS 0: they log in as USER and stay in INBOX without IDLE
 *       notice  one session idles, COUNT messages are delivered by LMTP to TO: how long until it hears of each, from
 *               the final dot ("whole") and from the server's answer to it
 *       pop3    SESSIONS sessions, one a user, each retrieves all its messages: octets and seconds
 *
 * % in USER and TO is the number of a user.  -T: STARTTLS.  Exits 1 when the server does not do as asked.
 */
#include "client.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <time.h>
#include <unistd.h>

/* ---- ask ---- */

static void
put_json_text(const char *text)
{
	for (; *text; text++)
		(void)putchar(*text == '"' || *text == '\\' || (unsigned char)*text < ' ' ? '\'' : *text);
}

static void
random_bodies(struct conn *c, unsigned n, unsigned of, struct answer *a)
{
	double *times = calloc(n, sizeof(*times)), begun = now();
	unsigned chance = 12345;
	uint64_t bytes = 0;

	if (!times || of == 0)
		die("random", "how many of how many?");
	for (unsigned i = 0; i < n; i++) {
		double sent = now();
		char text[64];

		chance = chance * 1103515245 + 12345;
		(void)snprintf(text, sizeof(text), "FETCH %u BODY.PEEK[]", 1 + (chance >> 8) % of);
		if (!imap_ask(c, text, a))
			die(text, a->last);
		bytes += a->bytes;
		times[i] = now() - sent;
	}
	(void)printf("{\"ms\": %.3f, \"bytes\": %llu, ", (now() - begun) * 1e3, (unsigned long long)bytes);
	put_times(times, n);
	(void)printf(", \"ok\": true}\n");
	free(times);
}

static void
run_ask(const struct options *o)
{
	static char line[1 << 16];
	struct answer a;
	struct conn c;
	unsigned n, of;

	imap_enter(&c, o, 0);
	(void)printf("{\"ok\": true}\n");
	(void)fflush(stdout);
	while (fgets(line, sizeof(line), stdin)) {
		line[strcspn(line, "\n")] = '\0';
		if (strcmp(line, "again") == 0) {
			(void)imap_ask(&c, "LOGOUT", &a);
			conn_close(&c);
			imap_enter(&c, o, 0);
			(void)printf("{\"ok\": true}\n");
		} else if (sscanf(line, "random %u %u", &n, &of) == 2) {
			random_bodies(&c, n, of, &a);
		} else {
			double sent = now();
			bool ok = imap_ask(&c, line, &a);

			(void)printf("{\"ms\": %.3f, \"bytes\": %llu, \"exists\": %u, \"ok\": %s, \"untagged\": \"", (now() - sent) * 1e3, (unsigned long long)a.bytes, a.exists, ok ? "true" : "false");
			put_json_text(a.untagged);
			(void)printf("\", \"last\": \"");
			put_json_text(a.last);
			(void)printf("\"}\n");
		}
		(void)fflush(stdout);
	}
	conn_close(&c);
}

/* ---- idle ---- */

/* All at once, as after an interruption of the network. */
static void
wake(struct conn *all, unsigned n)
{
	double begun = now();
	struct answer a;

	for (unsigned i = 0; i < n; i++)
		conn_say(&all[i], "DONE");
	for (unsigned i = 0; i < n; i++)
		if (!imap_answer(&all[i], &a))
			die("DONE", a.last);
	(void)printf("{\"ms\": %.3f}\n", (now() - begun) * 1e3);
	(void)fflush(stdout);
}

static void
run_idle(const struct options *o)
{
	struct conn *all = calloc(o->sessions, sizeof(*all));
	char end[64];
	struct answer a;

	if (!all)
		die("sessions", "no memory");
	for (unsigned i = 0; i < o->sessions; i++) {
		imap_enter(&all[i], o, i % (o->users ? o->users : 1));
		if (!imap_ask(&all[i], "SELECT INBOX", &a))
			die("SELECT", a.last);
		if (o->users && !imap_ask(&all[i], "IDLE", &a)) /* its "+" */
			die("IDLE", a.last);
	}
	(void)printf("{\"idle\": %u}\n", o->sessions);
	(void)fflush(stdout);
	while (fgets(end, sizeof(end), stdin))
		if (strcmp(end, "wake\n") == 0)
			wake(all, o->sessions);
	for (unsigned i = 0; i < o->sessions; i++)
		conn_close(&all[i]);
	free(all);
}

/* ---- notice ---- */

/* A reply's last line begins with its code and a space. */
static void
lmtp_reply(struct conn *c, unsigned lines)
{
	char in[4096];
	size_t n = 0;

	while (lines > 0) {
		char *end;

		n += conn_get(c, in + n, sizeof(in) - 1 - n);
		in[n] = '\0';
		while (lines > 0 && (end = strchr(in, '\n'))) {
			if (in[0] != '2' && in[0] != '3')
				die("LMTP", in);
			lines -= in[3] == ' ';
			n -= (size_t)(end + 1 - in);
			memmove(in, end + 1, n + 1);
		}
	}
}

static void
on_notice(void *arg, const char *head)
{
	if (strstr(head, " EXISTS"))
		*(unsigned *)arg = (unsigned)strtoul(head + 2, NULL, 10);
}

/* Waits until there are more than before; when LMTP has answered is put into *answered. */
static void
await_both(struct conn *lmtp, struct conn *imap, struct scan *scan, unsigned *exists, double *answered, double *told)
{
	unsigned before = *exists;
	char in[4096];

	*answered = *told = 0;
	while (*answered == 0 || *told == 0) {
		struct pollfd fds[2] = { { .fd = *answered > 0 ? -1 : lmtp->fd, .events = POLLIN }, { .fd = imap->fd, .events = POLLIN } };

		if (poll(fds, 2, 60000) <= 0)
			die("notice", "none within a minute");
		if (fds[0].revents) {
			*answered = now();
			lmtp_reply(lmtp, 1);
		}
		if (fds[1].revents) {
			double at = now();

			scan_feed(scan, in, conn_get(imap, in, sizeof(in)), on_notice, exists);
			if (*exists > before && *told == 0)
				*told = at;
		}
	}
}

static void
run_notice(const struct options *o)
{
	double *whole = calloc(o->count + 1, sizeof(double)), *after = calloc(o->count + 1, sizeof(double));
	static const char message[] = "From: <sender@bench.test>\r\nTo: <rcpt@bench.test>\r\nDate: Sat, 21 Nov 2026 12:00:00 +0000\r\nSubject: notice\r\n\r\nnew\r\n.\r\n";
	char to[HEAD_MAX], rcpt[HEAD_MAX + 16];
	struct conn imap, lmtp;
	struct scan scan = { 0 };
	struct answer a;
	unsigned exists;

	if (!whole || !after)
		die("notice", "no memory");
	imap_enter(&imap, o, 0);
	if (!imap_ask(&imap, "SELECT INBOX", &a))
		die("SELECT", a.last);
	exists = a.exists;
	if (!imap_ask(&imap, "IDLE", &a))
		die("IDLE", a.last);
	conn_dial(&lmtp, o->lmtp_port);
	lmtp_reply(&lmtp, 1);
	conn_say(&lmtp, "LHLO load.bench.test");
	lmtp_reply(&lmtp, 1);
	numbered(to, o->to, 0);
	(void)snprintf(rcpt, sizeof(rcpt), "RCPT TO:<%s>", to);
	for (unsigned long i = 0; i <= o->count; i++) { /* the first is not counted */
		double sent, answered, told;

		(void)nanosleep(&(struct timespec){ .tv_nsec = 20000000 + (long)(i * 7919 % 40) * 1000000 }, NULL); /* out of step with whatever polls */
		conn_say(&lmtp, "MAIL FROM:<sender@bench.test>");
		lmtp_reply(&lmtp, 1);
		conn_say(&lmtp, rcpt);
		lmtp_reply(&lmtp, 1);
		conn_say(&lmtp, "DATA");
		lmtp_reply(&lmtp, 1);
		sent = now();
		conn_put(&lmtp, message, sizeof(message) - 1);
		await_both(&lmtp, &imap, &scan, &exists, &answered, &told);
		if (i > 0) {
			whole[i - 1] = told - sent;
			after[i - 1] = told > answered ? told - answered : 0;
		}
	}
	(void)printf("{");
	put_times(after, o->count);
	(void)printf(", \"whole\": {");
	put_times(whole, o->count);
	(void)printf("}}\n");
	free(whole);
	free(after);
	conn_close(&imap);
	conn_close(&lmtp);
}

/* ---- pop3 ---- */

static char *
pop3_line(struct conn *c, char *in, size_t size)
{
	size_t n = 0;

	while (n == 0 || in[n - 1] != '\n')
		n += conn_get(c, in + n, size - 1 - n);
	in[n] = '\0';
	if (in[0] != '+')
		die("POP3", in);
	return in;
}

struct pop3 {
	struct conn conn;
	unsigned long at, of; /* the message that is asked for, messages */
	uint64_t total, got;  /* octets: of all, of this answer */
	char last[5];
};

static void
pop3_enter(struct pop3 *p, const struct options *o, unsigned user)
{
	char in[HEAD_MAX * 2], name[HEAD_MAX], line[HEAD_MAX + 16];

	conn_dial(&p->conn, o->port);
	(void)pop3_line(&p->conn, in, sizeof(in));
	numbered(name, o->user, user);
	(void)snprintf(line, sizeof(line), "USER %s", name);
	conn_say(&p->conn, line);
	(void)pop3_line(&p->conn, in, sizeof(in));
	(void)snprintf(line, sizeof(line), "PASS %s", o->password);
	conn_say(&p->conn, line);
	(void)pop3_line(&p->conn, in, sizeof(in));
	conn_say(&p->conn, "STAT");
	p->of = strtoul(pop3_line(&p->conn, in, sizeof(in)) + 4, NULL, 10);
	if (p->of < o->count / 2)
		die("STAT: too few messages", in);
}

/* Asks for the next message; false: that was all. */
static bool
pop3_next(struct pop3 *p)
{
	char line[32];
	int n = snprintf(line, sizeof(line), "RETR %lu\r\n", ++p->at);

	if (p->at > p->of) {
		conn_say(&p->conn, "QUIT");
		(void)pop3_line(&p->conn, line, sizeof(line));
		conn_close(&p->conn);
		return false;
	}
	p->got = 0;
	conn_put(&p->conn, line, (size_t)n);
	return true;
}

/* Some of a multi-line answer; at its dot, the next.  False: that was all. */
static bool
pop3_some(struct pop3 *p)
{
	static char in[1 << 18];
	size_t got = conn_get(&p->conn, in, sizeof(in)), keep = got < 5 ? 5 - got : 0;

	if (p->got == 0 && in[0] != '+')
		die("RETR", "refused");
	memmove(p->last, p->last + 5 - keep, keep);
	memcpy(p->last + keep, in + got - (5 - keep), 5 - keep);
	p->got += got;
	p->total += got;
	return p->got < 5 || memcmp(p->last, "\r\n.\r\n", 5) != 0 || pop3_next(p);
}

/* One process for all: where several have something to say, nobody goes to sleep between two of them. */
static void
run_pop3(const struct options *o)
{
	struct pop3 *all = calloc(o->sessions, sizeof(*all));
	int epoll = epoll_create1(EPOLL_CLOEXEC);
	unsigned left = o->sessions;
	struct epoll_event ready[64];
	double begun = now();
	uint64_t total = 0;

	if (!all || epoll < 0)
		die("sessions", "no memory");
	for (unsigned i = 0; i < o->sessions; i++) {
		struct epoll_event e = { .events = EPOLLIN, .data.ptr = &all[i] };

		pop3_enter(&all[i], o, i);
		if (epoll_ctl(epoll, EPOLL_CTL_ADD, all[i].conn.fd, &e) < 0)
			die("epoll", strerror(errno));
	}
	for (unsigned i = 0; i < o->sessions; i++)
		left -= !pop3_next(&all[i]);
	while (left == 1 && o->sessions == 1) /* nobody else to be heard meanwhile */
		left -= !pop3_some(&all[0]);
	while (left > 0) {
		int n = epoll_wait(epoll, ready, 64, -1);

		for (int i = 0; i < n; i++)
			left -= !pop3_some(ready[i].data.ptr);
	}
	for (unsigned i = 0; i < o->sessions; i++)
		total += all[i].total;
	(void)printf("{\"bytes\": %llu, \"seconds\": %.4f}\n", (unsigned long long)total, now() - begun);
	(void)close(epoll);
	free(all);
}

int
main(int argc, char **argv)
{
	static const struct {
		const char *name;
		void (*run)(const struct options *o);
	} modes[] = { { "ask", run_ask }, { "mixed", run_mixed }, { "idle", run_idle }, { "notice", run_notice }, { "pop3", run_pop3 } };
	struct options o = { .sessions = 1, .users = 1, .count = 1000, .size = 4096, .user = "user%", .password = "secret", .to = "user%" };
	int opt;

	for (optind = 2; (opt = getopt(argc, argv, "p:q:u:w:t:s:U:n:l:T")) != -1;)
		switch (opt) {
		case 'p': o.port = (unsigned)atoi(optarg); break;
		case 'q': o.lmtp_port = (unsigned)atoi(optarg); break;
		case 'u': o.user = optarg; break;
		case 'w': o.password = optarg; break;
		case 't': o.to = optarg; break;
		case 's': o.sessions = (unsigned)atoi(optarg); break;
		case 'U': o.users = (unsigned)atoi(optarg); break;
		case 'n': o.count = strtoul(optarg, NULL, 10); break;
		case 'l': o.size = strtoul(optarg, NULL, 10); break;
		case 'T': o.tls = SSL_CTX_new(TLS_client_method()); break;
		default: return 2;
		}
	for (size_t i = 0; argc > 1 && i < sizeof(modes) / sizeof(modes[0]); i++)
		if (strcmp(modes[i].name, argv[1]) == 0) {
			modes[i].run(&o);
			SSL_CTX_free(o.tls);
			return 0;
		}
	die("no such mode", argc > 1 ? argv[1] : "");
}
