/* SPDX-License-Identifier: ISC
 *
 * authd between a front, userd and mailctl that the test plays.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>
#include <dirent.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/base64.h"
#include "daemons/authd/authd.h"
#include "net/scram.h"
#include "net/scram_server.h"

struct world {
	struct service service;
	struct authd a;
	struct arena mem;
	char dir[64];
	struct channel *front, *userd, *tool, *routed; /* our ends */
	struct channel *served[4];
	/* what came */
	int answers, grants, dones, changes, owners, sharers, answered, limits, shared;
	uint64_t answered_id; /* of the last answer */
	bool told_first; /* shared, before answered */
	unsigned recalled; /* crashes that authd has told of; 100 for the end of them */
	uint64_t size, messages; /* of owner or limits */
	bool ok, temporary, too_soon, done_ok, grant_first, answered_ok;
	char sharer[B_ADDRESS + 1], folder[B_ADDRESS + 1];
	const char *scram_service; /* NULL: imap */
	char user[B_ADDRESS + 1], text[256], granted_home[256];
	uint8_t ticket[B_TICKET], granted[B_TICKET];
	size_t ticket_n;
	struct scram_client scram;
	char challenge[B_SCRAM + 1];
	bool proved; /* authd has shown that it knows the password, too */
};

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

static void
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

static int
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

static int
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

static void
turns(struct world *w)
{
	for (int i = 0; i < 4; i++)
		(void)loop_turn(w->service.loop, 5);
}

static void
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

static void
test_good_credentials(void **state)
{
	struct world *w = *state;

	ask(w, "smtp", "ALICE@example.test", "wonderland");
	assert_true(w->ok);
	assert_string_equal(w->user, "alice@example.test");
	assert_int_equal(w->ticket_n, 0);
	assert_int_equal(w->grants, 0);
	ask(w, "smtp", "alice", "wonderland"); /* myorigin */
	assert_true(w->ok);
	assert_int_equal(w->a.cached, 1);
}

static void
test_a_ticket_is_granted_before_the_answer(void **state)
{
	struct world *w = *state;

	ask(w, "imap", "alice@example.test", "wonderland");
	assert_true(w->ok);
	assert_int_equal(w->ticket_n, B_TICKET);
	assert_true(w->grant_first);
	assert_memory_equal(w->ticket, w->granted, B_TICKET);
	assert_string_equal(w->granted_home, "example.test/alice");
	/* Without userd there is no session to be had, for now. */
	channel_free(&w->a.ticket);
	ask(w, "imap", "alice@example.test", "wonderland");
	assert_false(w->ok);
	assert_true(w->temporary);
}

static void
test_all_wrong_ones_look_the_same(void **state)
{
	static const char *const users[] = { "alice@example.test", "nobody@example.test", "nologin@example.test", "", "a/../b@example.test", "x@y@z" };
	struct world *w = *state;

	for (size_t i = 0; i < sizeof(users) / sizeof(users[0]); i++) {
		ask(w, "smtp", users[i], "Wonderland");
		assert_false(w->ok);
		assert_false(w->temporary);
		assert_string_equal(w->user, "");
	}
	assert_int_equal(w->a.wrong, 6);
	ask(w, "smtp", "nologin@example.test", "");
	assert_false(w->ok);
}

/* RFC 2449 8.1.1 */
static void
test_who_comes_again_too_soon_hears_of_it_with_the_right_password_alone(void **state)
{
	struct world *w = *state;

	ask(w, "imap", "alice", "wonderland");
	assert_true(w->ok);
	ask(w, "pop3", "alice", "wonderland");
	assert_true(w->ok && !w->too_soon);
	w->grants = 0;
	ask(w, "pop3", "Alice@Example.Test", "wonderland");
	assert_true(!w->ok && !w->temporary && w->too_soon);
	assert_int_equal(w->ticket_n, 0);
	assert_int_equal(w->grants, 0);
	assert_string_equal(w->user, "");
	ask(w, "pop3", "alice", "Wonderland");
	assert_true(!w->ok && !w->temporary && !w->too_soon);
	ask(w, "imap", "alice", "wonderland");
	assert_true(w->ok);
	ask(w, "pop3", "alice#Archive", "wonderland"); /* another mailbox */
	assert_true(w->ok);
	ask(w, "pop3", "alice#Archive", "wonderland");
	assert_true(w->too_soon);
	put_user(w, "beth@example.test", "wonderland");
	channel_free(&w->a.ticket); /* what comes to nothing is no login */
	ask(w, "pop3", "beth", "wonderland");
	assert_true(w->temporary && !w->too_soon);
	ask(w, "pop3", "beth", "wonderland");
	assert_true(w->temporary && !w->too_soon);
	assert_int_equal(w->a.nchecks, 0);
}

