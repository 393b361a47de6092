/* SPDX-License-Identifier: ISC
 *
 * OAUTHBEARER (RFC 7628) and XOAUTH2: a login by a token, about which tokend asks the issuer.
 * Whose mailbox it opens is said here: the user must be one of ours, and the one that the
 * client has named, if it has.
 */
#include <stdlib.h>
#include <string.h>

#include "daemons/authd/check.h"
#include "desc/desc.h"

enum {
	TOKENS_MAX = 1024, /* being asked about at once */
	TOKENS_PER_CLIENT = 64,
	GRACE_MS = 20000,  /* for tokend beyond what the issuer has: its address is looked up before */
};

/* A token that tokend is asked about. */
struct bearer {
	struct list node;
	struct inquiry inquiry;
	struct timer patience;
	struct link *link; /* counted */
	uint64_t id;
	char service[B_NAME + 1], mechanism[B_NAME + 1], client[B_NAME + 1];
	struct guard_client host; /* the client's */
	char wanted[B_ADDRESS + 1]; /* whom the client wants to be; or "" */
	struct buf token;           /* wiped */
};

static void
bearer_free(struct bearer *b)
{
	struct authd *a = b->link->authd;

	inquiry_cancel(&b->inquiry);
	timer_stop(&b->patience);
	list_remove(&b->node);
	limit_count(a->service->loop, LIMIT_auth_tokens, --a->ntokens, TOKENS_MAX);
	buf_wipe(&b->token);
	link_unref(b->link);
	free(b);
}

static void
on_patience(struct timer *t)
{
	struct bearer *b = OWNER_OF(t, struct bearer, patience);

	b->link->authd->refused++;
	check_refuse(b->link->channel, b->id, "tokend does not answer");
	bearer_free(b);
}

void
token_drop_all(struct authd *a)
{
	while (!list_empty(&a->tokens))
		bearer_free(OWNER_OF(a->tokens.next, struct bearer, node));
}

/* RFC 7628 3.2.2; XOAUTH2's clients know numbers of HTTP. */
static void
put_error(const struct conf *conf, const char *mechanism, bool scope, struct buf *out)
{
	struct span url = conf->auth_oauth2_openid_configuration_url, first = conf->auth_oauth2_scope;

	if (strcmp(mechanism, "XOAUTH2") == 0)
		buf_puts(out, "{\"status\":\"401\",\"schemes\":\"bearer\"");
	else
		buf_printf(out, "{\"status\":\"%s\"", scope ? "insufficient_scope" : "invalid_token");
	if (first.n) {
		buf_puts(out, ",\"scope\":");
		desc_json_string(out, first);
	}
	if (url.n && strcmp(mechanism, "XOAUTH2") != 0) {
		buf_puts(out, ",\"openid-configuration\":");
		desc_json_string(out, url);
	}
	buf_putc(out, '}');
}

/* The issuer has spoken: user is empty if the token is no good, for the reason why. */
static void
decide(struct bearer *b, struct span user, bool scope, const char *why)
{
	struct authd *a = b->link->authd;
	struct ipc_auth_ask ask = { .id = b->id, .service = span_str(b->service), .mechanism = span_str(b->mechanism), .client_addr = span_str(b->client),
		.tls = true, .user = user };
	struct arena mem;
	struct user found;
	struct check *k;
	bool known;

	arena_init(&mem, SCRATCH_MAX);
	k = check_admit(b->link, &ask, &mem, &found, &known);
	if (k) {
		put_error(a->service->conf, b->mechanism, scope, &k->message);
		k->tells = true;
		if (!user.n)
			check_answer_wrong(k, why);
		else if (!check_own_identity(k, span_str(b->wanted)))
			check_answer_wrong(k, "the token is another user's");
		else if (!known || !found.hash.n)
			check_answer_wrong(k, "unknown user or login is not possible");
		else
			check_answer_good(k, &found);
	}
	arena_free(&mem);
}

static bool
send_ask(struct inquiry *q, struct channel *channel)
{
	struct bearer *b = OWNER_OF(q, struct bearer, inquiry);

	return ipc_send_token_ask(channel, &(struct ipc_token_ask){ .id = q->id, .token = buf_span(&b->token) });
}

static const struct inquiry_ops inquiry_ops = { "tokend", send_ask, NULL };

