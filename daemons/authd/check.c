/* SPDX-License-Identifier: ISC
 *
 * One login: look up, wait if the guard says so, hash on a thread, answer;
 * a wrong password's answer is held back. An unknown user goes the same way
 * with a dummy hash, so that neither time nor words tell the two apart. A user
 * without SCRAM keys gets them from the first good password.
 */
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#include "base/saslprep.h"
#include "daemons/authd/check.h"
#include "daemons/authd/folder.h"
#include "log/line.h"

/* Into the list where it belongs now, and counted there. */
static void
enlist(struct check *k, bool challenged)
{
	struct authd *a = k->link->authd;

	k->challenged = challenged;
	list_push(challenged ? &a->exchanges : &a->checks, &k->node);
	if (challenged)
		a->nexchanges++;
	else
		limit_count(a->service->loop, LIMIT_auth_checks, ++a->nchecks, CHECKS_MAX);
}

static void
delist(struct check *k)
{
	struct authd *a = k->link->authd;

	list_remove(&k->node);
	if (k->challenged)
		a->nexchanges--;
	else
		limit_count(a->service->loop, LIMIT_auth_checks, --a->nchecks, CHECKS_MAX);
}

void
check_move(struct check *k, bool challenged)
{
	delist(k);
	enlist(k, challenged);
}

static void
check_free(struct check *k)
{
	timer_stop(&k->wait);
	delist(k);
	buf_wipe(&k->password);
	buf_wipe(&k->stored);
	buf_wipe(&k->scram);
	buf_free(&k->message);
	link_unref(k->link);
	explicit_bzero(k, sizeof(*k));
	free(k);
}

static void
refuse_with(struct channel *c, uint64_t id, bool temporary, const char *why, struct span error)
{
	struct ipc_auth_answer m = { .id = id, .temporary = temporary, .error = error, .why = span_str(why) };

	if (c)
		(void)ipc_send_auth_answer(c, &m);
}

static void
refuse(struct channel *c, uint64_t id, bool temporary, const char *why)
{
	refuse_with(c, id, temporary, why, SPAN_NONE);
}

void
check_refuse(struct channel *c, uint64_t id, const char *why)
{
	refuse(c, id, true, why);
}

static void
log_outcome(const struct check *k, const char *outcome)
{
	log_put(LOG_auth, "%s user=%s%s%s service=%s mechanism=%s client=%s tls=%s%s%s", outcome, k->name[0] ? k->name : "-", k->folder[0] ? " folder=" : "",
	    log_line_value(span_str(k->folder), (char[LOG_VALUE]){ 0 }), k->service, k->mechanism, k->client, k->tls ? "yes" : "no", k->why[0] ? " why=" : "", k->why);
}

/* The wrong password's answer, after its time. */
static void
on_held_back(struct timer *t)
{
	struct check *k = OWNER_OF(t, struct check, wait);

	refuse_with(k->link->channel, k->id, false, k->why, k->tells ? buf_span(&k->message) : SPAN_NONE);
	check_free(k);
}

void
check_answer_wrong(struct check *k, const char *why)
{
	struct authd *a = k->link->authd;
	int64_t wait = guard_failed(&a->guard, span_str(k->name), span_str(k->client), loop_now_ms(a->service->loop));

	if (why != k->why)
		(void)span_cstr(span_sub(span_str(why), 0, sizeof(k->why) - 1), k->why, sizeof(k->why));
	a->wrong++;
	log_outcome(k, "failed");
	timer_init(&k->wait, a->service->loop, on_held_back);
	if (wait <= 0 || !timer_set(&k->wait, wait))
		on_held_back(&k->wait);
}

void
check_answer_later(struct check *k, const char *why)
{
	(void)span_cstr(span_sub(span_str(why), 0, sizeof(k->why) - 1), k->why, sizeof(k->why));
	log_outcome(k, "unavailable");
	refuse(k->link->channel, k->id, true, k->why);
	check_free(k);
}