static void
as(struct world *w, const char *user, const char *authzid, bool ok, const char *folder)
{
	struct ipc_auth_ask m = { .id = 7, .service = SPAN("pop3"), .mechanism = SPAN("PLAIN"), .client_addr = SPAN("192.0.2.1"),
		.user = span_str(user), .authzid = span_str(authzid), .password = SPAN("wonderland") };

	w->answers = 0;
	(void)strcpy(w->folder, "none");
	(void)recent_admits(&w->a.recent, SPAN(""), 0, INT64_MAX); /* forgets all */
	assert_true(ipc_send_auth_ask(w->front, &m));
	for (int i = 0; i < 500 && !w->answers; i++)
		(void)loop_turn(w->service.loop, 20);
	turns(w);
	if (w->ok != ok || strcmp(w->folder, ok ? folder : "none") != 0 || (ok && strcmp(w->user, "alice@example.test") != 0))
		fail_msg("%s as %s: %d %s of %s", user, authzid, w->ok, w->folder, w->user);
}

static void
test_a_pop3_login_may_name_a_folder(void **state)
{
	struct world *w = *state;

	put_user(w, "al#ice@example.test", "wonderland");
	put_user(w, "al@example.test", "another");
	as(w, "alice", "", true, "");
	as(w, "alice@example.test#Archive", "", true, "Archive");
	as(w, "alice#Archive@example.test", "", true, "Archive");
	as(w, "ALICE#Archive", "", true, "Archive");
	as(w, "alice#", "", true, "");
	as(w, "alice#Caf\xc3\xa9.x", "", true, "Caf\xc3\xa9.x");
	as(w, "alice", "alice", true, "");
	as(w, "alice", "alice@example.test#Archive", true, "Archive");
	as(w, "alice#One", "alice#Two", true, "Two");
	as(w, "alice#One", "alice", true, "One");
	/* nobody gets to another user's mail by it */
	as(w, "alice", "al#x", false, "");
	assert_string_equal(w->text, "may not act as another user");
	as(w, "alice#x", "al#ice", false, "");
	as(w, "al#x", "alice#x", false, "");
	as(w, "al#ce", "", false, ""); /* another's password */
	assert_string_equal(w->text, "wrong password");
	as(w, "nobody#Archive", "", false, "");
	assert_string_equal(w->text, "unknown user or login is not possible");
	as(w, "#Archive", "", false, "");
	ask(w, "pop3", "al#ice", "wonderland"); /* whose name that is comes first */
	assert_true(w->ok);
	assert_string_equal(w->user, "al#ice@example.test");
	turns(w);
	assert_string_equal(w->folder, "");
	ask(w, "imap", "alice#Archive", "wonderland"); /* IMAP knows folders by itself */
	assert_false(w->ok);
}

static void
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

static void
test_a_changed_password_counts_at_once(void **state)
{
	struct world *w = *state;

	ask(w, "smtp", "alice@example.test", "wonderland");
	assert_true(w->ok);
	tool_does(w, false, "alice@example.test", "looking glass");
	assert_true(w->done_ok);
	assert_int_equal(w->changes, 1);
	assert_string_equal(w->user, "alice@example.test");
	ask(w, "smtp", "alice@example.test", "wonderland"); /* was in the cache */
	assert_false(w->ok);
	ask(w, "smtp", "alice@example.test", "looking glass");
	assert_true(w->ok);
	tool_does(w, true, "alice@example.test", "x");
	assert_false(w->done_ok);
	tool_does(w, true, "../../x@example.test", "x");
	assert_false(w->done_ok);
}

