/* SPDX-License-Identifier: ISC
 *
 * One login: look up, wait if the guard says so, hash on a thread, answer;
 * a wrong password's answer is held back. An unknown user goes the same way
 * with a dummy hash, so that neither time nor words tell the two apart.
 */
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#include "daemons/authd/authd.h"

struct check {
	struct work work;
	struct timer wait;
	struct list node;
	struct link *link; /* counted */
	uint64_t id;
	char name[USERDB_NAME + 1]; /* canonical; "" if it cannot be anybody's */
	char client[B_NAME + 1];
	char service[B_NAME + 1];
	char mechanism[B_NAME + 1];
	struct buf password, stored; /* wiped */
	bool known, tls, good;
	char why[80];
};

static void
check_free(struct check *k)
{
	struct authd *a = k->link->authd;

	timer_stop(&k->wait);
	list_remove(&k->node);
	a->nchecks--;
	buf_wipe(&k->password);
	buf_wipe(&k->stored);
	link_unref(k->link);
	free(k);
}

static void
refuse(struct channel *c, uint64_t id, bool temporary, const char *why)
{
	struct ipc_auth_answer m = { .id = id, .temporary = temporary, .why = span_str(why) };

	if (c)
		(void)ipc_send_auth_answer(c, &m);
}

static void
log_outcome(const struct check *k, const char *outcome)
{
	log_put(LOG_auth, "%s user=%s service=%s mechanism=%s client=%s tls=%s%s%s", outcome, k->name[0] ? k->name : "-", k->service,
	    k->mechanism, k->client, k->tls ? "yes" : "no", k->why[0] ? " why=" : "", k->why);
}

/* The wrong password's answer, after its time. */
static void
on_held_back(struct timer *t)
{
	struct check *k = OWNER_OF(t, struct check, wait);

	refuse(k->link->channel, k->id, false, k->why);
	check_free(k);
}

static void
answer_wrong(struct check *k)
{
	struct authd *a = k->link->authd;
	int64_t wait = guard_failed(&a->guard, span_str(k->name), span_str(k->client), loop_now_ms(a->service->loop));

	a->wrong++;
	log_outcome(k, "failed");
	timer_init(&k->wait, a->service->loop, on_held_back);
	if (wait <= 0 || !timer_set(&k->wait, wait))
		on_held_back(&k->wait);
}

static bool
grant(struct check *k, const struct user *user, uint8_t ticket[B_TICKET])
{
	struct authd *a = k->link->authd;
	struct ipc_ticket_grant m = {
		.ticket = span_of(ticket, B_TICKET),
		.service = span_str(k->service),
		.user = span_str(k->name),
		.uid = user->uid,
		.gid = user->gid,
		.quota = userdb_limit(user->quota, a->service->conf->mailbox_size_limit),
		.messages = userdb_limit(user->messages, a->service->conf->mailbox_message_limit),
	};
	struct buf home;
	bool ok;

	if (!a->ticket || getrandom(ticket, B_TICKET, 0) != B_TICKET)
		return false;
	buf_init(&home, USERDB_HOME);
	userdb_home(user, m.user, &home);
	m.home = buf_span(&home);
	/* userd must know the ticket before the front can bring it. */
	ok = buf_ok(&home) && ipc_send_ticket_grant(a->ticket, &m) && channel_flush(a->ticket);
	buf_free(&home);
	return ok;
}

static void
answer_good(struct check *k, const struct user *user)
{
	struct authd *a = k->link->authd;
	struct ipc_auth_answer m = { .id = k->id, .ok = true, .user = span_str(k->name) };
	uint8_t ticket[B_TICKET] = { 0 };
	bool session = strcmp(k->service, "imap") == 0 || strcmp(k->service, "pop3") == 0;

	guard_succeeded(&a->guard, m.user, span_str(k->client), loop_now_ms(a->service->loop));
	if (session && !grant(k, user, ticket)) {
		(void)strcpy(k->why, "userd is away");
		log_outcome(k, "unavailable");
		refuse(k->link->channel, k->id, true, k->why);
	} else {
		if (session)
			m.ticket = span_of(ticket, sizeof(ticket));
		a->good++;
		log_outcome(k, "ok");
		if (k->link->channel)
			(void)ipc_send_auth_answer(k->link->channel, &m);
	}
	explicit_bzero(ticket, sizeof(ticket));
	check_free(k);
}

static void
run(struct work *w)
{
	struct check *k = OWNER_OF(w, struct check, work);

	k->good = password_check(buf_span(&k->password), buf_span(&k->stored));
}

/* The hash was computed; the user is read again, as it may have changed meanwhile. */
static void
done(struct work *w)
{
	struct check *k = OWNER_OF(w, struct check, work);
	struct authd *a = k->link->authd;
	struct arena mem;
	struct user user;
	struct fail why;

	if (!k->good || !k->known) {
		(void)strcpy(k->why, k->known ? "wrong password" : "unknown user or login is not possible");
		answer_wrong(k);
		return;
	}
	arena_init(&mem, SCRATCH_MAX);
	if (userdb_get(a->db, span_str(k->name), &mem, &user, &why) != BDB_FOUND || !span_eq(user.hash, buf_span(&k->stored))) {
		(void)strcpy(k->why, "the user was changed meanwhile");
		answer_wrong(k);
	} else {
		cache_put(&a->cache, span_str(k->name), buf_span(&k->password), user.hash, loop_now_ms(a->service->loop));
		answer_good(k, &user);
	}
	arena_free(&mem);
}

