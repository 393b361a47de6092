/* SPDX-License-Identifier: ISC */
#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/base64.h"
#include "tests/unit/authd_fixture.h"

/* Our ends. */

static bool
on_auth_answer(struct channel *c, const struct ipc_auth_answer *m)
{
	struct world *w = channel_owner(c);

	w->answers++;
	w->answered_id = m->id;
	w->ok = m->ok;
	w->temporary = m->temporary;
	w->too_soon = m->too_soon;
	w->grant_first = w->grants > 0;
	(void)span_cstr(m->user, w->user, sizeof(w->user));
	(void)span_cstr(span_sub(m->why, 0, 200), w->text, sizeof(w->text));
	w->ticket_n = m->ticket.n;
	if (m->ticket.n == B_TICKET)
		memcpy(w->ticket, m->ticket.p, B_TICKET);
	w->proved = false;
	if (m->signature.n) {
		struct buf text;

		buf_init(&text, 100);
		buf_puts(&text, "v=");
		base64_encode(&text, m->signature);
		w->proved = scram_client_verify(&w->scram, buf_span(&text));
		buf_free(&text);
	}
	return true;
}

static bool
on_auth_challenge(struct channel *c, const struct ipc_auth_challenge *m)
{
	struct world *w = channel_owner(c);

	return span_cstr(m->message, w->challenge, sizeof(w->challenge));
}

static bool
on_ticket_grant(struct channel *c, const struct ipc_ticket_grant *m)
{
	struct world *w = channel_owner(c);

	w->grants++;
	memcpy(w->granted, m->ticket.p, m->ticket.n);
	(void)span_cstr(m->folder, w->folder, sizeof(w->folder));
	(void)span_cstr(m->home, w->granted_home, sizeof(w->granted_home));
	return true;
}

static bool
on_ticket_owner(struct channel *c, const struct ipc_ticket_owner *m)
{
	struct world *w = channel_owner(c);

	w->owners++;
	w->size = m->quota;
	w->messages = m->messages;
	(void)span_cstr(m->home, w->granted_home, sizeof(w->granted_home));
	return true;
}

static bool
on_ticket_sharer(struct channel *c, const struct ipc_ticket_sharer *m)
{
	struct world *w = channel_owner(c);

	w->sharers++;
	return span_cstr(m->owner, w->sharer, sizeof(w->sharer));
}

static bool
on_ticket_answered(struct channel *c, const struct ipc_ticket_answered *m)
{
	struct world *w = channel_owner(c);

	w->answered++;
	w->answered_ok = m->ok;
	(void)span_cstr(span_sub(m->why, 0, sizeof(w->text) - 1), w->text, sizeof(w->text));
	return true;
}

static bool
on_ticket_limits(struct channel *c, const struct ipc_ticket_limits *m)
{
	struct world *w = channel_owner(c);

	w->limits++;
	w->size = m->quota;
	w->messages = m->messages;
	return span_eq(m->user, SPAN("alice@example.test"));
}

static bool
on_ticket_shared(struct channel *c, const struct ipc_ticket_shared *m)
{
	struct world *w = channel_owner(c);

	w->shared++;
	w->told_first = !w->answered;
	return span_cstr(m->guest, w->sharer, sizeof(w->sharer));
}

static bool
on_user_admin_user(struct channel *c, const struct ipc_user_admin_user *m)
{
	(void)c, (void)m;
	return true;
}

static bool
on_user_admin_done(struct channel *c, const struct ipc_user_admin_done *m)
{
	struct world *w = channel_owner(c);

	w->dones++;
	w->done_ok = m->ok;
	return true;
}

static bool
on_users_answer(struct channel *c, const struct ipc_users_answer *m)
{
	(void)c, (void)m;
	return true;
}

static bool
on_users_changed(struct channel *c, const struct ipc_users_changed *m)
{
	struct world *w = channel_owner(c);

	w->changes++;
	(void)span_cstr(m->address, w->user, sizeof(w->user));
	return true;
}

#define DISPATCH_DEF "ipc/auth.def"
#define DISPATCH_SIDE CLIENT
#include "ipc/dispatch.h"
static bool
on_ticket_crashed(struct channel *c, const struct ipc_ticket_crashed *m)
{
	struct world *w = channel_owner(c);

	w->recalled += m->user.n == 0 ? 100 : m->count;
	return true;
}