static void
test_a_front_may_go_while_its_login_is_checked(void **state)
{
	struct world *w = *state;
	struct ipc_auth_ask m = { .id = 1, .service = SPAN("smtp"), .client_addr = SPAN("192.0.2.1"), .user = SPAN("alice@example.test"), .password = SPAN("no") };

	for (int i = 0; i < 20; i++)
		assert_true(ipc_send_auth_ask(w->front, &m));
	(void)loop_turn(w->service.loop, 10);
	(void)loop_turn(w->service.loop, 10);
	assert_true(w->a.nchecks > 0);
	channel_free(&w->front);
	for (int i = 0; i < 500 && w->a.nchecks; i++)
		(void)loop_turn(w->service.loop, 20);
	assert_int_equal(w->a.nchecks, 0);
}

static void
test_one_client_cannot_take_all_the_room(void **state)
{
	struct world *w = *state;
	struct ipc_auth_ask m = { .id = 1, .service = SPAN("smtp"), .client_addr = SPAN("192.0.2.1"), .user = SPAN("alice@example.test"), .password = SPAN("no") };

	for (int i = 0; i < CHECKS_PER_CLIENT + 10; i++)
		assert_true(ipc_send_auth_ask(w->front, &m));
	for (int i = 0; i < 20 && w->a.refused < 10; i++)
		(void)loop_turn(w->service.loop, 5);
	assert_true(w->a.refused >= 10);
	assert_true(w->a.nchecks <= CHECKS_PER_CLIENT);
}

/* A /64 is one client's; its neighbours have room of their own. */
static void
test_one_ipv6_network_cannot_take_all_the_room(void **state)
{
	struct world *w = *state;
	struct ipc_auth_ask m = { .id = 1, .service = SPAN("smtp"), .user = SPAN("alice@example.test"), .password = SPAN("no") };
	char address[64];

	for (unsigned i = 0; i < CHECKS_PER_CLIENT + 10; i++) {
		(void)snprintf(address, sizeof(address), "2001:db8::%x", i + 1);
		m.client_addr = span_str(address);
		assert_true(ipc_send_auth_ask(w->front, &m));
	}
	m.client_addr = SPAN("2001:db8:0:1::1");
	assert_true(ipc_send_auth_ask(w->front, &m));
	for (int i = 0; i < 20 && w->a.refused < 10; i++)
		(void)loop_turn(w->service.loop, 5);
	assert_int_equal(w->a.refused, 10);
}

/* As many wrong passwords for alice, which wait for their check, as each of these clients may have: "PREFIX%x". */
static void
crowd(struct world *w, const char *prefix, unsigned clients)
{
	struct ipc_auth_ask m = { .id = 1, .service = SPAN("smtp"), .user = SPAN("alice@example.test"), .password = SPAN("no") };
	uint64_t before = w->a.nchecks + w->a.refused;
	char address[64];

	w->a.guard.delay_ms = 2000;
	for (unsigned i = 0; i < 500; i++)
		(void)guard_failed(&w->a.guard, m.user, SPAN("203.0.113.9"), loop_now_ms(w->service.loop));
	for (unsigned i = 0; i < clients * CHECKS_PER_CLIENT; i++) {
		(void)snprintf(address, sizeof(address), "%s%x::1", prefix, i / CHECKS_PER_CLIENT);
		m.client_addr = span_str(address);
		assert_true(ipc_send_auth_ask(w->front, &m));
	}
	while (w->a.nchecks + w->a.refused < before + clients * CHECKS_PER_CLIENT)
		(void)loop_turn(w->service.loop, 5);
}

static bool
logs_in(struct world *w, const char *user, const char *password, const char *client)
{
	struct ipc_auth_ask m = { .id = 2, .service = SPAN("smtp"), .user = span_str(user), .password = span_str(password), .client_addr = span_str(client) };

	w->answered_id = 0;
	assert_true(ipc_send_auth_ask(w->front, &m));
	while (w->answered_id != m.id)
		(void)loop_turn(w->service.loop, 20);
	return w->ok;
}