static bool
grant(struct check *k, const struct user *user, uint8_t ticket[B_TICKET])
{
	struct authd *a = k->link->authd;
	struct ipc_ticket_grant m = {
		.ticket = span_of(ticket, B_TICKET),
		.service = span_str(k->service),
		.user = span_str(k->name),
		.folder = span_str(k->folder),
		.uid = user->uid,
		.gid = user->gid,
		.quota = userdb_limit(user->quota, a->service->conf->mailbox_size_limit),
		.messages = userdb_limit(user->messages, a->service->conf->mailbox_message_limit),
		.quotas = quota_administrator(a, span_str(k->name)),
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

/* Each folder is a mailbox of its own to a client that fetches from several. */
static struct span
mailbox_of(const struct check *k, char key[USERDB_NAME + B_ADDRESS + 2])
{
	size_t n = strlen(k->name), m = strlen(k->folder);

	memcpy(key, k->name, n);
	key[n] = '\n';
	memcpy(key + n + 1, k->folder, m);
	return span_of(key, n + 1 + m);
}

/* RFC 2449 8.1.1: only who has shown the password hears of it. */
static bool
comes_too_soon(struct check *k, struct span mailbox)
{
	struct authd *a = k->link->authd;
	struct ipc_auth_answer m = { .id = k->id, .too_soon = true, .why = SPAN("within pop3_login_delay") };

	if (strcmp(k->service, "pop3") != 0 ||
	    recent_admits(&a->recent, mailbox, a->service->conf->pop3_login_delay, loop_now_ms(a->service->loop)))
		return false;
	(void)span_cstr(m.why, k->why, sizeof(k->why));
	log_outcome(k, "refused");
	if (k->link->channel)
		(void)ipc_send_auth_answer(k->link->channel, &m);
	check_free(k);
	return true;
}

void
check_answer_good(struct check *k, const struct user *user)
{
	char key[USERDB_NAME + B_ADDRESS + 2];
	struct span mailbox = mailbox_of(k, key);
	struct authd *a = k->link->authd;
	struct ipc_auth_answer m = { .id = k->id, .ok = true, .user = span_str(k->name) };
	uint8_t ticket[B_TICKET] = { 0 };
	bool session = strcmp(k->service, "imap") == 0 || strcmp(k->service, "pop3") == 0;

	guard_succeeded(&a->guard, m.user, span_str(k->client), loop_now_ms(a->service->loop));
	if (comes_too_soon(k, mailbox))
		return;
	if (session && !grant(k, user, ticket)) {
		recent_forget(&a->recent, mailbox);
		check_answer_later(k, "userd is away");
		return;
	}
	if (session)
		m.ticket = span_of(ticket, sizeof(ticket));
	if (k->proved)
		m.signature = span_of(k->signature, sizeof(k->signature));
	a->good++;
	log_outcome(k, "ok");
	if (k->link->channel)
		(void)ipc_send_auth_answer(k->link->channel, &m);
	explicit_bzero(ticket, sizeof(ticket));
	check_free(k);
}

static void
run(struct work *w)
{
	struct check *k = OWNER_OF(w, struct check, work);

	k->good = password_check(buf_span(&k->password), buf_span(&k->stored));
	if (k->good && k->iterations) {
		struct scramkey key;

		scramkey_make(buf_span(&k->password), span_of(k->salt, sizeof(k->salt)), k->iterations, &key);
		scramkey_put(&key, &k->scram);
		explicit_bzero(&key, sizeof(key));
	}
}

/* Whoever has logged in with a password may use SCRAM from now on. */
static void
add_scram(const struct check *k, const struct user *user)
{
	struct fail why;

	if (buf_len(&k->scram) && buf_ok(&k->scram) &&
	    !useradmin_set_scram(k->link->authd->db, span_str(k->name), user->hash, buf_span(&k->scram), &why))
		log_put(LOG_failure, "user database: %s", why.text);
}

const char *
check_wrong(const struct check *k)
{
	return k->known ? "wrong password" : k->why[0] ? k->why : "unknown user or login is not possible";
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
		check_answer_wrong(k, check_wrong(k));
		return;
	}
	arena_init(&mem, SCRATCH_MAX);
	if (userdb_get(a->db, span_str(k->name), &mem, &user, &why) != BDB_FOUND || !span_eq(user.hash, buf_span(&k->stored))) {
		check_answer_wrong(k, "the user was changed meanwhile");
	} else {
		add_scram(k, &user);
		cache_put(&a->cache, span_str(k->name), buf_span(&k->password), user.hash, loop_now_ms(a->service->loop));
		check_answer_good(k, &user);
	}
	arena_free(&mem);
}

static void
on_waited(struct timer *t)
{
	struct check *k = OWNER_OF(t, struct check, wait);

	worker_submit(k->link->authd->pool, &k->work);
}

/* No keys yet, or such as new ones would not be. */
static bool
wants_scram(const struct authd *a, const struct user *user)
{
	struct scramkey key;
	uint32_t iterations = authd_scram_iterations(a);

	return iterations && (!scramkey_parse(user->scram, &key) || key.iterations != iterations);
}

static bool
answer_from_cache(struct check *k, const struct user *user)
{
	struct authd *a = k->link->authd;

	if (!k->known || !cache_has(&a->cache, span_str(k->name), buf_span(&k->password), user->hash, loop_now_ms(a->service->loop)))
		return false;
	a->cached++;
	check_answer_good(k, user);
	return true;
}

/* On its way to a thread. */
static void
start(struct check *k, const struct user *user)
{
	struct authd *a = k->link->authd;
	int64_t wait;

	buf_put(&k->stored, k->known ? user->hash : buf_span(&a->dummy));
	if (k->known && wants_scram(a, user)) {
		k->iterations = authd_scram_iterations(a);
		userdb_salt(a->db, span_str(k->name), k->salt);
	}
	wait = guard_before(&a->guard, span_str(k->name), span_str(k->client), loop_now_ms(a->service->loop));
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
	k->host = guard_client(ask->client_addr);
	k->network = guard_network(ask->client_addr);
	(void)span_cstr(ask->mechanism, k->mechanism, sizeof(k->mechanism));
	canonical_name(ask->user, a->service->conf->myorigin, k->name);
	buf_init(&k->password, PASSWORD_MAX);
	buf_init(&k->stored, PASSWORD_HASH_MAX);
	buf_init(&k->scram, SCRAMKEY_TEXT_MAX);
	buf_init(&k->message, 3 * B_SCRAM);
	buf_put(&k->password, ask->password);
	timer_init(&k->wait, a->service->loop, on_waited);
	enlist(k, false);
	return k;
}

static bool
same_within(struct span domain, struct span one, struct span other)
{
	char x[USERDB_NAME + 1], y[USERDB_NAME + 1];

	canonical_name(one, domain, x);
	canonical_name(other, domain, y);
	return x[0] && strcmp(x, y) == 0;
}

bool
check_maybe_same(const struct authd *a, struct span one, struct span other)
{
	const struct conf *conf = a->service->conf;

	return same_within(conf->myorigin, one, other) || same_within(conf->mydomain, one, other);
}

bool
check_folder(const struct authd *a, struct span service, struct span login, struct buf *user, struct span *folder)
{
	return span_eq(service, SPAN("pop3")) && folder_split(login, a->service->conf->pop3_folder_delimiter, user, folder);
}

static bool
is_called(const char *name, struct span given)
{
	struct span domain = span_from(span_str(name), span_chr(span_str(name), '@') + 1);
	char other[USERDB_NAME + 1];
	struct buf room;

	canonical_name(given, domain, other);
	if (strcmp(other, name) == 0)
		return true;
	buf_init(&room, SASLPREP_MAX);
	canonical_name(saslprep_or_given(given, &room), domain, other);
	buf_free(&room);
	return strcmp(other, name) == 0;
}

bool
check_own_identity(struct check *k, struct span authzid)
{
	struct span folder;
	struct buf user;
	bool own = authzid.n == 0 || is_called(k->name, authzid);

	if (own)
		return true;
	buf_init(&user, B_ADDRESS);
	own = check_folder(k->link->authd, span_str(k->service), authzid, &user, &folder) && is_called(k->name, buf_span(&user)) &&
	      span_cstr(folder, k->folder, sizeof(k->folder));
	buf_free(&user);
	return own;
}

bool
check_may_act(struct check *k, struct span authzid)
{
	bool own = check_own_identity(k, authzid);

	if (!own)
		(void)strcpy(k->why, "may not act as another user");
	return own;
}

static enum bdb_found
look_up_in(struct check *k, struct span given, struct span domain, struct arena *mem, struct user *user, struct fail *why)
{
	enum bdb_found found;
	char other[USERDB_NAME + 1];

	canonical_name(given, domain, other);
	if (other[0] == '\0')
		return BDB_NONE;
	found = userdb_get(k->link->authd->db, span_str(other), mem, user, why);
	if (found == BDB_FOUND)
		memcpy(k->name, other, sizeof(other));
	return found;
}

/* As it is given, for who got the name before names were prepared (RFC 4013), and then prepared. */
static enum bdb_found
look_up_name(struct check *k, struct span given, struct arena *mem, struct user *user, struct fail *why)
{
	const struct conf *conf = k->link->authd->service->conf;
	enum bdb_found found = BDB_NONE;
	struct buf room;
	struct span names[2] = { given };

	buf_init(&room, SASLPREP_MAX);
	names[1] = saslprep_or_given(given, &room);
	for (size_t i = 0; i < 2 && found == BDB_NONE && (i == 0 || !span_eq(names[0], names[1])); i++) {
		found = look_up_in(k, names[i], conf->myorigin, mem, user, why);
		if (found == BDB_NONE && span_chr(names[i], '@') == SIZE_MAX && !span_eq(conf->myorigin, conf->mydomain))
			found = look_up_in(k, names[i], conf->mydomain, mem, user, why);
	}
	buf_free(&room);
	return found;
}

/* Who is unknown has the name without the folder, too: whatever follows from it, as a salt, tells nothing. */
static enum bdb_found
look_up(struct check *k, const struct ipc_auth_ask *ask, struct arena *mem, struct user *user, struct fail *why)
{
	enum bdb_found found = look_up_name(k, ask->user, mem, user, why);
	struct span folder;
	struct buf head;

	if (found != BDB_NONE)
		return found;
	buf_init(&head, B_ADDRESS);
	if (check_folder(k->link->authd, ask->service, ask->user, &head, &folder) && span_cstr(folder, k->folder, sizeof(k->folder))) {
		canonical_name(buf_span(&head), k->link->authd->service->conf->myorigin, k->name);
		found = look_up_name(k, buf_span(&head), mem, user, why);
	}
	buf_free(&head);
	return found;
}

/* Whether there is room for this one, too, which is counted already. Whoever has enough networks takes all places but those
 * that are kept for who is known. */
static bool
has_room(struct check *k)
{
	struct authd *a = k->link->authd;
	size_t most = guard_knows(&a->guard, span_str(k->name), span_str(k->client)) ? CHECKS_MAX : CHECKS_MAX - CHECKS_OF_KNOWN;
	size_t of_client = 0, of_network = 0;

	LIST_EACH(&a->checks, node) {
		const struct check *other = OWNER_OF(node, struct check, node);

		of_client += guard_same_client(&other->host, &k->host);
		of_network += guard_same_client(&other->network, &k->network);
	}
	return a->nchecks <= most && of_client <= CHECKS_PER_CLIENT && of_network <= CHECKS_PER_NETWORK;
}

/* False: it is refused, and gone. */
static bool
take_place(struct check *k)
{
	struct authd *a = k->link->authd;

	if (has_room(k))
		return true;
	a->refused++;
	limit_reached(a->service->loop, LIMIT_auth_checks, CHECKS_MAX, span_str(k->client));
	log_put(LOG_limit, "too many logins at once client=%s", k->client);
	check_refuse(k->link->channel, k->id, "too many logins at once");
	check_free(k);
	return false;
}

/* A new one, its user looked up; NULL: refused. */
static struct check *
check_open(struct link *l, const struct ipc_auth_ask *ask, struct arena *mem, struct user *user, bool *found)
{
	struct check *k = NULL;
	struct fail why;
	enum bdb_found result;

	if (!l->authd->db || !l->authd->pool) {
		check_refuse(l->channel, ask->id, "authd is starting or stopping");
		return NULL;
	}
	if (!(k = check_new(l, ask))) {
		check_refuse(l->channel, ask->id, "no memory");
		return NULL;
	}
	*user = (struct user){ .uid = 0 };
	result = look_up(k, ask, mem, user, &why);
	*found = result == BDB_FOUND;
	if (result != BDB_FAILED)
		return k;
	log_put(LOG_failure, "user database: %s", why.text);
	check_answer_later(k, "the user database cannot be read");
	return NULL;
}

struct check *
check_admit(struct link *l, const struct ipc_auth_ask *ask, struct arena *mem, struct user *user, bool *found)
{
	struct check *k = check_open(l, ask, mem, user, found);

	return k && take_place(k) ? k : NULL;
}

bool
check_begin(struct link *l, const struct ipc_auth_ask *ask)
{
	struct arena mem;
	struct user user;
	struct check *k;
	bool found;

	arena_init(&mem, SCRATCH_MAX);
	k = check_open(l, ask, &mem, &user, &found);
	if (k) {
		k->known = found && password_known(user.hash) && check_may_act(k, ask->authzid);
		if (!answer_from_cache(k, &user) && take_place(k))
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
	while (!list_empty(&a->exchanges))
		check_free(OWNER_OF(a->exchanges.next, struct check, node));
}

/* Thousands of hashes are minutes: who asked is told to come again. */
void
check_stop(struct authd *a)
{
	LIST_EACH(&a->checks, node) {
		struct check *k = OWNER_OF(node, struct check, node);

		if (!worker_withdraw(a->pool, &k->work))
			continue;
		refuse(k->link->channel, k->id, true, "authd is stopping");
		check_free(k);
	}
}
