/* SPDX-License-Identifier: ISC
 *
 * bench_mixed: the mixed load of bench_client: each session at a mailbox of its own, and as soon as
 * one command is answered the next, chosen by chance with these weights.
 */
#include "client.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>

enum { RANGE = 20, READ_MAX = 1 << 18 };

/* #: a message, &: RANGE of them, @: a new message's size and itself */
static const struct kind {
	const char *name, *text;
	unsigned weight;
} kinds[] = {
	{ "NOOP", "NOOP", 8 },
	{ "FETCH list", "FETCH & (UID FLAGS INTERNALDATE RFC822.SIZE ENVELOPE)", 14 },
	{ "FETCH headers", "FETCH & (UID BODY.PEEK[HEADER.FIELDS (FROM TO SUBJECT DATE MESSAGE-ID)])", 10 },
	{ "FETCH body", "FETCH # (UID BODY.PEEK[])", 24 },
	{ "FETCH flags", "FETCH 1:* (UID FLAGS)", 6 },
	{ "STORE +", "STORE # +FLAGS (\\Seen)", 8 },
	{ "STORE -", "STORE # -FLAGS (\\Seen)", 6 },
	{ "SEARCH UNSEEN", "SEARCH UNSEEN", 6 },
	{ "SEARCH SUBJECT", "SEARCH SUBJECT bench", 2 },
	{ "STATUS", "STATUS Copies (MESSAGES UNSEEN UIDNEXT)", 5 },
	{ "LIST", "LIST \"\" *", 3 },
	{ "SELECT", "SELECT INBOX", 3 },
	{ "APPEND", "APPEND INBOX @", 3 },
	{ "COPY", "COPY # Copies", 2 },
	{ "STORE Deleted", "STORE # +FLAGS.SILENT (\\Deleted)", 1 },
	{ "EXPUNGE", "EXPUNGE", 1 },
};

enum { KINDS = sizeof(kinds) / sizeof(kinds[0]) };

struct mixed;

struct session {
	struct mixed *all;
	struct conn conn;
	struct scan scan;
	unsigned exists, kind;
	unsigned long chance;
	double sent;
	bool done;
};

struct mixed {
	int epoll;
	unsigned open;
	unsigned long begun, want;
	char *message;
	struct times {
		double *all;
		size_t n, size;
	} times[KINDS];
};

static unsigned
pick(struct session *s, unsigned of)
{
	s->chance = s->chance * 6364136223846793005ul + 1442695040888963407ul;
	return (unsigned)((s->chance >> 33) % of);
}

static unsigned
pick_kind(struct session *s)
{
	unsigned total = 0, at, i = 0;

	for (unsigned k = 0; k < KINDS; k++)
		total += kinds[k].weight;
	for (at = pick(s, total); at >= kinds[i].weight; i++)
		at -= kinds[i].weight;
	return i;
}

static void
say_next(struct session *s)
{
	static char out[1 << 16];
	const char *p;
	size_t n = 0;

	s->kind = pick_kind(s);
	if (s->exists == 0)
		die("mixed", "a mailbox is empty");
	n += (size_t)sprintf(out, "x ");
	for (p = kinds[s->kind].text; *p; p++) {
		unsigned m = 1 + pick(s, s->exists);

		if (*p == '#')
			n += (size_t)sprintf(out + n, "%u", m);
		else if (*p == '&')
			n += (size_t)sprintf(out + n, "%u:%u", m > RANGE ? m - RANGE + 1 : 1, m);
		else if (*p == '@')
			n += (size_t)sprintf(out + n, "{%zu+}\r\n%s", strlen(s->all->message), s->all->message);
		else
			out[n++] = *p;
	}
	n += (size_t)sprintf(out + n, "\r\n");
	s->sent = now();
	s->done = false;
	conn_put(&s->conn, out, n); /* small: the socket takes it at once */
}

static void
note(struct times *t, double took)
{
	if (t->n == t->size) {
		t->size = t->size ? t->size * 2 : 256;
		t->all = realloc(t->all, t->size * sizeof(*t->all));
		if (!t->all)
			die("times", "no memory");
	}
	t->all[t->n++] = took;
}