/* Whoever has a network has many clients' addresses. */
static void
test_a_network_of_many_clients_cannot_take_all_the_room(void **state)
{
	struct world *w = *state;

	put_user(w, "carol@example.test", "pencil");
	crowd(w, "2001:db8:0:", CHECKS_PER_NETWORK / CHECKS_PER_CLIENT + 2);
	assert_int_equal(w->a.nchecks, CHECKS_PER_NETWORK);
	assert_int_equal(w->a.refused, 2 * CHECKS_PER_CLIENT);
	assert_true(logs_in(w, "carol@example.test", "pencil", "2001:db8:0:100::1"));
}

/* Whoever has many networks takes the places of strangers, and no others. */
static void
test_who_is_known_has_a_place_where_strangers_have_none(void **state)
{
	struct world *w = *state;
	struct span carol = SPAN("carol@example.test");

	put_user(w, "carol@example.test", "pencil");
	guard_succeeded(&w->a.guard, carol, SPAN("192.0.2.1"), loop_now_ms(w->service.loop));
	for (char prefix[] = "2001:db8:1:"; prefix[9] <= '9' && w->a.nchecks < CHECKS_MAX - CHECKS_OF_KNOWN; prefix[9]++)
		crowd(w, prefix, CHECKS_PER_NETWORK / CHECKS_PER_CLIENT);
	assert_int_equal(w->a.nchecks, CHECKS_MAX - CHECKS_OF_KNOWN);
	assert_false(logs_in(w, "carol@example.test", "pencil", "198.51.100.1"));
	assert_true(w->temporary);
	assert_true(logs_in(w, "carol@example.test", "pencil", "192.0.2.200"));
}

/* What takes no time needs no place: also beside others at the same address. */
static void
test_who_logged_in_a_moment_ago_needs_no_place(void **state)
{
	struct world *w = *state;

	put_user(w, "carol@example.test", "pencil");
	assert_true(logs_in(w, "carol@example.test", "pencil", "2001:db8:0:0::2"));
	crowd(w, "2001:db8:0:", CHECKS_PER_NETWORK / CHECKS_PER_CLIENT);
	assert_false(logs_in(w, "carol@example.test", "pen", "2001:db8:0:0::2"));
	assert_true(w->temporary);
	assert_true(logs_in(w, "carol@example.test", "pencil", "2001:db8:0:0::2"));
}

/* An attack that goes on holds up strangers; who has logged in from there before is looked at at once. */
static void
test_an_owner_gets_in_while_others_guess(void **state)
{
	struct world *w = *state;
	struct span carol = SPAN("carol@example.test");
	struct ipc_auth_ask m = { .service = SPAN("smtp"), .user = carol, .password = SPAN("no") };
	char address[64];

	w->a.guard.delay_ms = 2000;
	put_user(w, "carol@example.test", "pencil");
	guard_succeeded(&w->a.guard, carol, SPAN("2001:db8:1::1"), loop_now_ms(w->service.loop));
	for (unsigned i = 0; i < 500; i++)
		(void)guard_failed(&w->a.guard, carol, SPAN("203.0.113.9"), loop_now_ms(w->service.loop));
	for (unsigned i = 0; i < 20; i++) {
		(void)snprintf(address, sizeof(address), "198.51.100.%u", i);
		m.id = 100 + i;
		m.client_addr = span_str(address);
		assert_true(ipc_send_auth_ask(w->front, &m));
	}
	m = (struct ipc_auth_ask){ .id = 2, .service = SPAN("smtp"), .user = carol, .password = SPAN("pencil"), .client_addr = SPAN("2001:db8:1::2:1") };
	assert_true(ipc_send_auth_ask(w->front, &m));
	for (int i = 0; i < 500 && !w->answers; i++)
		(void)loop_turn(w->service.loop, 20);
	assert_int_equal(w->answers, 1);
	assert_true(w->ok);
	assert_int_equal(w->a.nchecks, 20); /* whoever guesses waits before the password is looked at */
}