#define DISPATCH_DEF "ipc/ticket.def"
#define DISPATCH_SIDE SERVER
#include "ipc/dispatch.h"
#define DISPATCH_DEF "ipc/user_admin.def"
#define DISPATCH_SIDE CLIENT
#include "ipc/dispatch.h"
#define DISPATCH_DEF "ipc/users.def"
#define DISPATCH_SIDE CLIENT
#include "ipc/dispatch.h"

/* authd's ends, as its main.c has them. */

static bool
serve_auth(struct channel *c, unsigned type, const void *m, int fd)
{
	(void)fd;
	if (type == IPC_auth_scram)
		return scram_begin(channel_owner(c), m);
	return type == IPC_auth_ask ? check_begin(channel_owner(c), m) : scram_prove(channel_owner(c), m);
}

static bool
serve_admin(struct channel *c, unsigned type, const void *m, int fd)
{
	(void)fd;
	if (type == IPC_user_admin_set)
		return admin_set(channel_owner(c), m);
	if (type == IPC_user_admin_quota)
		return admin_quota(channel_owner(c), m);
	return type == IPC_user_admin_remove ? admin_remove(channel_owner(c), m) : admin_list(channel_owner(c), m);
}

static bool
serve_nothing(struct channel *c, unsigned type, const void *m, int fd)
{
	(void)c, (void)type, (void)m, (void)fd;
	return false;
}

static void
on_closed(struct channel *c, const struct fail *why)
{
	(void)why;
	link_closed(channel_owner(c));
}

static void
on_gone(struct channel *c, const struct fail *why)
{
	(void)c, (void)why;
}

static const struct channel_ops front_ops = { dispatch_auth, on_gone, NULL };
static const struct channel_ops userd_ops = { dispatch_ticket, on_gone, NULL };
static const struct channel_ops tool_ops = { dispatch_user_admin, on_gone, NULL };
static const struct channel_ops routed_ops = { dispatch_users, on_gone, NULL };
static const struct channel_ops auth_side = { serve_auth, on_closed, NULL };
static const struct channel_ops admin_side = { serve_admin, on_closed, NULL };
static const struct channel_ops users_side = { serve_nothing, on_closed, NULL };

static struct channel *
wire(struct world *w, const struct ipc_channel *type, const struct channel_ops *ours, const struct channel_ops *theirs, bool users)
{
	struct channel *c;
	int fd[2];

	assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, fd), 0);
	c = channel_new(w->service.loop, fd[0], type, CHANNEL_SERVER, theirs, NULL);
	channel_set_owner(c, link_new(&w->a, c));
	((struct link *)channel_owner(c))->users = users;
	return channel_new(w->service.loop, fd[1], type, CHANNEL_CLIENT, ours, w);
}

void
put_user(struct world *w, const char *name, const char *password)
{
	struct ipc_user_admin_set set = { .user = span_str(name), .create = true };
	struct password_cost cost = { PASSWORD_ARGON2ID, 1024 };
	struct useradmin_secret secret;
	struct fail why = { 0 };

	useradmin_secret_init(&secret, w->a.db, set.user, 0); /* as a release before SCRAM left it */
	assert_true(useradmin_hash(&secret, span_str(password), &cost, &why));
	if (!useradmin_set(w->a.db, &set, &secret, 1, &why))
		fail_msg("%s", why.text);
	useradmin_secret_wipe(&secret);
}

