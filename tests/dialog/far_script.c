/* SPDX-License-Identifier: ISC */
#include "far_script.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "daemons/mailboxd/guest.h"

enum { VISITS = 8 };

struct far_script {
	struct user alice;
	struct user *user;
	char dir[128];
	unsigned mails;
	bool silent;
	struct far_visit {
		struct session *session; /* NULL: unused */
		int fd;
	} visits[VISITS];
};

static struct far_script *far; /* of the one dialog that runs: the broker's operations have no other way to it */

static void
on_wake(struct session *s)
{
	(void)s; /* it is run at every turn */
}

static void
hang_up(struct far_script *f, struct far_visit *v)
{
	while (v->session->waiting)
		(void)loop_turn(f->alice.loop, 10);
	list_remove(&v->session->node);
	v->session->ops->free(v->session);
	close(v->fd);
	v->session = NULL;
}

static void
ask_visit(struct user *user, struct span owner, struct broker_request *r)
{
	struct far_visit *v = NULL;
	int fds[2];

	for (size_t i = 0; i < VISITS && !v; i++)
		if (!far->visits[i].session)
			v = &far->visits[i];
	if (!v || !span_eq(owner, far->alice.name) || socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, fds) < 0) {
		r->on_done(r, false, -1, SPAN("nothing is shared"));
		return;
	}
	*v = (struct far_visit){ imap_new_guest(&far->alice, user->name), fds[1] };
	v->session->on_wake = on_wake;
	list_push(&far->alice.sessions, &v->session->node);
	r->on_done(r, true, fds[0], SPAN(""));
}

static void
ask_sharers(struct user *user, struct broker_request *r)
{
	(void)user;
	r->on_owner(r, far->alice.name);
	r->on_owner(r, SPAN("gone@example.org")); /* a stale entry: nothing is shared there */
	r->on_owner(r, far->alice.name);
	r->on_done(r, true, -1, SPAN(""));
}

static void
ask_share(struct user *user, struct span guest, bool on, struct broker_request *r)
{
	(void)user, (void)on;
	r->on_done(r, !span_starts(guest, SPAN("nobody@")), -1, SPAN("no"));
}

/* bob is an administrator; what his limits are the broker says as what alice's are. */
static void
ask_quota(struct user *user, struct span whose, const struct broker_quota *limits, struct broker_request *r)
{
	struct store *store = span_eq(whose, far->alice.name) ? far->alice.store : span_eq(whose, user->name) ? user->store : NULL;
	struct broker_quota q = { .size = 0 };
	struct quota limit, used;
	struct fail why;

	if (!store) {
		r->on_done(r, false, -1, SPAN("no such user"));
		return;
	}
	if (limits)
		store_set_quota(store, &(struct quota){ limits->size, limits->messages });
	limit = store_quota(store);
	q.measured = !far->silent && store_used(store, &used, &why);
	q.size = limit.size;
	q.messages = limit.messages;
	if (q.measured) {
		q.used_size = used.size;
		q.used_messages = used.messages;
	}
	r->on_quota(r, &q);
	r->on_done(r, true, -1, SPAN(""));
}