/* The first round: what is asked of this name, in w->challenge. */
static void
begin_scram(struct world *w, uint64_t id, const char *user, const char *authzid)
{
	struct ipc_auth_scram m = { .id = id, .service = span_str(w->scram_service ? w->scram_service : "imap"), .mechanism = SPAN("SCRAM-SHA-256"), .client_addr = SPAN("192.0.2.1"),
		.user = span_str(user), .authzid = span_str(authzid), .nonce = SPAN("abcdefgh") };
	struct buf first;

	buf_init(&first, 1000);
	assert_true(scram_client_first(&w->scram, m.user, m.nonce, NULL, &first));
	m.bare = span_from(buf_span(&first), 3);
	w->challenge[0] = '\0';
	w->answers = w->grants = 0;
	w->text[0] = '\0';
	assert_true(ipc_send_auth_scram(w->front, &m));
	for (int i = 0; i < 500 && !w->challenge[0] && !w->answers; i++)
		(void)loop_turn(w->service.loop, 20);
	buf_free(&first);
}

static void
prove(struct world *w, uint64_t id, struct span without, const uint8_t proof[SCRAM_PROOF])
{
	struct ipc_auth_proof m = { .id = id, .without_proof = without, .proof = span_of(proof, SCRAM_PROOF) };

	w->answers = 0;
	assert_true(ipc_send_auth_proof(w->front, &m));
	for (int i = 0; i < 500 && !w->answers; i++)
		(void)loop_turn(w->service.loop, 20);
	assert_int_equal(w->answers, 1);
}

static void
end_scram(struct world *w, uint64_t id, const char *password)
{
	struct scram_final final;
	struct fail why;
	struct buf out;

	buf_init(&out, 1000);
	if (!scram_client_final(&w->scram, span_str(password), span_str(w->challenge), &out, &why))
		fail_msg("%s: %s", why.text, w->challenge);
	assert_true(scram_parse_final(buf_span(&out), &final, &why));
	prove(w, id, final.without, final.proof);
	buf_free(&out);
	scram_client_end(&w->scram);
}

static void
scram(struct world *w, const char *user, const char *password)
{
	begin_scram(w, 9, user, "");
	assert_int_equal(w->answers, 0);
	end_scram(w, 9, password);
}

static void
test_scram(void **state)
{
	struct world *w = *state;

	tool_does(w, true, "carol@example.test", "pencil");
	scram(w, "Carol", "pencil");
	assert_true(w->ok && w->proved);
	assert_string_equal(w->user, "carol@example.test");
	assert_int_equal(w->ticket_n, B_TICKET);
	assert_true(w->grant_first);
	scram(w, "carol@example.test", "pen");
	assert_true(!w->ok && !w->temporary && !w->proved);
	assert_int_equal(w->ticket_n, 0);
	assert_int_equal(w->a.wrong, 1);
	tool_does(w, false, "carol@example.test", "pen");
	scram(w, "carol@example.test", "pencil");
	assert_false(w->ok);
	scram(w, "carol@example.test", "pen");
	assert_true(w->ok && w->proved);
	begin_scram(w, 9, "carol@example.test", "alice@example.test"); /* as somebody else */
	end_scram(w, 9, "pen");
	assert_true(!w->ok && !w->temporary);
	assert_int_equal(w->a.nchecks + w->a.nexchanges, 0);
}

/* A user of an older database has no keys until a password has come. */
static void
test_scram_after_a_login_with_a_password(void **state)
{
	struct world *w = *state;

	scram(w, "alice@example.test", "wonderland");
	assert_true(!w->ok && !w->temporary);
	ask(w, "smtp", "alice@example.test", "Wonderland");
	scram(w, "alice@example.test", "Wonderland");
	assert_false(w->ok);
	ask(w, "smtp", "alice@example.test", "wonderland");
	assert_true(w->ok);
	scram(w, "alice@example.test", "wonderland");
	assert_true(w->ok && w->proved);
}

static void
salt_of(struct world *w, const char *user, char salt[100])
{
	struct span rest;

	begin_scram(w, 9, user, "");
	assert_int_equal(w->answers, 0);
	rest = span_str(w->challenge);
	(void)span_cut(&rest, ',');
	assert_true(span_cstr(rest, salt, 100)); /* s=...,i=... */
	end_scram(w, 9, "guess");
	assert_true(!w->ok && !w->temporary);
}

