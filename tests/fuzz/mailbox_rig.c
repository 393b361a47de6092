/* SPDX-License-Identifier: ISC */
#include "mailbox_rig.h"

#include <dirent.h>
#include <fcntl.h>
#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

enum { INPUTS = 3000, MESSAGES = 500, PIECE = 700, TURNS = 2000 };

struct rig {
	char dir[64];
	struct worker_pool *pool;
	struct user user;
	unsigned inputs;
};

static struct rig *
the_rig(void)
{
	static struct rig rig;

	return &rig;
}

static int
remove_one(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
	(void)st;
	(void)type;
	(void)ftw;
	return remove(path);
}

static void
tear_down(void)
{
	struct rig *r = the_rig();

	if (!r->user.loop)
		return;
	if (r->user.store)
		store_free(&r->user.store);
	worker_pool_free(&r->pool);
	loop_free(&r->user.loop);
	(void)nftw(r->dir, remove_one, 16, FTW_DEPTH | FTW_PHYS);
}

static void
put_mail(struct rig *r, unsigned n)
{
	static const char *const mails[] = {
		"From: \"A B\" <a@x.org>\r\nTo: g: b@y, c@z;\r\nSubject: =?utf-8?q?J=C3=BC?=\r\nDate: Mon, 12 Oct 1998 15:27:39 +0000\r\n\r\nbody\r\n",
		"MIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\n\r\none\r\n--b\r\n"
		"Content-Type: message/rfc822\r\n\r\nSubject: in\r\nContent-Type: text/html; charset=iso-8859-1\r\n"
		"Content-Transfer-Encoding: quoted-printable\r\n\r\n<p>=FC</p>\r\n--b--\r\n",
		"Subject: bare\n\n.dots\n..\n",
	};
	char path[128];
	FILE *f;

	(void)snprintf(path, sizeof path, "%s/new/100000000%u.M1P1.x", r->dir, n);
	f = fopen(path, "w");
	if (f) {
		(void)fputs(mails[n % 3], f);
		(void)fclose(f);
	}
}

static void
make_directory(struct rig *r)
{
	(void)snprintf(r->dir, sizeof r->dir, "%s/rig.XXXXXX", access("/dev/shm", W_OK) ? "/tmp" : "/dev/shm");
	if (!mkdtemp(r->dir))
		abort();
}

int
rig_dir(void)
{
	return open(the_rig()->dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
}

static bool
set_up(struct rig *r, struct fail *why)
{
	struct store_config config = { .host = SPAN("x") };

	r->user = (struct user){ .loop = loop_new(), .imap_idle_ms = 1800000, .pop3_idle_ms = 600000, .keepalive_ms = 120000 };
	list_init(&r->user.sessions);
	r->pool = worker_pool_new(r->user.loop, 1);
	config.loop = r->user.loop;
	config.pool = r->pool;
	config.base = rig_dir();
	r->user.store = store_new(&config, why);
	return r->user.store != NULL;
}

static void
anew(struct rig *r)
{
	if (!r->user.loop)
		(void)atexit(tear_down);
	tear_down();
	make_directory(r);
}

/* An input that copies a folder into itself doubles it, and so does the next that is made of it. */
static bool
piled_up(const struct rig *r)
{
	char path[80];
	unsigned n = 0;
	DIR *d;

	(void)snprintf(path, sizeof(path), "%s/cur", r->dir);
	if (!(d = opendir(path)))
		return false;
	while (n <= MESSAGES && readdir(d))
		n++;
	(void)closedir(d);
	return n > MESSAGES;
}

struct user *
rig_user(void)
{
	struct rig *r = the_rig();
	struct fail why = { .text = "" };

	if (r->inputs++ % INPUTS == 0 || piled_up(r)) {
		anew(r);
		if (!set_up(r, &why) || !store_create(r->user.store, SPAN("work"), &why)) {
			(void)fprintf(stderr, "rig: %s\n", why.text);
			abort();
		}
		for (unsigned n = 0; n < 6; n++)
			put_mail(r, n);
	}
	return &r->user;
}

struct user *
rig_user_with(void (*fill)(void *arg, int dir), void *arg)
{
	struct rig *r = the_rig();
	struct fail why;
	int dir;

	anew(r);
	dir = rig_dir();
	fill(arg, dir);
	(void)close(dir);
	return set_up(r, &why) ? &r->user : NULL;
}

/* What it says goes nowhere. */
static void
discard(struct session *s)
{
	struct buf out;

	buf_init(&out, 64 << 20);
	if (!outq_drain(&s->out, &out))
		s->closing = true;
	buf_free(&out);
}

void
rig_session(struct user *user, struct session *s, struct span bytes)
{
	for (unsigned n = 0; n < TURNS && !s->closing; n++) {
		size_t room = buf_space(&s->in), take = bytes.n < PIECE ? bytes.n : PIECE;
		bool wants = session_wants_input(s);

		if (wants) {
			take = take < room ? take : room;
			buf_put(&s->in, span_sub(bytes, 0, take));
			bytes = span_from(bytes, take);
		}
		session_run(s);
		discard(s);
		session_ahead(s);
		if (s->waiting)
			(void)loop_turn(user->loop, 5);
		else if (!s->more && wants && !bytes.n)
			break;
	}
	while (s->waiting)
		(void)loop_turn(user->loop, 5);
	s->ops->eof(s);
	s->ops->free(s);
	(void)loop_turn(user->loop, 0);
}

struct span
rig_login(struct login *l, struct span bytes, bool *in)
{
	struct buf out;
	unsigned checks = 0;

	buf_init(&out, 64 << 20);
	l->set = (struct login_settings){ .banner = SPAN("ready"), .auth = true, .attempts = 3, .mechanisms = SASL_SCRAM | SASL_PASSWORD | 1u << SASL_BIT_EXTERNAL | SASL_OAUTH };
	l->certificate = true;
	l->loopback = l->tls_offered = true;
	l->out = &out;
	l->ops->greet(l);
	*in = false;
	while (!*in && l->want != LOGIN_CLOSE) {
		size_t n = l->ops->input(l, bytes);

		bytes = span_from(bytes, n);
		if (l->want == LOGIN_CHECK || l->want == LOGIN_IDENTIFY) {
			l->want = LOGIN_INPUT;
			*in = ++checks > 1;
			if (!*in)
				l->ops->refused(l, LOGIN_WRONG);
		} else if (l->want == LOGIN_TOKEN) {
			if (!login_token_refused(l, SPAN("{}")))
				__builtin_trap();
		} else if (l->want == LOGIN_BEGIN) {
			struct buf text;

			buf_init(&text, 1000);
			buf_printf(&text, "r=%.*sXYZ,s=c2FsdA==,i=4096", SPAN_ARG(l->sasl.nonce));
			if (!login_challenged(l, buf_span(&text)))
				__builtin_trap();
			buf_free(&text);
		} else if (l->want == LOGIN_PROVE) {
			if (!login_proved(l, SPAN("0123456789abcdef0123456789abcdef")))
				__builtin_trap();
		} else if (l->want == LOGIN_ENTER) {
			l->want = LOGIN_INPUT;
			*in = true;
		} else if (l->want == LOGIN_STARTTLS) {
			l->tls = true;
			l->want = LOGIN_INPUT;
		} else if (n == 0) {
			break;
		}
	}
	l->ops->free(l);
	buf_free(&out);
	return bytes;
}