static bool
on_token_answer(struct channel *c, const struct ipc_token_answer *m)
{
	struct inquiry *q;
	struct bearer *b;
	struct authd *a;
	char why[80];

	if (!inquiry_find(c, m->id, &q))
		return false;
	if (!q)
		return true;
	b = OWNER_OF(q, struct bearer, inquiry);
	a = b->link->authd;
	(void)span_cstr(span_sub(m->why, 0, sizeof(why) - 1), why, sizeof(why));
	if (m->result == TOKEN_GOOD && m->user.n) {
		int64_t now = loop_now_ms(a->service->loop), keep = a->service->conf->auth_oauth2_cache_time;

		if (m->seconds && m->seconds < (uint64_t)keep / 1000)
			keep = (int64_t)m->seconds * 1000;
		if (keep > 0)
			tokencache_put(&a->tokencache, buf_span(&b->token), m->user, now + keep);
		decide(b, m->user, false, why);
	} else if (m->result == TOKEN_BAD || m->result == TOKEN_SCOPE) {
		decide(b, SPAN_NONE, m->result == TOKEN_SCOPE, why);
	} else {
		a->refused++;
		check_refuse(b->link->channel, b->id, why);
	}
	bearer_free(b);
	return true;
}

#define DISPATCH_DEF "ipc/token.def"
#define DISPATCH_SIDE CLIENT
#include "ipc/dispatch.h"

const struct channel_ops token_channel_ops = { dispatch_token, inquirer_on_closed, NULL };

bool
token_setup(struct authd *a)
{
	inquirer_init(&a->tokend, &inquiry_ops);
	list_init(&a->tokens);
	return tokencache_init(&a->tokencache);
}

static size_t
same_client(const struct authd *a, struct span client)
{
	struct guard_client host = guard_client(client);
	size_t n = 0;

	LIST_EACH(&a->tokens, node)
		n += guard_same_client(&OWNER_OF(node, struct bearer, node)->host, &host);
	return n;
}

static struct bearer *
bearer_new(struct link *l, const struct ipc_auth_token *m)
{
	struct authd *a = l->authd;
	struct bearer *b = calloc(1, sizeof(*b));

	if (!b)
		return NULL;
	b->link = l;
	l->refs++;
	b->id = m->id;
	(void)span_cstr(m->service, b->service, sizeof(b->service));
	(void)span_cstr(m->mechanism, b->mechanism, sizeof(b->mechanism));
	(void)span_cstr(m->client_addr, b->client, sizeof(b->client));
	b->host = guard_client(m->client_addr);
	(void)span_cstr(m->user, b->wanted, sizeof(b->wanted));
	buf_init(&b->token, B_TOKEN);
	buf_put(&b->token, m->token);
	timer_init(&b->patience, a->service->loop, on_patience);
	list_push(&a->tokens, &b->node);
	limit_count(a->service->loop, LIMIT_auth_tokens, ++a->ntokens, TOKENS_MAX);
	if (buf_ok(&b->token))
		return b;
	bearer_free(b);
	return NULL;
}

bool
token_begin(struct link *l, const struct ipc_auth_token *m)
{
	struct authd *a = l->authd;
	struct bearer *b = NULL;
	struct span user;

	if (!a->service->conf->auth_oauth2_introspection_url.n) {
		check_refuse(l->channel, m->id, "auth_oauth2_introspection_url is not set");
		return true;
	}
	if (a->ntokens < TOKENS_MAX && same_client(a, m->client_addr) < TOKENS_PER_CLIENT)
		b = bearer_new(l, m);
	if (!b) {
		a->refused++;
		limit_reached(a->service->loop, LIMIT_auth_tokens, TOKENS_MAX, m->client_addr);
		check_refuse(l->channel, m->id, "too many tokens at once");
		return true;
	}
	user = tokencache_get(&a->tokencache, m->token, loop_now_ms(a->service->loop));
	if (user.n) {
		a->cached++;
		decide(b, user, false, "");
		bearer_free(b);
	} else if (!m->token.n) { /* RFC 7628 4.3 */
		decide(b, SPAN_NONE, false, "without a token, to hear which one is wanted");
		bearer_free(b);
	} else {
		(void)timer_set(&b->patience, a->service->conf->auth_oauth2_timeout + GRACE_MS);
		inquiry_start(&a->tokend, &b->inquiry);
	}
	return true;
}