static void
test_scram_with_a_folder(void **state)
{
	struct world *w = *state;
	char whole[100], with[100];

	w->scram_service = "pop3";
	tool_does(w, true, "carol@example.test", "pencil");
	scram(w, "carol#Archive", "pencil");
	assert_true(w->ok && w->proved);
	assert_string_equal(w->user, "carol@example.test");
	assert_string_equal(w->folder, "Archive");
	scram(w, "carol#Archive", "pencil");
	assert_true(!w->ok && w->too_soon && !w->proved);
	salt_of(w, "nobody@example.test", whole); /* whether there is such a user does not show */
	salt_of(w, "nobody@example.test#Archive", with);
	assert_string_equal(whole, with);
}

/* Names cannot be probed: the same question again and again, whether there is such a user or not. */
static void
test_scram_of_nobody(void **state)
{
	struct world *w = *state;
	char first[100], again[100], other[100];

	salt_of(w, "dave@example.test", first);
	salt_of(w, "erin@example.test", other);
	assert_string_not_equal(first, other);
	assert_non_null(strstr(first, ",i=4096"));
	salt_of(w, "DAVE@example.test", again);
	assert_string_equal(first, again);
	tool_does(w, true, "dave@example.test", "pencil");
	salt_of(w, "dave@example.test", again);
	assert_string_equal(first, again);
	tool_does(w, false, "dave@example.test", "crayon");
	salt_of(w, "dave@example.test", again);
	assert_string_equal(first, again);
	salt_of(w, "nologin@example.test", first);
	salt_of(w, "../x", first);
}

static void
test_scram_proofs_are_good_once(void **state)
{
	struct world *w = *state;
	struct scram_final final;
	struct fail why;
	struct buf out;

	tool_does(w, true, "carol@example.test", "pencil");
	begin_scram(w, 9, "carol@example.test", "");
	buf_init(&out, 1000);
	assert_true(scram_client_final(&w->scram, SPAN("pencil"), span_str(w->challenge), &out, &why));
	assert_true(scram_parse_final(buf_span(&out), &final, &why));
	prove(w, 9, final.without, final.proof);
	assert_true(w->ok);
	prove(w, 9, final.without, final.proof); /* nothing goes on any more */
	assert_true(!w->ok && w->temporary);
	scram_client_end(&w->scram);
	begin_scram(w, 10, "carol@example.test", "");
	prove(w, 10, final.without, final.proof); /* in an exchange with another nonce */
	assert_true(!w->ok && !w->temporary);
	scram_client_end(&w->scram);
	buf_free(&out);
}

/* Clients that only ask take no room from others. */
static void
test_scram_exchanges_are_bounded(void **state)
{
	struct world *w = *state;

	tool_does(w, true, "carol@example.test", "pencil");
	for (uint64_t i = 1; i <= EXCHANGES_PER_CLIENT; i++) {
		begin_scram(w, i, "carol@example.test", "");
		assert_int_equal(w->answers, 0);
		scram_client_end(&w->scram);
	}
	assert_int_equal(w->a.nexchanges, EXCHANGES_PER_CLIENT);
	begin_scram(w, 1000, "carol@example.test", "");
	assert_int_equal(w->a.nexchanges, EXCHANGES_PER_CLIENT);
	assert_int_equal(w->a.refused, 1); /* the oldest one */
	end_scram(w, 1000, "pencil");
	assert_true(w->ok);
	channel_free(&w->front);
	(void)loop_turn(w->service.loop, 20); /* teardown drops those that are left */
}

/* ---- who may visit whom ---- */

static void
share(struct world *w, const char *owner, const char *guest, bool on)
{
	w->answered = 0;
	(void)ipc_send_ticket_share(w->userd, &(struct ipc_ticket_share){ .id = 1, .owner = span_str(owner), .guest = span_str(guest), .on = on });
	turns(w);
	assert_int_equal(w->answered, 1);
}

