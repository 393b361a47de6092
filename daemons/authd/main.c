/* SPDX-License-Identifier: ISC
 *
 * authd: holds the user database; checks credentials for the fronts, tells
 * userd what a ticket is good for, tells routed who exists.
 */
#include <stdlib.h>
#include <sys/random.h>
#include <unistd.h>

#include "daemons/authd/authd.h"

enum { THREADS_MAX = 8 };

/* Channels. */

static bool
on_auth_ask(struct channel *c, const struct ipc_auth_ask *m)
{
	return check_begin(channel_owner(c), m);
}

static bool
on_auth_scram(struct channel *c, const struct ipc_auth_scram *m)
{
	return scram_begin(channel_owner(c), m);
}

static bool
on_auth_proof(struct channel *c, const struct ipc_auth_proof *m)
{
	return scram_prove(channel_owner(c), m);
}

static bool
on_auth_certificate(struct channel *c, const struct ipc_auth_certificate *m)
{
	return external_begin(channel_owner(c), m);
}

static bool
on_auth_token(struct channel *c, const struct ipc_auth_token *m)
{
	return token_begin(channel_owner(c), m);
}

static bool
on_users_ask(struct channel *c, const struct ipc_users_ask *m)
{
	struct link *l = channel_owner(c);
	struct ipc_users_answer answer = { .id = m->id };
	char name[USERDB_NAME + 1];
	struct arena mem;
	struct user user;
	struct fail why;
	struct buf home;
	enum bdb_found found = BDB_NONE;

	arena_init(&mem, SCRATCH_MAX);
	buf_init(&home, USERDB_HOME);
	if (!l->authd->db) {
		found = BDB_FAILED;
		(void)fail_set(&why, FAIL_TEMP, 0, "not open yet");
	} else if (userdb_name(m->address, name, &why))
		found = userdb_get(l->authd->db, span_str(name), &mem, &user, &why);
	if (found == BDB_FOUND) {
		userdb_home(&user, span_str(name), &home);
		answer.exists = true;
		answer.home = buf_span(&home);
		answer.uid = user.uid;
		answer.gid = user.gid;
		answer.quota = userdb_limit(user.quota, l->authd->service->conf->mailbox_size_limit);
		answer.messages = userdb_limit(user.messages, l->authd->service->conf->mailbox_message_limit);
	} else if (found == BDB_FAILED) {
		answer.failed = true;
		log_put(LOG_failure, "user database: %s", why.text);
	}
	(void)ipc_send_users_answer(c, &answer);
	buf_free(&home);
	arena_free(&mem);
	return true;
}

/* A request that comes before the database is open, or when it is closed. */
static bool
not_now(struct channel *c, uint64_t id)
{
	const struct link *l = channel_owner(c);
	struct ipc_user_admin_done m = { .id = id, .text = SPAN("authd is starting or stopping: try again") };

	if (l->authd->db && l->authd->pool)
		return false;
	(void)ipc_send_user_admin_done(c, &m);
	return true;
}

static bool
on_user_admin_set(struct channel *c, const struct ipc_user_admin_set *m)
{
	return not_now(c, m->id) || admin_set(channel_owner(c), m);
}

static bool
on_user_admin_quota(struct channel *c, const struct ipc_user_admin_quota *m)
{
	return not_now(c, m->id) || admin_quota(channel_owner(c), m);
}

static bool
on_user_admin_remove(struct channel *c, const struct ipc_user_admin_remove *m)
{
	return not_now(c, m->id) || admin_remove(channel_owner(c), m);
}

static bool
on_user_admin_list(struct channel *c, const struct ipc_user_admin_list *m)
{
	return not_now(c, m->id) || admin_list(channel_owner(c), m);
}

#define DISPATCH_DEF "ipc/auth.def"
#define DISPATCH_SIDE SERVER
#include "ipc/dispatch.h"
#define DISPATCH_DEF "ipc/users.def"
#define DISPATCH_SIDE SERVER
#include "ipc/dispatch.h"
#define DISPATCH_DEF "ipc/user_admin.def"
#define DISPATCH_SIDE SERVER
#include "ipc/dispatch.h"