struct far_script *
far_open(struct user *user, struct worker_pool *pool, const char *dir)
{
	static const struct broker broker = { ask_visit, ask_sharers, ask_share, ask_quota };
	struct store_config config = { .loop = user->loop, .pool = pool, .host = SPAN("test") };
	struct far_script *f = calloc(1, sizeof *f);
	struct fail why;

	(void)snprintf(f->dir, sizeof f->dir, "%s/alice", dir);
	(void)mkdir(f->dir, 0700);
	f->alice = *user;
	f->alice.name = SPAN("alice@example.test");
	list_init(&f->alice.sessions);
	config.base = open(f->dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	f->alice.store = config.base < 0 ? NULL : store_new(&config, &why);
	f->user = user;
	user->broker = &broker;
	far = f;
	return f;
}

void
far_close(struct far_script **at)
{
	struct far_script *f = *at;

	if (!f)
		return;
	for (size_t i = 0; i < VISITS; i++)
		if (f->visits[i].session)
			hang_up(f, &f->visits[i]);
	store_free(&f->alice.store);
	f->user->broker = NULL;
	free(f);
	*at = far = NULL;
}

/* The other end may be gone. */
static void
say(struct far_visit *v, struct span text)
{
	if (text.n)
		(void)send(v->fd, text.p, text.n, MSG_DONTWAIT | MSG_NOSIGNAL);
}

static void
say_line(struct far_visit *v, struct span word, struct span rest)
{
	struct buf line;

	buf_init(&line, 1000);
	buf_printf(&line, "%.*s %.*s\r\n", SPAN_ARG(word), SPAN_ARG(rest));
	say(v, buf_span(&line));
	buf_free(&line);
}

static bool
pump_one(struct far_script *f, struct far_visit *v)
{
	struct session *s = v->session;
	size_t room = buf_space(&s->in) < 4096 ? buf_space(&s->in) : 4096;
	char bytes[4096];
	ssize_t got = session_wants_input(s) && room ? recv(v->fd, bytes, room, MSG_DONTWAIT) : -1;
	struct buf out;
	bool any = got > 0;

	if (got == 0) {
		hang_up(f, v);
		return true;
	}
	if (got > 0)
		buf_put(&s->in, span_of(bytes, (size_t)got));
	buf_init(&out, 64 << 20);
	do
		session_run(s);
	while (s->more && outq_room(&s->out));
	(void)outq_drain(&s->out, &out);
	any = any || buf_len(&out) || s->waiting;
	if (!f->silent)
		say(v, buf_span(&out));
	buf_free(&out);
	if (s->closing)
		hang_up(f, v);
	return any;
}

bool
far_pump(struct far_script *f)
{
	bool any = false;

	for (size_t i = 0; i < VISITS; i++)
		if (f->visits[i].session)
			any = pump_one(f, &f->visits[i]) || any;
	return any;
}

static bool
put_mail(struct far_script *f, struct span folder)
{
	bool inbox = span_eq(folder, SPAN("INBOX"));
	char path[256];
	int fd;

	f->mails++;
	(void)snprintf(path, sizeof path, "%s/%s%.*s/new/%u.M%uP1.test", f->dir, inbox ? "" : ".", inbox ? 0 : (int)folder.n, folder.p,
	    1000000000 + f->mails, f->mails);
	fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	if (fd < 0 || dprintf(fd, "Subject: alice %u\r\n\r\nbody %u\r\n", f->mails, f->mails) < 0)
		return false;
	close(fd);
	for (unsigned i = 0; i < 20; i++)
		(void)loop_turn(f->alice.loop, 5);
	return true;
}

bool
far_directive(struct far_script *f, struct span text)
{
	struct span word = span_word(&text), folder = span_word(&text), who, rights_text;
	struct fail why;
	unsigned rights;

	if (span_eq(word, SPAN("mail")))
		return put_mail(f, folder);
	if (span_eq(word, SPAN("folder")))
		return store_create(f->alice.store, folder, &why);
	if (span_eq(word, SPAN("acl"))) {
		who = span_word(&text);
		rights_text = span_trim(text);
		return acl_take_rights(rights_text, &rights) && acl_change(f->alice.store, folder, who, FLAGS_SET, rights, &why);
	}
	if (span_eq(word, SPAN("silent")))
		return f->silent = true;
	for (size_t i = 0; i < VISITS; i++) {
		if (!f->visits[i].session)
			continue;
		if (span_eq(word, SPAN("hangup")))
			hang_up(f, &f->visits[i]);
		else if (span_eq(word, SPAN("say")))
			say_line(&f->visits[i], folder, span_trim(text));
	}
	return span_eq(word, SPAN("hangup")) || span_eq(word, SPAN("say"));
}