static bool
may_visit(struct world *w, const char *owner, const char *guest)
{
	w->answered = w->owners = 0;
	(void)ipc_send_ticket_find(w->userd, &(struct ipc_ticket_find){ .id = 2, .owner = span_str(owner), .guest = span_str(guest) });
	turns(w);
	assert_int_equal(w->answered + w->owners, 1);
	return w->owners == 1;
}

static int
sharers(struct world *w, const char *guest)
{
	w->answered = w->sharers = 0;
	(void)ipc_send_ticket_sharers(w->userd, &(struct ipc_ticket_sharers){ .id = 3, .guest = span_str(guest) });
	turns(w);
	assert_int_equal(w->answered, 1);
	return w->sharers;
}

static void
test_only_who_was_given_rights_may_visit(void **state)
{
	struct world *w = *state;

	assert_false(may_visit(w, "alice@example.test", "nologin@example.test"));
	share(w, "alice@example.test", "nologin@example.test", true);
	assert_true(w->answered_ok);
	assert_int_equal(w->shared, 1); /* his mailboxd is told, before alice */
	assert_true(w->told_first);
	assert_string_equal(w->sharer, "nologin@example.test");
	assert_true(may_visit(w, "alice@example.test", "nologin@example.test"));
	assert_string_equal(w->granted_home, "example.test/alice");
	assert_false(may_visit(w, "nologin@example.test", "alice@example.test"));
	assert_false(may_visit(w, "alice@example.test", "nologin@example.tes"));
	assert_false(may_visit(w, "alice@example.test", "other@example.test"));
	assert_int_equal(sharers(w, "nologin@example.test"), 1);
	assert_string_equal(w->sharer, "alice@example.test");
	assert_int_equal(sharers(w, "other@example.test"), 0);
	share(w, "alice@example.test", "nologin@example.test", false);
	assert_false(may_visit(w, "alice@example.test", "nologin@example.test"));
	assert_int_equal(w->shared, 2);
	share(w, "alice@example.test", "anyone", true);
	assert_int_equal(w->shared, 3);
	assert_string_equal(w->sharer, ""); /* everybody's */
	assert_true(may_visit(w, "alice@example.test", "other@example.test"));
	assert_int_equal(sharers(w, "other@example.test"), 1);
	assert_int_equal(sharers(w, "alice@example.test"), 0);
	share(w, "alice@example.test", "Not Canonical@x", true);
	assert_false(w->answered_ok);
	assert_int_equal(w->shared, 3);
	share(w, "alice@example.test", "Other@example.test", true);
	assert_false(w->answered_ok);
	assert_string_equal(w->text, "not a user's name");
	share(w, "nobody@example.test", "other@example.test", true); /* userd said so: a user who is gone meanwhile */
	assert_false(may_visit(w, "nobody@example.test", "other@example.test"));
	assert_false(may_visit(w, "../../etc/passwd@x", "other@example.test"));
}

/* True: authd has answered with what it is now. */
static bool
quota(struct world *w, const char *by, const char *user, bool set, uint64_t size, uint64_t messages)
{
	w->answered = w->owners = w->limits = 0;
	(void)ipc_send_ticket_quota(w->userd, &(struct ipc_ticket_quota){ .id = 4, .by = span_str(by), .user = span_str(user), .set = set, .size = size, .messages = messages });
	turns(w);
	assert_int_equal(w->answered + w->owners, 1);
	return w->owners == 1;
}

static void
test_quotas_are_an_administrators(void **state)
{
	struct world *w = *state;
	struct ipc_user_admin_quota q = { .id = 1, .user = SPAN("alice@example.test"), .set_size = true, .size = 5000 };

	assert_false(quota(w, "alice@example.test", "alice@example.test", true, 1, 1));
	assert_false(quota(w, "alice@example.test", "alice@example.test", false, 0, 0));
	assert_int_equal(w->limits, 0);
	assert_true(quota(w, "admin@example.test", "alice@example.test", false, 1, 1));
	assert_int_equal(w->size, 9 << 20); /* the default */
	assert_int_equal(w->limits, 0);
	assert_true(quota(w, "admin@example.test", "Alice@example.test", true, 0, 77));
	assert_int_equal(w->size, 0); /* not the default */
	assert_int_equal(w->messages, 77);
	assert_int_equal(w->limits, 1);
	assert_int_equal(w->changes, 1); /* routed forgets */
	assert_false(quota(w, "admin@example.test", "nobody@example.test", true, 1, 1));
	assert_false(quota(w, "admin@example.test", "nobody", true, 1, 1));
	assert_false(quota(w, "", "alice@example.test", true, 1, 1));
	(void)ipc_send_user_admin_quota(w->tool, &q); /* and mailctl's changes are told */
	turns(w);
	assert_int_equal(w->limits, 1);
	assert_int_equal(w->size, 5000);
	assert_int_equal(w->messages, 77);
}

