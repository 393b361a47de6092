/* SPDX-License-Identifier: ISC */
#include "mailbox_script.h"

#include <errno.h>
#include <ftw.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <fcntl.h>
#include <unistd.h>

#include "daemons/mailboxd/guest.h"
#include "daemons/mailboxd/pop3.h"
#include "daemons/mailboxd/text.h"
#include "dialog_file.h"
#include "far_script.h"
#include "front/login.h"
#include "scram_script.h"
#include "store/state.h"

enum { SESSIONS = 3, WAIT_MS = 10, PATIENCE = 500 };

struct script {
	struct dialog *d;
	char dir[64];
	struct loop *loop;
	struct worker_pool *pool;
	struct user user;
	struct session *session[SESSIONS]; /* 0 is the dialog's own */
	bool woken[SESSIONS];
	struct buf partial; /* of the others' output */
	struct login *login;
	struct buf login_out;
	struct scram_script scram;
	char folder[100];  /* POP3: that the login named */
	char guest[100];   /* the dialog's own session is this one's, in bob's mailboxes */
	struct far_script *far; /* other users; NULL: none */
	bool with_login, done, produced, mute;
	unsigned mails;
};

/* ---- the disk ---- */

static atomic_bool broken;

/* In the place of libc's, for the store beneath the session. */
int
fdatasync(int fd)
{
	if (!broken)
		return (int)syscall(SYS_fdatasync, fd);
	errno = EIO;
	return -1;
}

/* From now on nothing becomes durable any more; what was done before is. */
static bool
break_disk(struct script *s)
{
	LIST_EACH(&s->user.store->mailboxes, it) {
		const struct mailbox *mb = OWNER_OF(it, struct mailbox, node);

		for (unsigned i = 0; i < PATIENCE && journal_pending(mb->file.journal); i++)
			(void)loop_turn(s->loop, WAIT_MS);
	}
	broken = true;
	return true;
}

/* ---- the store ---- */