static void
log_closed(const struct channel *c, const struct fail *why)
{
	if (why->class == FAIL_PEER && why->text[0])
		log_put(LOG_channel, "%s: %s", channel_type(c)->name, why->text);
}

static void
on_link_closed(struct channel *c, const struct fail *why)
{
	log_closed(c, why);
	link_closed(channel_owner(c));
}

static void
open_link(struct service *s, struct channel *c, bool users)
{
	struct link *l = link_new(s->state, c);

	if (!l) {
		channel_give_up(&c);
		return;
	}
	l->users = users;
	channel_set_owner(c, l);
}

static void
on_auth_open(struct service *s, struct channel *c, struct span peer, unsigned instance)
{
	(void)peer, (void)instance;
	open_link(s, c, false);
}

static void
on_users_open(struct service *s, struct channel *c, struct span peer, unsigned instance)
{
	(void)peer, (void)instance;
	open_link(s, c, true);
}

/* Only root, or whoever runs an unprivileged suite, may change users. */
static void
on_admin_open(struct service *s, struct channel *c, struct span peer, unsigned instance)
{
	(void)peer;
	if (instance != 0 && instance != geteuid()) {
		log_put(LOG_channel, "user_admin: refused uid=%u", instance);
		channel_free(&c);
		return;
	}
	open_link(s, c, false);
}

static void
on_ticket_open(struct service *s, struct channel *c, struct span peer, unsigned instance)
{
	struct authd *a = s->state;

	(void)peer, (void)instance;
	channel_free(&a->ticket);
	a->ticket = c;
	crash_tell(a);
}

/* The life of the daemon. */

/* A hash of random bytes: what a guess at nobody's password is compared with. */
static bool
make_dummy(struct authd *a, struct fail *why)
{
	struct password_cost cost = authd_cost(a);
	uint8_t noise[32];

	if (getrandom(noise, sizeof(noise), 0) != (ssize_t)sizeof(noise))
		return fail_errno(why, 0, "random bytes");
	for (size_t i = 0; i < sizeof(noise); i++)
		noise[i] |= 1; /* no NUL */
	buf_init(&a->dummy, PASSWORD_HASH_MAX);
	return password_hash(span_of(noise, sizeof(noise)), &cost, &a->dummy, why);
}

static void
on_table_event(void *arg, const char *text)
{
	(void)arg;
	log_put(LOG_table, "%s", text);
}

static bool
on_boot(struct service *s, struct fail *why)
{
	struct authd *a = calloc(1, sizeof(*a));

	if (!a)
		return fail_set(why, FAIL_TEMP, 0, "out of memory");
	a->service = s;
	list_init(&a->links);
	list_init(&a->checks);
	list_init(&a->exchanges);
	guard_init(&a->guard, s->conf->auth_failure_delay);
	recent_init(&a->recent, RECENT_MAX);
	arena_init(&a->paths, 64 * 1024);
	s->state = a;
	if (!certmap_open(&a->certmap, &s->conf->auth_certificate_maps, on_table_event))
		return fail_set(why, FAIL_TEMP, 0, "out of memory");
	if (!cache_init(&a->cache) || !token_setup(a))
		return fail_errno(why, 0, "random bytes");
	return true;
}

static void
on_sandbox(struct service *s, struct sandbox *walls)
{
	struct authd *a = s->state;

	(void)certmap_paths(&a->certmap, walls->read + 1, SANDBOX_PATHS - 2, &a->paths); /* behind its one row */
}

static bool
on_start(struct service *s, struct fail *why)
{
	struct authd *a = s->state;
	long cores = sysconf(_SC_NPROCESSORS_ONLN);

	if (a->db)
		return true;
	if (!userdb_open(s->conf->user_database.p, &a->db, why) || !make_dummy(a, why))
		return false;
	crash_tell(a);
	a->pool = worker_pool_new(s->loop, (unsigned)(cores < 1 ? 1 : cores > THREADS_MAX ? THREADS_MAX : cores));
	return a->pool || fail_set(why, FAIL_TEMP, 0, "no threads to be had");
}