static void
on_waited(struct timer *t)
{
	struct check *k = OWNER_OF(t, struct check, wait);

	worker_submit(k->link->authd->pool, &k->work);
}

/* Found in the cache, or on its way to a thread. */
static void
start(struct check *k, const struct user *user)
{
	struct authd *a = k->link->authd;
	int64_t now = loop_now_ms(a->service->loop), wait;

	if (k->known && cache_has(&a->cache, span_str(k->name), buf_span(&k->password), user->hash, now)) {
		a->cached++;
		answer_good(k, user);
		return;
	}
	buf_put(&k->stored, k->known ? user->hash : buf_span(&a->dummy));
	wait = guard_before(&a->guard, span_str(k->name), span_str(k->client), now);
	timer_init(&k->wait, a->service->loop, on_waited);
	if (wait <= 0 || !timer_set(&k->wait, wait))
		on_waited(&k->wait);
}

/* A name without a domain gets this one. */
static void
canonical_name(struct span given, struct span domain, char name[USERDB_NAME + 1])
{
	struct buf full;
	struct fail why;

	buf_init(&full, USERDB_NAME);
	buf_put(&full, given);
	if (span_chr(given, '@') == SIZE_MAX) {
		buf_putc(&full, '@');
		buf_put(&full, domain);
	}
	if (!buf_ok(&full) || !userdb_name(buf_span(&full), name, &why))
		name[0] = '\0';
	buf_free(&full);
}

static size_t
same_client(const struct authd *a, struct span client)
{
	size_t n = 0;

	LIST_EACH(&a->checks, node)
		n += span_eq(span_str(OWNER_OF(node, struct check, node)->client), client);
	return n;
}

static struct check *
check_new(struct link *l, const struct ipc_auth_ask *ask)
{
	struct authd *a = l->authd;
	struct check *k = calloc(1, sizeof(*k));

	if (!k)
		return NULL;
	k->work = (struct work){ .run = run, .done = done };
	k->link = l;
	l->refs++;
	k->id = ask->id;
	k->tls = ask->tls;
	(void)span_cstr(ask->service, k->service, sizeof(k->service));
	(void)span_cstr(ask->client_addr, k->client, sizeof(k->client));
	(void)span_cstr(ask->mechanism, k->mechanism, sizeof(k->mechanism));
	canonical_name(ask->user, a->service->conf->myorigin, k->name);
	buf_init(&k->password, PASSWORD_MAX);
	buf_init(&k->stored, PASSWORD_HASH_MAX);
	buf_put(&k->password, ask->password);
	timer_init(&k->wait, a->service->loop, on_waited);
	list_push(&a->checks, &k->node);
	a->nchecks++;
	return k;
}

/* RFC 4616 2: acting as somebody else is not possible here. */
static bool
own_identity(const struct ipc_auth_ask *ask, const char *name)
{
	char other[USERDB_NAME + 1];

	if (ask->authzid.n == 0)
		return true;
	canonical_name(ask->authzid, span_from(span_str(name), span_chr(span_str(name), '@') + 1), other);
	return strcmp(other, name) == 0;
}

static enum bdb_found
look_up(struct check *k, const struct ipc_auth_ask *ask, struct arena *mem, struct user *user, struct fail *why)
{
	struct authd *a = k->link->authd;
	enum bdb_found found = k->name[0] ? userdb_get(a->db, span_str(k->name), mem, user, why) : BDB_NONE;
	char other[USERDB_NAME + 1];

	if (found != BDB_NONE || span_chr(ask->user, '@') != SIZE_MAX)
		return found;
	canonical_name(ask->user, a->service->conf->mydomain, other);
	if (other[0] == '\0' || strcmp(other, k->name) == 0)
		return found;
	found = userdb_get(a->db, span_str(other), mem, user, why);
	if (found == BDB_FOUND)
		memcpy(k->name, other, sizeof(other));
	return found;
}

bool
check_begin(struct link *l, const struct ipc_auth_ask *ask)
{
	struct authd *a = l->authd;
	struct check *k;
	struct arena mem;
	struct user user = { .uid = 0 };
	struct fail why;
	enum bdb_found found;

	if (!a->db || !a->pool) {
		refuse(l->channel, ask->id, true, "authd is starting or stopping");
		return true;
	}
	if (a->nchecks >= CHECKS_MAX || same_client(a, ask->client_addr) >= CHECKS_PER_CLIENT || !(k = check_new(l, ask))) {
		a->refused++;
		log_put(LOG_limit, "too many logins at once client=%.*s", SPAN_ARG(ask->client_addr));
		refuse(l->channel, ask->id, true, "too many logins at once");
		return true;
	}
	arena_init(&mem, SCRATCH_MAX);
	found = look_up(k, ask, &mem, &user, &why);
	if (found == BDB_FAILED) {
		log_put(LOG_failure, "user database: %s", why.text);
		refuse(l->channel, ask->id, true, "the user database cannot be read");
		check_free(k);
	} else {
		k->known = found == BDB_FOUND && password_known(user.hash) && own_identity(ask, k->name);
		start(k, &user);
	}
	arena_free(&mem);
	return true;
}

void
check_drop_all(struct authd *a)
{
	while (!list_empty(&a->checks))
		check_free(OWNER_OF(a->checks.next, struct check, node));
}