int
setup(void **state)
{
	struct world *w = calloc(1, sizeof(*w));
	struct span text = SPAN("myhostname = mail.example.test\nmyorigin = example.test\nauth_failure_delay = 50ms\nauth_scram_iterations = 4096\nauth_hash_memory = 1M\n"
		"pop3_login_delay = 1h\npop3_folder_delimiter = #\nmailbox_size_limit = 9M\nquota_administrators = other@example.test, Admin@Example.Test\n");
	struct conf_errors *errors = calloc(1, sizeof(*errors));
	struct password_cost cost = { PASSWORD_ARGON2ID, 1024 };
	struct fail why;
	int fd[2];

	*state = w;
	arena_init(&w->mem, CONF_ARENA_MAX);
	log_open("test", open("/dev/null", 1), NULL);
	w->service = (struct service){ .loop = loop_new(), .name = "authd", .state = &w->a };
	w->service.conf = conf_parse(text, &w->mem, errors);
	free(errors);
	assert_non_null(w->service.conf);
	(void)strcpy(w->dir, "/tmp/test_authd.XXXXXX");
	assert_non_null(mkdtemp(w->dir));
	w->a.service = &w->service;
	list_init(&w->a.links);
	list_init(&w->a.checks);
	list_init(&w->a.exchanges);
	guard_init(&w->a.guard, w->service.conf->auth_failure_delay);
	recent_init(&w->a.recent, RECENT_MAX);
	assert_true(cache_init(&w->a.cache));
	assert_true(userdb_open(w->dir, &w->a.db, &why));
	buf_init(&w->a.dummy, PASSWORD_HASH_MAX);
	assert_true(password_hash(SPAN("nobody's"), &cost, &w->a.dummy, &why));
	w->a.pool = worker_pool_new(w->service.loop, 2);
	w->front = wire(w, &ipc_channel_auth, &front_ops, &auth_side, false);
	w->tool = wire(w, &ipc_channel_user_admin, &tool_ops, &admin_side, false);
	w->routed = wire(w, &ipc_channel_users, &routed_ops, &users_side, true);
	assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, fd), 0);
	w->a.ticket = channel_new(w->service.loop, fd[0], &ipc_channel_ticket, CHANNEL_CLIENT, &ticket_ops, &w->service);
	w->userd = channel_new(w->service.loop, fd[1], &ipc_channel_ticket, CHANNEL_SERVER, &userd_ops, w);
	put_user(w, "alice@example.test", "wonderland");
	put_user(w, "nologin@example.test", "");
	return 0;
}

int
teardown(void **state)
{
	struct world *w = *state;
	char path[512];
	struct dirent *e;
	DIR *d;

	worker_pool_free(&w->a.pool);
	check_drop_all(&w->a);
	while (!list_empty(&w->a.links))
		link_closed(OWNER_OF(w->a.links.next, struct link, node));
	channel_free(&w->front);
	channel_free(&w->userd);
	channel_free(&w->tool);
	channel_free(&w->routed);
	channel_free(&w->a.ticket);
	userdb_close(&w->a.db);
	buf_wipe(&w->a.dummy);
	cache_free(&w->a.cache);
	guard_free(&w->a.guard);
	recent_free(&w->a.recent);
	loop_free(&w->service.loop);
	d = opendir(w->dir);
	while (d && (e = readdir(d))) {
		(void)snprintf(path, sizeof(path), "%s/%s", w->dir, e->d_name);
		(void)unlink(path);
	}
	if (d)
		(void)closedir(d);
	(void)rmdir(w->dir);
	arena_free(&w->mem);
	free(w);
	return 0;
}

void
turns(struct world *w)
{
	for (int i = 0; i < 4; i++)
		(void)loop_turn(w->service.loop, 5);
}

void
ask(struct world *w, const char *service, const char *user, const char *password)
{
	struct ipc_auth_ask m = {
		.id = 7,
		.service = span_str(service),
		.mechanism = SPAN("PLAIN"),
		.client_addr = SPAN("192.0.2.1"),
		.user = span_str(user),
		.password = span_str(password),
	};

	w->answers = 0;
	w->text[0] = '\0';
	assert_true(ipc_send_auth_ask(w->front, &m));
	for (int i = 0; i < 500 && !w->answers; i++)
		(void)loop_turn(w->service.loop, 20);
	assert_int_equal(w->answers, 1);
}

void
tool_does(struct world *w, bool create, const char *user, const char *password)
{
	struct ipc_user_admin_set m = { .id = 1, .create = create, .user = span_str(user), .password = span_str(password) };

	w->dones = 0;
	assert_true(ipc_send_user_admin_set(w->tool, &m));
	for (int i = 0; i < 500 && !w->dones; i++)
		(void)loop_turn(w->service.loop, 20);
	(void)loop_turn(w->service.loop, 20);
	assert_int_equal(w->dones, 1);
}