static void
on_reload(struct service *s, const struct conf *old)
{
	struct authd *a = s->state;
	struct ipc_users_changed all = { .address = SPAN("") };
	struct fail why;

	a->guard.delay_ms = s->conf->auth_failure_delay;
	if (s->conf->mailbox_size_limit != old->mailbox_size_limit || s->conf->mailbox_message_limit != old->mailbox_message_limit)
		LIST_EACH(&a->links, node) {
			struct link *l = OWNER_OF(node, struct link, node);

			if (l->users && l->channel)
				(void)ipc_send_users_changed(l->channel, &all);
		}
	if (s->conf->auth_password_hash == old->auth_password_hash && s->conf->auth_hash_memory == old->auth_hash_memory)
		return;
	buf_wipe(&a->dummy);
	if (!make_dummy(a, &why))
		log_put(LOG_failure, "%s", why.text);
}

static void
on_stop(struct service *s)
{
	struct authd *a = s->state;

	if (a->pool)
		check_stop(a);
	worker_pool_free(&a->pool); /* a change that was asked for is finished */
	LIST_EACH(&a->links, node) {
		struct link *l = OWNER_OF(node, struct link, node);

		if (l->channel)
			(void)channel_drain(l->channel, 100);
	}
	check_drop_all(a);
	userdb_close(&a->db);
	buf_wipe(&a->dummy);
	token_drop_all(a);
	inquirer_free(&a->tokend);
	tokencache_free(&a->tokencache);
	certmap_close(&a->certmap);
	arena_free(&a->paths);
	cache_free(&a->cache);
	recent_free(&a->recent);
	service_exit(s);
}

static void
on_state(struct service *s, struct buf *out)
{
	const struct authd *a = s->state;

	buf_printf(out, "good=%llu wrong=%llu refused=%llu cached=%llu pending=%zu exchanges=%zu", (unsigned long long)a->good, (unsigned long long)a->wrong,
	    (unsigned long long)a->refused, (unsigned long long)a->cached, a->nchecks, a->nexchanges);
}

static void
on_token_open(struct service *s, struct channel *c, struct span peer, unsigned instance)
{
	struct authd *a = s->state;

	(void)peer, (void)instance;
	inquirer_open(&a->tokend, c);
}

static const struct channel_ops auth_ops = { dispatch_auth, on_link_closed, NULL };
static const struct channel_ops users_ops = { dispatch_users, on_link_closed, NULL };
static const struct channel_ops admin_ops = { dispatch_user_admin, on_link_closed, NULL };

static const struct service_channel channels[] = {
	{ .type = &ipc_channel_auth, .side = CHANNEL_SERVER, .ops = &auth_ops, .on_open = on_auth_open },
	{ .type = &ipc_channel_users, .side = CHANNEL_SERVER, .ops = &users_ops, .on_open = on_users_open },
	{ .type = &ipc_channel_user_admin, .side = CHANNEL_SERVER, .ops = &admin_ops, .on_open = on_admin_open },
	{ .type = &ipc_channel_ticket, .side = CHANNEL_CLIENT, .ops = &ticket_ops, .on_open = on_ticket_open },
	{ .type = &ipc_channel_token, .side = CHANNEL_CLIENT, .ops = &token_channel_ops, .on_open = on_token_open },
};

static const struct service_ops ops = {
	.name = "authd",
	.see = CONF_AUTHD,
	.channels = channels,
	.nchannels = sizeof(channels) / sizeof(channels[0]),
	.on_boot = on_boot,
	.on_sandbox = on_sandbox,
	.on_start = on_start,
	.on_reload = on_reload,
	.on_stop = on_stop,
	.on_state = on_state,
};

int
main(int argc, char **argv)
{
	return service_main(&ops, argc, argv);
}
