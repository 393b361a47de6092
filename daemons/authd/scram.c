/* SPDX-License-Identifier: ISC
 *
 * SCRAM-SHA-256 (RFC 5802, RFC 7677): the two rounds of an exchange. What the client
 * said was taken apart by the front; here are the keys, and the server's nonce, so that
 * no front can use a proof again. An unknown user is asked the same questions.
 */
#include <string.h>
#include <sys/random.h>

#include "base/base64.h"
#include "daemons/authd/check.h"

enum {
	CLIENT_MS = 60 * 1000, /* for the client's answer */
	NONCE = 18,            /* bytes; 24 characters */
};

/* Ends it without a verdict. */
static void
give_up(struct check *k, const char *why)
{
	k->link->authd->refused++;
	check_answer_later(k, why);
}

static void
on_expired(struct timer *t)
{
	give_up(OWNER_OF(t, struct check, wait), "the client took too long");
}

/* Room for one more exchange: unfinished ones cost a client nothing, so the oldest makes way. */
static void
make_way(struct authd *a, const struct guard_client *host)
{
	struct check *oldest = NULL;
	size_t same = 0;

	LIST_EACH(&a->exchanges, node) {
		struct check *k = OWNER_OF(node, struct check, node);

		if (!guard_same_client(&k->host, host))
			continue;
		if (same++ == 0)
			oldest = k;
	}
	if (same >= EXCHANGES_PER_CLIENT)
		give_up(oldest, "too many logins of this client at once");
	else if (a->nexchanges >= EXCHANGES_MAX)
		give_up(OWNER_OF(a->exchanges.next, struct check, node), "too many logins at once");
}

/* Keys that nobody has the password of, with the salt and the cost that a user of this name would have. */
static bool
nobodys_key(const struct authd *a, struct check *k)
{
	struct scramkey *key = &k->key;

	*key = (struct scramkey){ .iterations = authd_scram_iterations(a), .nsalt = USERDB_SALT };
	userdb_salt(a->db, span_str(k->name), key->salt);
	return getrandom(key->stored, sizeof(key->stored), 0) == (ssize_t)sizeof(key->stored) &&
	       getrandom(key->server, sizeof(key->server), 0) == (ssize_t)sizeof(key->server);
}

/* server-first-message (RFC 5802 7), which becomes part of AuthMessage. */
static bool
put_challenge(struct check *k, struct span nonce, struct buf *out)
{
	uint8_t ours[NONCE];

	if (getrandom(ours, sizeof(ours), 0) != (ssize_t)sizeof(ours))
		return false;
	buf_puts(out, "r=");
	buf_put(out, nonce);
	base64_encode(out, span_of(ours, sizeof(ours)));
	buf_puts(out, ",s=");
	base64_encode(out, span_of(k->key.salt, k->key.nsalt));
	buf_printf(out, ",i=%u", k->key.iterations);
	return buf_ok(out);
}

static void
challenge(struct check *k, const struct ipc_auth_scram *m)
{
	struct authd *a = k->link->authd;
	struct ipc_auth_challenge answer = { .id = k->id };
	struct buf text;
	bool ok;

	buf_init(&text, B_SCRAM);
	ok = (k->known || nobodys_key(a, k)) && put_challenge(k, m->nonce, &text);
	answer.message = buf_span(&text);
	buf_put(&k->message, m->bare);
	buf_putc(&k->message, ',');
	buf_put(&k->message, answer.message);
	make_way(a, &k->host);
	check_move(k, true);
	timer_init(&k->wait, a->service->loop, on_expired);
	if (!ok || !buf_ok(&k->message) || !timer_set(&k->wait, CLIENT_MS) || !ipc_send_auth_challenge(k->link->channel, &answer))
		give_up(k, "no memory");
	buf_free(&text);
}

bool
scram_begin(struct link *l, const struct ipc_auth_scram *m)
{
	struct ipc_auth_ask ask = {
		.id = m->id,
		.service = m->service,
		.mechanism = m->mechanism,
		.client_addr = m->client_addr,
		.tls = m->tls,
		.authzid = m->authzid,
		.user = m->user,
	};
	struct arena mem;
	struct user user;
	struct check *k;
	bool found;

	if (!authd_scram_iterations(l->authd)) {
		check_refuse(l->channel, m->id, "SCRAM is not among auth_mechanisms");
		return true;
	}
	arena_init(&mem, SCRATCH_MAX);
	k = check_admit(l, &ask, &mem, &user, &found);
	if (k) {
		k->known = found && user.hash.n > 0 && scramkey_parse(user.scram, &k->key) && check_may_act(k, ask.authzid);
		if (k->known)
			buf_put(&k->stored, user.scram);
		else if (found && user.hash.n > 0 && user.scram.n == 0)
			(void)strcpy(k->why, "no SCRAM keys: a login with PLAIN makes them, or mailctl user passwd");
		challenge(k, m);
	}
	arena_free(&mem);
	return true;
}

/* The user is read again, as it may have changed since the challenge. */
static void
judge(struct check *k)
{
	struct authd *a = k->link->authd;
	struct arena mem;
	struct user user;
	struct fail why;
	bool good = scramkey_check(&k->key, buf_span(&k->message), k->proof, k->signature);

	if (!k->known || !good) {
		check_answer_wrong(k, check_wrong(k));
		return;
	}
	arena_init(&mem, SCRATCH_MAX);
	if (userdb_get(a->db, span_str(k->name), &mem, &user, &why) != BDB_FOUND || !span_eq(user.scram, buf_span(&k->stored))) {
		check_answer_wrong(k, "the user was changed meanwhile");
	} else {
		k->proved = true;
		check_answer_good(k, &user);
	}
	arena_free(&mem);
}

static void
on_waited(struct timer *t)
{
	judge(OWNER_OF(t, struct check, wait));
}

static struct check *
find(const struct link *l, uint64_t id)
{
	LIST_EACH(&l->authd->exchanges, node) {
		struct check *k = OWNER_OF(node, struct check, node);

		if (k->link == l && k->id == id)
			return k;
	}
	return NULL;
}

bool
scram_prove(struct link *l, const struct ipc_auth_proof *m)
{
	struct authd *a = l->authd;
	struct check *k = find(l, m->id);
	int64_t wait;

	if (m->proof.n != SCRAMKEY_SIZE)
		return false;
	if (!k) { /* it has just expired, or was of an authd before this one */
		check_refuse(l->channel, m->id, "the client took too long");
		return true;
	}
	timer_stop(&k->wait);
	check_move(k, false);
	memcpy(k->proof, m->proof.p, sizeof(k->proof));
	buf_putc(&k->message, ',');
	buf_put(&k->message, m->without_proof);
	if (!buf_ok(&k->message)) {
		check_answer_later(k, "no memory");
		return true;
	}
	wait = guard_before(&a->guard, span_str(k->name), span_str(k->client), loop_now_ms(a->service->loop));
	timer_init(&k->wait, a->service->loop, on_waited);
	if (wait <= 0 || !timer_set(&k->wait, wait))
		judge(k);
	return true;
}