static void
on_line(void *arg, const char *head)
{
	struct session *s = arg;

	if (head[0] == '*') {
		const char *word = strchr(head + 2, ' ');

		if (word && strcmp(word, " EXISTS") == 0)
			s->exists = (unsigned)strtoul(head + 2, NULL, 10);
		else if (word && strcmp(word, " EXPUNGE") == 0)
			s->exists--;
		return;
	}
	if (strncmp(head, "x OK", 4) != 0)
		die(kinds[s->kind].name, head);
	note(&s->all->times[s->kind], now() - s->sent);
	s->done = true;
}

static void
on_ready(struct mixed *all, struct session *s)
{
	static char in[READ_MAX];
	ssize_t got = recv(s->conn.fd, in, sizeof(in), MSG_DONTWAIT);

	if (got < 0 && errno == EAGAIN)
		return;
	if (got <= 0)
		die("mixed", "the server hung up");
	scan_feed(&s->scan, in, (size_t)got, on_line, s);
	if (!s->done)
		return;
	if (all->begun == all->want) {
		conn_close(&s->conn);
		all->open--;
		return;
	}
	all->begun++;
	say_next(s);
}

static void
enter(struct mixed *all, struct session *s, const struct options *o, unsigned user)
{
	struct epoll_event e = { .events = EPOLLIN, .data.ptr = s };
	struct answer a;

	*s = (struct session){ .all = all, .chance = user * 977ul + 1 };
	imap_enter(&s->conn, o, user);
	(void)imap_ask(&s->conn, "CREATE Copies", &a); /* may be there */
	if (!imap_ask(&s->conn, "SELECT INBOX", &a))
		die("SELECT", a.last);
	s->exists = a.exists;
	if (epoll_ctl(all->epoll, EPOLL_CTL_ADD, s->conn.fd, &e) < 0)
		die("epoll", strerror(errno));
	all->open++;
}

static void
report(struct mixed *all, double took)
{
	const char *before = "";

	(void)printf("{\"count\": %lu, \"seconds\": %.4f, \"commands\": {", all->want, took);
	for (unsigned k = 0; k < KINDS; k++) {
		if (all->times[k].n == 0)
			continue;
		(void)printf("%s\"%s\": {", before, kinds[k].name);
		put_times(all->times[k].all, all->times[k].n);
		(void)printf("}");
		free(all->times[k].all);
		before = ", ";
	}
	(void)printf("}}\n");
}

static char *
make_message(size_t size)
{
	static const char head[] = "From: <sender@bench.test>\r\nTo: <rcpt@bench.test>\r\nDate: Sat, 21 Nov 2026 12:00:00 +0000\r\nSubject: bench mixed\r\n\r\n";
	size_t n = sizeof(head) - 1;
	char *p;

	size = size < 1024 ? 1024 : size > 32768 ? 32768 : size;
	p = malloc(size + 1);
	if (!p)
		die("message", "no memory");
	memcpy(p, head, n);
	for (; n < size; n++)
		p[n] = n % 72 == 70 && n + 1 < size ? '\r' : n % 72 == 71 && p[n - 1] == '\r' ? '\n' : 'x';
	memcpy(p + size - 2, "\r\n", 2);
	p[size] = '\0';
	return p;
}

void
run_mixed(const struct options *o)
{
	struct session *sessions = calloc(o->sessions, sizeof(*sessions));
	struct mixed all = { .epoll = epoll_create1(EPOLL_CLOEXEC), .want = o->count, .message = make_message(o->size) };
	struct epoll_event ready[64];
	double begun;

	if (!sessions || all.epoll < 0)
		die("sessions", "no memory");
	for (unsigned i = 0; i < o->sessions; i++)
		enter(&all, &sessions[i], o, i);
	begun = now();
	for (unsigned i = 0; i < o->sessions && all.begun < all.want; i++, all.begun++)
		say_next(&sessions[i]);
	while (all.open > 0) {
		int n = epoll_wait(all.epoll, ready, 64, 60000);

		if (n == 0)
			die("mixed", "silent for a minute");
		for (int i = 0; i < n; i++)
			on_ready(&all, ready[i].data.ptr);
	}
	report(&all, now() - begun);
	free(all.message);
	free(sessions);
}
