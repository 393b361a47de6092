/* SPDX-License-Identifier: ISC
 *
 * bench_load: a cheap load client, the same for every server: all sessions in
 * one epoll loop, no thread, no copy of the content. Each message has its own Message-ID,
 * for there are servers that drop the second of two.
 *
 *   bench_load PROTOCOL -p PORT [-s SESSIONS] [-m COUNT] [-c PER_CONNECTION] [-l SIZE]
 *              [-f FROM] [-t TO] [-u USERS] [-w PASSWORD] [-D DIALS] [-P] [-T]
 *
 * PROTOCOL: smtp, lmtp, smtp-tls (EHLO STARTTLS EHLO QUIT), handshake (TLS at once, then the server hangs up), imap-login (LOGIN SELECT LOGOUT), imap-append, pop3 (USER PASS STAT
 * UIDL QUIT).  A % in TO is the number of a user, 0 to USERS - 1, in turn.  -P sends envelope
 * and DATA at once (RFC 2920), -D waits for greetings of so many connections at a time (for a
 * server with a short accept queue), -T turns TLS on (STARTTLS, STLS).  Prints one line of JSON: how
 * many, seconds, and the latency of the counted step in microseconds.  Exits 1 at the first
 * reply that is not a success: a bench of refusals is none.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

enum { STEPS = 16, LINE = 1024, ID = 46 };

enum expect { REPLY, GREETING, TAGGED, PLUS, MULTI };

struct step {
	const char *text;
	size_t n;
	enum expect expect;
	unsigned replies;
	bool counts, tls, message; /* a line with its id goes before a message */
};

struct script {
	struct step steps[STEPS];
	size_t n, loop, tail; /* steps[loop..tail) are repeated on a connection */
	char *message;        /* owned */
};

struct session {
	int fd;
	SSL *ssl;
	size_t step, line;
	unsigned done, replies, user, wants;
	bool handshake, in_multi;
	double sent_at, born;
	const char *out, *next; /* what is sent, what behind it */
	size_t nout, nnext;
	char text[LINE], head[8];
};

struct load {
	int epoll;
	SSL_CTX *tls;
	struct script script;
	struct sockaddr_in to;
	unsigned long want, begun, finished, run, ids;
	unsigned per_connection, users, next_user, open, dials, dialing;
	struct session **waiting; /* to dial */
	unsigned nwaiting;
	bool whole; /* a connection is what is counted */
	bool bare;  /* TLS from the first byte on, and its end is the server's */
	double *latency;
};