static void
test_crashes_are_kept_for_the_next_userd(void **state)
{
	struct world *w = *state;
	struct ipc_ticket_crash m = { .user = SPAN("alice@example.test"), .count = 2, .last_ms = 7, .why = SPAN("signal 11") };

	assert_true(ipc_send_ticket_crash(w->userd, &m));
	turns(w);
	crash_tell(&w->a);
	turns(w);
	assert_int_equal(w->recalled, 102);
	m.count = w->recalled = 0;
	assert_true(ipc_send_ticket_crash(w->userd, &m));
	turns(w);
	crash_tell(&w->a);
	turns(w);
	assert_int_equal(w->recalled, 100);
	m.user = SPAN("smtpd 2001:db8::/64"); /* a peer */
	assert_true(ipc_send_ticket_crash(w->userd, &m));
	turns(w);
	assert_non_null(w->a.ticket);
	m.user = SPAN("../../etc/passwd"); /* no name of a user, nor a peer: a violation */
	assert_true(ipc_send_ticket_crash(w->userd, &m));
	turns(w);
	assert_null(w->a.ticket);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_good_credentials, setup, teardown),
		cmocka_unit_test_setup_teardown(test_a_ticket_is_granted_before_the_answer, setup, teardown),
		cmocka_unit_test_setup_teardown(test_all_wrong_ones_look_the_same, setup, teardown),
		cmocka_unit_test_setup_teardown(test_a_changed_password_counts_at_once, setup, teardown),
		cmocka_unit_test_setup_teardown(test_a_front_may_go_while_its_login_is_checked, setup, teardown),
		cmocka_unit_test_setup_teardown(test_who_comes_again_too_soon_hears_of_it_with_the_right_password_alone, setup, teardown),
		cmocka_unit_test_setup_teardown(test_a_pop3_login_may_name_a_folder, setup, teardown),
		cmocka_unit_test_setup_teardown(test_scram, setup, teardown),
		cmocka_unit_test_setup_teardown(test_scram_with_a_folder, setup, teardown),
		cmocka_unit_test_setup_teardown(test_scram_after_a_login_with_a_password, setup, teardown),
		cmocka_unit_test_setup_teardown(test_scram_of_nobody, setup, teardown),
		cmocka_unit_test_setup_teardown(test_scram_proofs_are_good_once, setup, teardown),
		cmocka_unit_test_setup_teardown(test_scram_exchanges_are_bounded, setup, teardown),
		cmocka_unit_test_setup_teardown(test_only_who_was_given_rights_may_visit, setup, teardown),
		cmocka_unit_test_setup_teardown(test_quotas_are_an_administrators, setup, teardown),
		cmocka_unit_test_setup_teardown(test_crashes_are_kept_for_the_next_userd, setup, teardown),
		cmocka_unit_test_setup_teardown(test_one_client_cannot_take_all_the_room, setup, teardown),
		cmocka_unit_test_setup_teardown(test_one_ipv6_network_cannot_take_all_the_room, setup, teardown),
		cmocka_unit_test_setup_teardown(test_a_network_of_many_clients_cannot_take_all_the_room, setup, teardown),
		cmocka_unit_test_setup_teardown(test_who_is_known_has_a_place_where_strangers_have_none, setup, teardown),
		cmocka_unit_test_setup_teardown(test_who_logged_in_a_moment_ago_needs_no_place, setup, teardown),
		cmocka_unit_test_setup_teardown(test_an_owner_gets_in_while_others_guess, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