static bool
open_store(struct script *s)
{
	struct store_config config = { .loop = s->loop, .pool = s->pool, .host = SPAN("test") };
	struct fail why;

	config.base = open(s->dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	s->user.store = config.base < 0 ? NULL : store_new(&config, &why);
	if (!s->user.store)
		printf("# store: %s\n", why.text);
	return s->user.store != NULL;
}

static void *
script_open(struct dialog *d)
{
	struct script *s = calloc(1, sizeof *s);

	s->d = d;
	(void)snprintf(s->dir, sizeof s->dir, "%s/dialog.XXXXXX", access("/dev/shm", W_OK) ? "/tmp" : "/dev/shm");
	if (!mkdtemp(s->dir))
		return NULL;
	s->loop = loop_new();
	s->pool = worker_pool_new(s->loop, 1);
	s->user = (struct user){ .loop = s->loop, .name = SPAN("bob@example.test"), .imap_idle_ms = 1800000,
		.pop3_idle_ms = 600000, .keepalive_ms = 120000, .progress_ms = 3600000 };
	list_init(&s->user.sessions);
	buf_init(&s->partial, 1 << 20);
	buf_init(&s->login_out, 1 << 20);
	s->login = mailbox_login_new();
	s->login->set = (struct login_settings){ .banner = SPAN("ready"), .auth = true, .attempts = 3, .disable_plaintext = true,
		.mechanisms = (1u << SASL_MECHANISM_COUNT) - 1 };
	s->login->binding = scram_script_binding;
	s->login->loopback = true;
	s->login->tls_offered = true;
	s->login->out = &s->login_out;
	return open_store(s) ? s : NULL;
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
close_sessions(struct script *s)
{
	for (unsigned i = 0; i < SESSIONS; i++) {
		while (s->session[i] && s->session[i]->waiting)
			(void)loop_turn(s->loop, WAIT_MS);
		if (s->session[i]) {
			list_remove(&s->session[i]->node);
			s->session[i]->ops->free(s->session[i]);
		}
		s->session[i] = NULL;
	}
}

static void
script_free(void *core)
{
	struct script *s = core;

	close_sessions(s);
	broken = false;
	if (s->login)
		s->login->ops->free(s->login);
	far_close(&s->far);
	store_free(&s->user.store);
	worker_pool_free(&s->pool);
	loop_free(&s->loop);
	buf_free(&s->partial);
	buf_free(&s->login_out);
	(void)nftw(s->dir, remove_one, 16, FTW_DEPTH | FTW_PHYS);
	free(s);
}

/* ---- sessions ---- */

static void
on_wake(struct session *session)
{
	struct script *s = session->rim;

	for (unsigned i = 0; i < SESSIONS; i++)
		if (s->session[i] == session)
			s->woken[i] = true;
}

/* Another session's lines become actions. */
static void
other_output(struct script *s, struct span bytes)
{
	size_t at;

	buf_put(&s->partial, bytes);
	while ((at = span_find(buf_span(&s->partial), SPAN("\r\n"))) != SIZE_MAX) {
		dialog_action(s->d, "other %.*s", SPAN_ARG(span_sub(buf_span(&s->partial), 0, at)));
		buf_eat(&s->partial, at + 2);
	}
}

static bool
drain(struct script *s, unsigned i)
{
	struct buf out;
	bool any;

	buf_init(&out, 64 << 20);
	if (!outq_drain(&s->session[i]->out, &out))
		s->session[i]->closing = true;
	any = buf_len(&out) > 0;
	if (i == 0 && s->mute)
		buf_reset(&out);
	else if (i == 0)
		dialog_output(s->d, buf_span(&out));
	else
		other_output(s, buf_span(&out));
	buf_free(&out);
	s->produced = s->produced || any;
	return any;
}

static size_t login_input(struct script *s, struct span bytes);

/* Back to the front, with what was sent ahead. */
static void
leave(struct script *s)
{
	struct session *session = s->session[0];
	struct buf pending;

	buf_init(&pending, 1 << 20);
	buf_put(&pending, buf_span(&session->in));
	dialog_action(s->d, "left");
	session->ops->eof(session);
	list_remove(&session->node);
	session->ops->free(session);
	s->session[0] = NULL;
	while (buf_len(&pending)) {
		size_t n = login_input(s, buf_span(&pending));

		if (!n)
			break;
		buf_eat(&pending, n);
	}
	buf_free(&pending);
}

static void
run(struct script *s, unsigned i)
{
	struct session *session = s->session[i];
	unsigned patience = PATIENCE;
	bool again;

	do {
		bool full;

		s->woken[i] = false;
		session_run(session);
		full = !outq_room(&session->out);
		(void)drain(s, i);
		if (s->far) {
			bool moved = far_pump(s->far);

			(void)loop_turn(s->loop, 0);
			if (moved && patience-- > 0)
				session->more = true;
		}
		again = session->more || full || (s->woken[i] && !session->waiting);
		while (session->waiting && patience-- > 0) {
			(void)loop_turn(s->loop, WAIT_MS);
			again = true;
		}
	} while (again && patience > 0);
	session_ahead(session);
	if (i == 0 && session->closing)
		s->done = true;
	if (i == 0 && session->leaving)
		leave(s);
}

static void
start_session(struct script *s, unsigned i, struct span tag)
{
	struct fail why = { .text = "no memory" };

	if (i == 0 && s->guest[0])
		s->session[i] = imap_new_guest(&s->user, span_str(s->guest));
	else
		s->session[i] = mailbox_is_pop3() ? pop3_new(&s->user, span_str(s->folder), &why) : imap_new(&s->user, tag, s->login->tls);
	if (!s->session[i]) {
		dialog_action(s->d, "no session: %s", why.text);
		s->done = true;
		return;
	}
	list_push(&s->user.sessions, &s->session[i]->node);
	s->session[i]->rim = s;
	s->session[i]->on_wake = on_wake;
	run(s, i);
}

static void
flush_login(struct script *s)
{
	dialog_output(s->d, buf_span(&s->login_out));
	buf_reset(&s->login_out);
}

static void
script_start(void *core)
{
	struct script *s = core;

	if (s->session[0])
		return;
	if (s->with_login) {
		s->login->ops->greet(s->login);
		flush_login(s);
	} else {
		s->mute = true; /* the greeting is a matter of dialogs with login */
		start_session(s, 0, SPAN(""));
		s->mute = false;
	}
}

/* bob's password is hungry; mallory's account is out of order. */
static void
check_login(struct script *s)
{
	struct login *l = s->login;
	bool ok = strcmp(l->user, "bob") == 0 && strcmp(l->password, "hungry") == 0;

	dialog_action(s->d, "check %s user=%s authzid=%s", l->mechanism, l->user, l->authzid);
	l->want = LOGIN_INPUT;
	if (!ok) {
		l->ops->refused(l, strcmp(l->user, "mallory") == 0 ? LOGIN_TEMPORARY : strcmp(l->user, "dora") == 0 ? LOGIN_TOO_SOON : LOGIN_WRONG);
		return;
	}
	flush_login(s);
	start_session(s, 0, span_str(l->tag));
}

/* SCRAM: RFC 7677's user gets into bob's mailbox. False: that was not it. */
static bool
scram_login(struct script *s)
{
	struct login *l = s->login;
	const struct sasl *x = &l->sasl;
	bool good;

	switch (l->want) {
	case LOGIN_BEGIN:
		dialog_action(s->d, "scram %s user=%s authzid=%.*s", l->mechanism, l->user, SPAN_ARG(x->authzid));
		scram_script_begin(&s->scram, x->user, x->bare, x->nonce);
		if (!login_challenged(l, span_str(s->scram.challenge)))
			l->ops->refused(l, LOGIN_TEMPORARY);
		return true;
	case LOGIN_PROVE:
		good = scram_script_prove(&s->scram, x->final.without, span_of(x->final.proof, sizeof x->final.proof));
		dialog_action(s->d, "proof %s", good ? "right" : "wrong");
		l->want = LOGIN_INPUT;
		if (!good)
			l->ops->refused(l, LOGIN_WRONG);
		else
			(void)login_proved(l, span_of(s->scram.signature, sizeof s->scram.signature));
		return true;
	case LOGIN_ENTER:
		l->want = LOGIN_INPUT;
		login_forget(l);
		flush_login(s);
		start_session(s, 0, span_str(l->tag));
		return true;
	default:
		return false;
	}
}

/* The certificate is bob's, and good for nobody else. */
static void
identify(struct script *s)
{
	struct login *l = s->login;
	bool ok = !l->authzid[0] || strcmp(l->authzid, "bob") == 0;

	dialog_action(s->d, "certificate %s authzid=%s", l->mechanism, l->authzid);
	l->want = LOGIN_INPUT;
	if (!ok) {
		l->ops->refused(l, LOGIN_WRONG);
		return;
	}
	login_forget(l);
	flush_login(s);
	start_session(s, 0, span_str(l->tag));
}

/* "bobs" is a good token; of others the client is told. */
static void
check_token(struct script *s)
{
	struct login *l = s->login;
	const struct sasl *x = &l->sasl;
	bool ok = span_eq(x->password, SPAN("bobs"));

	dialog_action(s->d, "token %s user=%.*s %.*s", l->mechanism, SPAN_ARG(x->user), SPAN_ARG(x->password));
	if (!ok) {
		(void)login_token_refused(l, SPAN("{\"status\":\"invalid_token\"}"));
		return;
	}
	l->want = LOGIN_INPUT;
	login_forget(l);
	flush_login(s);
	start_session(s, 0, span_str(l->tag));
}

static size_t
login_input(struct script *s, struct span bytes)
{
	struct login *l = s->login;
	size_t n = l->ops->input(l, bytes);

	if (!scram_login(s) && l->want == LOGIN_CHECK)
		check_login(s);
	else if (l->want == LOGIN_IDENTIFY)
		identify(s);
	else if (l->want == LOGIN_TOKEN)
		check_token(s);
	flush_login(s);
	if (l->want == LOGIN_STARTTLS) {
		dialog_action(s->d, "starttls");
		l->tls = true;
		l->want = LOGIN_INPUT;
		n = bytes.n; /* what was sent in the clear behind it */
	}
	if (l->want == LOGIN_CLOSE)
		s->done = true;
	return n;
}

static size_t
give(struct script *s, unsigned i, struct span bytes)
{
	struct session *session = s->session[i];
	size_t n = buf_space(&session->in);

	if (n > 4096) /* as a socket would */
		n = 4096;
	n = bytes.n < n ? bytes.n : n;
	if (!session_wants_input(session))
		n = 0;
	buf_put(&session->in, span_sub(bytes, 0, n));
	run(s, i);
	return n;
}

static size_t
script_input(void *core, struct span bytes)
{
	struct script *s = core;

	if (s->done)
		return bytes.n;
	if (!s->session[0])
		return login_input(s, bytes);
	return give(s, 0, bytes);
}

static bool
script_turn(void *core)
{
	struct script *s = core;

	s->produced = false;
	(void)loop_turn(s->loop, 0);
	if (s->far && far_pump(s->far)) {
		(void)loop_turn(s->loop, 0);
		s->produced = true;
	}
	for (unsigned i = 0; i < SESSIONS; i++)
		if (s->session[i] && s->woken[i])
			run(s, i);
	return s->produced;
}

static void
script_eof(void *core)
{
	struct script *s = core;

	if (s->session[0]) {
		s->session[0]->ops->eof(s->session[0]);
		list_remove(&s->session[0]->node);
		s->session[0]->ops->free(s->session[0]);
		s->session[0] = NULL;
	}
	s->done = true;
}

static void
script_advance(void *core, int64_t ms)
{
	struct script *s = core;
	struct session *session = s->session[0];

	if (!session) {
		s->login->ops->bye(s->login, "Disconnected for inactivity.");
		flush_login(s);
		s->done = true;
		return;
	}
	for (; ms >= session->idle_ms && !session->closing; ms -= session->idle_ms) {
		session->ops->idle(session);
		run(s, 0);
	}
	s->done = session->closing;
}

static bool
script_closed(const void *core)
{
	const struct script *s = core;

	return s->done;
}

/* ---- directives ---- */

static bool
set(struct script *s, struct span rest)
{
	struct span name = span_word(&rest), value = span_trim(rest);
	bool yes = span_eq(value, SPAN("yes"));

	if (span_eq(name, SPAN("login")))
		s->with_login = yes;
	else if (span_eq(name, SPAN("guest")))
		return span_cstr(value, s->guest, sizeof s->guest);
	else if (span_eq(name, SPAN("others")))
		return (s->far = far_open(&s->user, s->pool, s->dir)) != NULL;
	else if (span_eq(name, SPAN("textbook")))
		s->user.textbook_replies = s->login->set.textbook = yes;
	else if (span_eq(name, SPAN("folder")))
		return span_cstr(value, s->folder, sizeof s->folder);
	else if (span_eq(name, SPAN("logindelay")))
		s->user.pop3_login_delay = s->login->set.delay = 900;
	else if (span_eq(name, SPAN("quotas")))
		s->user.quotas = yes;
	else if (span_eq(name, SPAN("progress"))) /* told at each slice */
		s->user.progress_ms = yes ? 0 : 3600000;
	else if (span_eq(name, SPAN("loopback")))
		s->login->loopback = yes;
	else if (span_eq(name, SPAN("disable_plaintext")))
		s->login->set.disable_plaintext = yes;
	else if (span_eq(name, SPAN("tls_required")))
		s->login->set.tls_required = yes;
	else if (span_eq(name, SPAN("tls_offered")))
		s->login->tls_offered = yes;
	else if (span_eq(name, SPAN("tls")))
		s->login->tls = yes;
	else if (span_eq(name, SPAN("client_cert")))
		s->login->certificate = yes;
	else
		return false;
	return true;
}

/* A file in new/, as another program's delivery. */
static bool
put_mail(struct script *s, struct span folder, struct span text)
{
	char path[256], name[128];
	bool inbox = span_eq(folder, SPAN("INBOX"));
	int fd;

	(void)snprintf(name, sizeof name, "%u.M%uP1.test", 1000000000 + s->mails, s->mails);
	s->mails++;
	(void)snprintf(path, sizeof path, "%s/%s%.*s/new/%s", s->dir, inbox ? "" : ".", inbox ? 0 : (int)folder.n, folder.p, name);
	fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	if (fd < 0 || write(fd, text.p, text.n) != (ssize_t)text.n)
		return false;
	close(fd);
	for (unsigned i = 0; i < 60 && (s->session[0] || s->session[1]) && !s->woken[0]; i++)
		(void)loop_turn(s->loop, 5); /* until the store has noticed, which a session that listens says */
	return true;
}

static bool
mail(struct script *s, struct span rest)
{
	struct span folder = span_word(&rest);
	struct buf text, line;
	uint64_t times;
	bool ok;

	buf_init(&text, 1 << 20);
	buf_init(&line, 1 << 20);
	buf_put(&line, SPAN("C> "));
	buf_put(&line, span_trim(rest));
	ok = dialog_client_line(buf_span(&line), &text, &times) && buf_ok(&text) && put_mail(s, folder, buf_span(&text));
	buf_free(&text);
	buf_free(&line);
	return ok;
}

static bool
mail_file(struct script *s, struct span rest)
{
	struct span folder = span_word(&rest);
	const char *top = getenv("srcdir");
	char path[512];
	struct buf text;
	bool ok;

	(void)snprintf(path, sizeof path, "%s/tests/dialog/mails/%.*s", top ? top : ".", SPAN_ARG(span_trim(rest)));
	buf_init(&text, 8 << 20);
	ok = dialog_read_file(path, &text) && put_mail(s, folder, buf_span(&text));
	buf_free(&text);
	return ok;
}

/* A line with escapes to a session at once. */
static bool
tell(struct script *s, unsigned i, struct span rest)
{
	struct buf line, text;
	uint64_t times;
	bool ok;

	buf_init(&line, 1 << 20);
	buf_init(&text, 1 << 20);
	buf_put(&line, SPAN("C> "));
	buf_put(&line, rest);
	buf_put(&line, SPAN("\\r\\n"));
	ok = dialog_client_line(buf_span(&line), &text, &times) && buf_ok(&text);
	while (ok && buf_len(&text)) {
		size_t n = give(s, i, buf_span(&text));

		ok = n > 0;
		buf_eat(&text, n);
	}
	buf_free(&text);
	buf_free(&line);
	for (unsigned k = 0; k < SESSIONS; k++)
		if (s->session[k] && s->woken[k])
			run(s, k);
	return ok;
}

static bool
other(struct script *s, struct span rest)
{
	if (!s->session[1])
		start_session(s, 1, SPAN(""));
	return tell(s, 1, rest);
}

/* The dialog's own session, what it says not shown: to get to the point. */
static bool
quietly(struct script *s, struct span rest)
{
	bool ok;

	s->mute = true;
	if (!s->session[0])
		start_session(s, 0, SPAN(""));
	ok = tell(s, 0, rest);
	s->mute = false;
	return ok;
}

/* A number of plain messages in the INBOX, or in a folder. */
static bool
mails(struct script *s, struct span rest)
{
	struct span count = span_word(&rest), folder = span_word(&rest);
	struct buf text;
	uint64_t n;
	bool ok = span_u64(count, 1000, &n);

	buf_init(&text, 4096);
	for (uint64_t i = 1; ok && i <= n; i++) {
		buf_reset(&text);
		buf_printf(&text,
		    "From: Sender %u <s%u@example.org>\r\nTo: bob@example.test\r\nSubject: message %u\r\n"
		    "Date: Mon, 12 Oct 1998 15:27:3%u +0000\r\nMessage-ID: <m%u@example.org>\r\n\r\nbody %u\r\n",
		    (unsigned)i, (unsigned)i, (unsigned)i, (unsigned)(i % 10), (unsigned)i, (unsigned)i);
		ok = put_mail(s, folder.n ? folder : SPAN("INBOX"), buf_span(&text));
	}
	buf_free(&text);
	return ok;
}

static bool
script_directive(void *core, struct span word, struct span rest)
{
	struct script *s = core;
	struct fail why;

	if (span_eq(word, SPAN("set")))
		return set(s, rest);
	if (span_eq(word, SPAN("mail")))
		return mail(s, rest);
	if (span_eq(word, SPAN("file")))
		return mail_file(s, rest);
	if (span_eq(word, SPAN("folder")))
		return store_create(s->user.store, rest, &why);
	if (span_eq(word, SPAN("mails")))
		return mails(s, rest);
	if (span_eq(word, SPAN("other")))
		return other(s, rest);
	if (span_eq(word, SPAN("quietly")))
		return quietly(s, rest);
	if (span_eq(word, SPAN("quota"))) { /* octets, messages */
		struct quota limit = { .size = 0 };

		(void)span_u64(span_word(&rest), UINT64_MAX, &limit.size);
		(void)span_u64(span_word(&rest), UINT64_MAX, &limit.messages);
		store_set_quota(s->user.store, &limit);
		return true;
	}
	if (span_eq(word, SPAN("disk")))
		return span_eq(rest, SPAN("broken")) && break_disk(s);
	if (span_eq(word, SPAN("facts"))) {
		store_set_facts(s->user.store, &(struct store_facts){ text_make_facts });
		return true;
	}
	if (span_eq(word, SPAN("messages-at-once")))
		return span_u64(span_word(&rest), UINT64_MAX, &s->user.at_once);
	if (span_eq(word, SPAN("acl"))) { /* of bob's folder: folder, identifier, rights */
		struct span folder = span_word(&rest), who = span_word(&rest);
		unsigned rights;

		return acl_take_rights(span_trim(rest), &rights) && acl_change(s->user.store, folder, who, FLAGS_SET, rights, &why);
	}
	if (span_eq(word, SPAN("alice")) && s->far)
		return far_directive(s->far, rest);
	if (span_eq(word, SPAN("again"))) { /* a new process: the store anew, then a new session */
		close_sessions(s);
		store_free(&s->user.store);
		if (!open_store(s))
			return false;
		s->done = false;
		script_start(s);
		return true;
	}
	return false;
}

struct dialog_core
mailbox_dialog(const char *name)
{
	return (struct dialog_core){
		.name = name,
		.open = script_open,
		.start = script_start,
		.input = script_input,
		.turn = script_turn,
		.eof = script_eof,
		.advance = script_advance,
		.closed = script_closed,
		.directive = script_directive,
		.free = script_free,
	};
}