static double
now(void)
{
	struct timespec t;

	(void)clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static _Noreturn void
die(const char *what, const char *detail)
{
	(void)fprintf(stderr, "bench_load: %s: %s\n", what, detail);
	exit(1);
}

static void
watch(struct load *l, struct session *s, unsigned wants)
{
	struct epoll_event e = { .events = wants, .data.ptr = s };

	if (wants == s->wants)
		return;
	if (epoll_ctl(l->epoll, s->wants ? EPOLL_CTL_MOD : EPOLL_CTL_ADD, s->fd, &e) < 0)
		die("epoll", strerror(errno));
	s->wants = wants;
}

/* ---- bytes ---- */

/* Both parts in one call where the system does that. */
static ssize_t
put(const struct session *s)
{
	struct iovec parts[] = { { (void *)(uintptr_t)s->out, s->nout }, { (void *)(uintptr_t)s->next, s->nnext } };
	const struct msghdr m = { .msg_iov = parts, .msg_iovlen = s->nnext ? 2 : 1 };

	return s->ssl ? SSL_write(s->ssl, s->out, (int)s->nout) : sendmsg(s->fd, &m, MSG_NOSIGNAL);
}

static void
flush_out(struct load *l, struct session *s)
{
	while (s->nout > 0) {
		ssize_t n = put(s);

		if (n <= 0) {
			if (!s->ssl && errno != EAGAIN)
				die("send", strerror(errno));
			watch(l, s, EPOLLIN | EPOLLOUT);
			return;
		}
		if (s->nnext && (size_t)n >= s->nout) {
			n -= (ssize_t)s->nout;
			s->out = s->next;
			s->nout = s->nnext;
			s->nnext = 0;
		}
		s->out += n;
		s->nout -= (size_t)n;
	}
	watch(l, s, EPOLLIN);
}

static ssize_t
receive(struct session *s, char *to, size_t n)
{
	ssize_t got = s->ssl ? SSL_read(s->ssl, to, (int)n) : recv(s->fd, to, n, 0);

	if (got > 0)
		return got;
	if (s->ssl ? SSL_get_error(s->ssl, (int)got) == SSL_ERROR_WANT_READ : got < 0 && errno == EAGAIN)
		return -1;
	return 0;
}

/* ---- the script ---- */

static void connect_next(struct load *l, struct session *s);
static void begin_tls(struct load *l, struct session *s);
static void greeted(struct load *l);

static void
say(struct load *l, struct session *s)
{
	const struct step *step = &l->script.steps[s->step];
	size_t n = 0;

	s->replies = step->replies;
	s->out = step->text;
	s->nout = step->n;
	if (step->message) {
		(void)snprintf(s->text, sizeof(s->text), "Message-ID: <%08lx.%010lu@bench.test>\r\n", l->run & 0xffffffff, l->ids++);
		s->out = s->text;
		s->nout = ID;
		s->next = step->text;
		s->nnext = step->n;
	} else if (step->n < LINE && memchr(step->text, '%', step->n)) {
		for (size_t i = 0; i < step->n && n + 12 < LINE; i++) {
			if (step->text[i] == '%')
				n += (size_t)sprintf(s->text + n, "%u", s->user);
			else
				s->text[n++] = step->text[i];
		}
		s->out = s->text;
		s->nout = n;
	}
	s->sent_at = now();
	flush_out(l, s);
}

static void
hang_up(struct load *l, struct session *s)
{
	SSL_free(s->ssl);
	s->ssl = NULL;
	(void)close(s->fd);
	l->open--;
	connect_next(l, s);
}

static void
advance(struct load *l, struct session *s)
{
	const struct script *script = &l->script;
	const struct step *step = &script->steps[s->step];

	if (s->step == 0)
		greeted(l);
	if (step->counts) {
		l->latency[l->finished++] = now() - (l->whole ? s->born : s->sent_at);
		s->done++;
	}
	if (step->tls && !s->ssl)
		begin_tls(l, s);
	s->step++;
	if (s->step == script->tail && s->done < l->per_connection && l->begun < l->want) {
		l->begun++;
		s->step = script->loop;
		s->user = l->next_user++ % l->users;
	}
	if (s->step < script->n && !s->handshake)
		say(l, s);
	if (s->step == script->n || script->steps[s->step].replies == 0)
		hang_up(l, s);
}

/* One line of the server's; says whether the step is complete. */
static bool
take_line(const struct step *step, struct session *s)
{
	const char *p = s->head;

	switch (step->expect) {
	case TAGGED:
		if (p[0] == '*' || p[0] == '+')
			return false;
		if (p[0] == 'a' && (memcmp(p, "a OK", 4) == 0))
			return --s->replies == 0;
		break;
	case GREETING:
		if (memcmp(p, "* OK", 4) == 0)
			return --s->replies == 0;
		break;
	case PLUS:
		if (p[0] == '*')
			return false;
		if (p[0] == '+')
			return --s->replies == 0;
		break;
	case MULTI:
		if (s->in_multi) {
			if (s->line > 3 || p[0] != '.')
				return false;
			s->in_multi = false;
			return --s->replies == 0;
		}
		if (p[0] != '+')
			break;
		s->in_multi = true;
		return false;
	case REPLY:
		if (p[3] == '-')
			return false;
		if (p[0] == '2' || p[0] == '3')
			return --s->replies == 0;
		break;
	}
	die("the server said", p);
}

static void
take(struct load *l, struct session *s, const char *p, size_t n)
{
	while (n > 0) {
		const char *end = memchr(p, '\n', n);
		size_t len = end ? (size_t)(end - p) + 1 : n;

		for (size_t i = 0; i < len && s->line + i < sizeof(s->head) - 1; i++)
			s->head[s->line + i] = p[i];
		s->line += len;
		p += len;
		n -= len;
		if (!end)
			return;
		if (take_line(&l->script.steps[s->step], s)) {
			s->line = 0;
			advance(l, s);
			return; /* nothing is due before the next step */
		}
		s->line = 0;
	}
}

static void
shake(struct load *l, struct session *s)
{
	int rc = SSL_do_handshake(s->ssl);

	if (rc == 1) {
		s->handshake = false;
		watch(l, s, EPOLLIN);
		if (!l->bare)
			say(l, s);
		return;
	}
	if (SSL_get_error(s->ssl, rc) != SSL_ERROR_WANT_READ)
		die("TLS handshake", ERR_reason_error_string(ERR_peek_error()) ? ERR_reason_error_string(ERR_peek_error()) : "the server hung up");
	watch(l, s, EPOLLIN);
}

static void
on_ready(struct load *l, struct session *s, unsigned ready)
{
	static char in[1 << 18];

	if (s->nout > 0 && ready & EPOLLOUT)
		flush_out(l, s);
	if (!(ready & (EPOLLIN | EPOLLHUP | EPOLLERR)) && !s->handshake)
		return;
	if (s->handshake) {
		shake(l, s);
		return;
	}
	for (;;) {
		int fd = s->fd;
		ssize_t got = receive(s, in, sizeof(in));

		if (got < 0)
			return;
		if (got == 0 && l->bare) {
			advance(l, s);
			return;
		}
		if (got == 0)
			die("the server hung up", s->head);
		take(l, s, in, (size_t)got);
		if (s->handshake)
			shake(l, s);
		if (s->handshake || !s->ssl || fd != s->fd)
			return; /* level-triggered: what is left comes again; TLS may hold more */
	}
}

static void
begin_tls(struct load *l, struct session *s)
{
	s->ssl = SSL_new(l->tls);
	if (!s->ssl || !SSL_set_fd(s->ssl, s->fd))
		die("TLS", "no memory");
	SSL_set_connect_state(s->ssl);
	s->handshake = true;
}

static void
connect_next(struct load *l, struct session *s)
{
	int one = 1;

	if (l->begun >= l->want)
		return;
	if (l->dialing == l->dials) {
		l->waiting[l->nwaiting++] = s;
		return;
	}
	l->dialing++;
	l->begun++;
	l->open++;
	*s = (struct session){ .fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0), .user = l->next_user++ % l->users, .born = now() };
	s->replies = l->script.steps[0].replies;
	if (s->fd < 0 || (connect(s->fd, (struct sockaddr *)&l->to, sizeof(l->to)) < 0 && errno != EINPROGRESS))
		die("connect", strerror(errno));
	(void)setsockopt(s->fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
	if (l->bare)
		begin_tls(l, s);
	watch(l, s, l->bare ? EPOLLOUT : EPOLLIN);
}

static void
greeted(struct load *l)
{
	l->dialing--;
	if (l->nwaiting > 0)
		connect_next(l, l->waiting[--l->nwaiting]);
}

/* ---- what is said ---- */

static struct step *
add(struct script *s, enum expect expect, unsigned replies, const char *text)
{
	struct step *step = &s->steps[s->n++];

	*step = (struct step){ .text = text, .n = strlen(text), .expect = expect, .replies = replies };
	return step;
}

static char *
content(size_t size, bool dot)
{
	static const char head[] = "From: <sender@bench.test>\r\nTo: <rcpt@bench.test>\r\nDate: Sat, 21 Nov 2026 12:00:00 +0000\r\n"
	                           "Subject: bench\r\n\r\n";
	char *p = malloc(size + sizeof(head) + 8);
	size_t n = sizeof(head) - 1;

	if (!p)
		die("content", "no memory");
	memcpy(p, head, n);
	for (size_t column = 0; n + ID + 2 < size; n++) {
		p[n] = "The quick brown fox jumps over the lazy dog, again and again. "[column % 62];
		if (++column == 76) {
			memcpy(p + n, "\r\n", 2);
			n++;
			column = 0;
		}
	}
	memcpy(p + n, "\r\n", 2);
	n += 2;
	memcpy(p + n, dot ? ".\r\n" : "\r\n", dot ? 4 : 3);
	return p;
}

static void
add_message(struct script *s, enum expect expect)
{
	struct step *step = add(s, expect, 1, s->message);

	step->counts = step->message = true;
}

static void
script_smtp(struct script *s, const char *hello, const char *from, const char *to, size_t size, bool pipeline, bool tls)
{
	static char greet[64], mail[300], rcpt[300], all[700];

	(void)snprintf(greet, sizeof(greet), "%s load.bench.test\r\n", hello);
	(void)snprintf(mail, sizeof(mail), "MAIL FROM:<%s>\r\n", from);
	(void)snprintf(rcpt, sizeof(rcpt), "RCPT TO:<%s>\r\n", to);
	(void)snprintf(all, sizeof(all), "%s%sDATA\r\n", mail, rcpt);
	add(s, REPLY, 1, "");
	add(s, REPLY, 1, greet);
	if (tls) {
		add(s, REPLY, 1, "STARTTLS\r\n")->tls = true;
		add(s, REPLY, 1, greet);
	}
	s->loop = s->n;
	if (pipeline) {
		add(s, REPLY, 3, all);
	} else {
		add(s, REPLY, 1, mail);
		add(s, REPLY, 1, rcpt);
		add(s, REPLY, 1, "DATA\r\n");
	}
	s->message = content(size, true);
	add_message(s, REPLY);
	s->tail = s->n;
	add(s, REPLY, 0, "QUIT\r\n"); /* as Postfix does by default: nobody waits for the answer */
}

static void
script_session(struct script *s)
{
	static const char greet[] = "EHLO load.bench.test\r\n";

	add(s, REPLY, 1, "");
	add(s, REPLY, 1, greet);
	add(s, REPLY, 1, "STARTTLS\r\n")->tls = true;
	s->loop = s->n;
	add(s, REPLY, 1, greet);
	s->tail = s->n;
	add(s, REPLY, 1, "QUIT\r\n")->counts = true;
}

static void
script_imap(struct script *s, const char *user, const char *password, size_t size, bool append, bool tls)
{
	static char login[300], put[100];

	(void)snprintf(login, sizeof(login), "a LOGIN %s %s\r\n", user, password);
	s->message = content(size, false);
	add(s, GREETING, 1, "");
	if (tls)
		add(s, TAGGED, 1, "a STARTTLS\r\n")->tls = true;
	if (append) {
		(void)snprintf(put, sizeof(put), "a APPEND INBOX {%zu}\r\n", ID + strlen(s->message) - 2);
		add(s, TAGGED, 1, login);
		s->loop = s->n;
		add(s, PLUS, 1, put);
		add_message(s, TAGGED);
	} else {
		s->loop = s->n;
		add(s, TAGGED, 1, login);
		add(s, TAGGED, 1, "a SELECT INBOX\r\n");
	}
	s->tail = s->n;
	add(s, TAGGED, 1, "a LOGOUT\r\n")->counts = !append;
}

static void
script_pop3(struct script *s, const char *user, const char *password, bool tls)
{
	static char name[300], pass[300];

	(void)snprintf(name, sizeof(name), "USER %s\r\n", user);
	(void)snprintf(pass, sizeof(pass), "PASS %s\r\n", password);
	add(s, PLUS, 1, "");
	if (tls)
		add(s, PLUS, 1, "STLS\r\n")->tls = true;
	s->loop = s->n;
	add(s, PLUS, 1, name);
	add(s, PLUS, 1, pass);
	add(s, PLUS, 1, "STAT\r\n");
	add(s, MULTI, 1, "UIDL\r\n");
	s->tail = s->n;
	add(s, PLUS, 1, "QUIT\r\n")->counts = true;
}

static int
by_value(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return x < y ? -1 : x > y;
}

static void
run(struct load *l, unsigned sessions)
{
	struct session *all = calloc(sessions, sizeof(*all));
	struct epoll_event ready[64];

	l->waiting = calloc(sessions, sizeof(*l->waiting));
	if (!all || !l->waiting)
		die("sessions", "no memory");
	for (unsigned i = 0; i < sessions; i++)
		connect_next(l, &all[i]);
	while (l->open > 0 || (l->nwaiting > 0 && l->begun < l->want)) {
		int n = epoll_wait(l->epoll, ready, 64, 60000);

		if (n == 0)
			die("the server", "silent for a minute");
		for (int i = 0; i < n; i++)
			on_ready(l, ready[i].data.ptr, ready[i].events);
	}
	free(l->waiting);
	free(all);
}

static void
report(struct load *l, double took)
{
	size_t n = l->finished;

	qsort(l->latency, n, sizeof(l->latency[0]), by_value);
	(void)printf("{\"count\": %zu, \"seconds\": %.4f, \"p50_us\": %.0f, \"p95_us\": %.0f, \"p99_us\": %.0f}\n", n, took, l->latency[n / 2] * 1e6,
	    l->latency[n * 95 / 100] * 1e6, l->latency[n * 99 / 100] * 1e6);
}

/* A load client is to be cheap: whose certificate it is is not looked at. */
static int
never_mind(X509_STORE_CTX *ctx, void *arg)
{
	(void)ctx, (void)arg;
	return 1;
}

int
main(int argc, char **argv)
{
	struct load l = { .want = 1000, .run = (unsigned long)time(NULL) ^ (unsigned long)getpid() << 16, .per_connection = 1, .users = 1, .dials = 1000, .to = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) } };
	const char *protocol = argc > 1 ? argv[1] : "", *from = "sender@bench.test", *to = "rcpt@bench.test", *password = "secret";
	unsigned sessions = 1;
	size_t size = 4096;
	bool pipeline = false, tls = false;
	double begun;
	int opt;

	for (optind = 2; (opt = getopt(argc, argv, "p:s:m:c:l:f:t:u:w:D:PT")) != -1;)
		switch (opt) {
		case 'p': l.to.sin_port = htons((uint16_t)atoi(optarg)); break;
		case 's': sessions = (unsigned)atoi(optarg); break;
		case 'm': l.want = strtoul(optarg, NULL, 10); break;
		case 'c': l.per_connection = (unsigned)atoi(optarg); break;
		case 'l': size = strtoul(optarg, NULL, 10); break;
		case 'f': from = optarg; break;
		case 't': to = optarg; break;
		case 'u': l.users = (unsigned)atoi(optarg); break;
		case 'w': password = optarg; break;
		case 'D': l.dials = (unsigned)atoi(optarg); break;
		case 'P': pipeline = true; break;
		case 'T': tls = true; break;
		default: return 2;
		}
	if (strcmp(protocol, "smtp") == 0 || strcmp(protocol, "lmtp") == 0)
		script_smtp(&l.script, *protocol == 's' ? "EHLO" : "LHLO", from, to, size, pipeline, tls);
	else if (strcmp(protocol, "imap-login") == 0 || strcmp(protocol, "imap-append") == 0)
		script_imap(&l.script, to, password, size, protocol[5] == 'a', tls);
	else if (strcmp(protocol, "smtp-tls") == 0)
		script_session(&l.script);
	else if (strcmp(protocol, "handshake") == 0)
		add(&l.script, REPLY, 1, "")->counts = l.bare = true;
	else if (strcmp(protocol, "pop3") == 0)
		script_pop3(&l.script, to, password, tls);
	else
		die("unknown protocol", protocol);
	if (strcmp(protocol, "imap-login") == 0 || strcmp(protocol, "pop3") == 0 || strcmp(protocol, "smtp-tls") == 0 || l.bare) {
		l.whole = true;
		l.per_connection = 0;
	}
	l.epoll = epoll_create1(EPOLL_CLOEXEC);
	l.latency = calloc(l.want + 1, sizeof(l.latency[0]));
	l.tls = SSL_CTX_new(TLS_client_method());
	if (l.epoll < 0 || !l.latency || !l.tls || l.users == 0)
		die("start", "no memory");
	/* one suite and group, so that all servers do the same work, whatever they would rather choose */
	if (!SSL_CTX_set_ciphersuites(l.tls, "TLS_AES_128_GCM_SHA256") || !SSL_CTX_set1_groups_list(l.tls, "X25519"))
		die("TLS", "suite or group");
	(void)SSL_CTX_set_mode(l.tls, SSL_MODE_ENABLE_PARTIAL_WRITE);
	SSL_CTX_set_cert_verify_callback(l.tls, never_mind, NULL);
	(void)SSL_CTX_set_options(l.tls, SSL_OP_IGNORE_UNEXPECTED_EOF);
	begun = now();
	run(&l, sessions);
	report(&l, now() - begun);
	SSL_CTX_free(l.tls);
	free(l.latency);
	free(l.script.message);
	return l.finished != l.want;
}
