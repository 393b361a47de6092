/* SPDX-License-Identifier: ISC */
#include "verify.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/cursor.h"
#include "log/log.h"
#include "mail/address.h"

enum { VERSION = 1, REPLY_KEPT = 500, VALUE_MAX = 4096 };

struct entry {
	enum callout_outcome outcome;
	uint64_t said, asked; /* Unix seconds */
	struct span nexthop, code, peer, reply;
};

/* A callout for an address, and who waits for it. */
struct pending {
	struct map_node by_address;
	struct list node;    /* verify.pending */
	struct list waiting; /* struct verify_question */
	struct verify *verify;
	struct callout callout;
	struct span address; /* the key */
	size_t size;         /* of text */
	char text[];
};

/* ---- entries ---- */

static uint64_t
now_s(const struct verify *v)
{
	return (uint64_t)(loop_wall_ms(v->memo.loop) / 1000);
}

static void
put_text(struct buf *b, struct span s)
{
	buf_le16(b, (uint16_t)s.n);
	buf_put(b, s);
}

static bool
take_text(struct cursor *c, struct span *s)
{
	uint16_t n = cursor_le16(c);

	*s = cursor_bytes(c, n);
	return c->ok;
}

static bool
decode(struct span value, struct entry *e)
{
	struct cursor c = cursor_of(value);
	uint8_t version = cursor_u8(&c), outcome = cursor_u8(&c);

	if (version != VERSION || outcome > CALLOUT_REFUSES)
		return false;
	e->outcome = (enum callout_outcome)outcome;
	e->said = cursor_le64(&c);
	e->asked = cursor_le64(&c);
	return take_text(&c, &e->nexthop) && take_text(&c, &e->code) && take_text(&c, &e->peer) && take_text(&c, &e->reply) && cursor_end(&c);
}

static void
encode(const struct entry *e, struct buf *b)
{
	buf_putc(b, VERSION);
	buf_putc(b, (char)e->outcome);
	buf_le64(b, e->said);
	buf_le64(b, e->asked);
	put_text(b, e->nexthop);
	put_text(b, e->code);
	put_text(b, e->peer);
	put_text(b, span_sub(e->reply, 0, REPLY_KEPT));
}

static uint64_t
seconds(int64_t ms)
{
	return (uint64_t)(ms / 1000);
}

static uint64_t
lifetime(const struct conf *conf, enum callout_outcome outcome)
{
	return seconds(outcome == CALLOUT_TAKES ? conf->address_verify_positive_expire_time
	    : outcome == CALLOUT_REFUSES ? conf->address_verify_negative_expire_time : conf->address_verify_retry_time);
}

/* A clock that was set back makes it old, too. */
static bool
outdated(const struct conf *conf, const struct entry *e, uint64_t now)
{
	return e->said > now || e->said + lifetime(conf, e->outcome) <= now;
}

static bool
value_outdated(const struct memo *m, struct span value, uint64_t now)
{
	struct entry e;

	return !decode(value, &e) || outdated(OWNER_OF(m, struct verify, memo)->conf, &e, now);
}

/* Worth asking again while it still counts, and not lately tried. */
static bool
gets_old(const struct conf *conf, const struct entry *e, uint64_t now)
{
	uint64_t after = seconds(e->outcome == CALLOUT_TAKES ? conf->address_verify_positive_refresh_time : conf->address_verify_negative_refresh_time);

	return e->outcome != CALLOUT_LATER && e->said + after <= now && e->asked + seconds(conf->address_verify_retry_time) <= now;
}

static void
failed(const struct fail *why)
{
	log_put(LOG_failure, "verify: %s", why->text);
}

static bool
is_open(struct verify *v)
{
	struct fail why;

	if (memo_is_open(&v->memo))
		return true;
	if (v->unusable || !v->dir)
		return false;
	v->unusable = !memo_open(&v->memo, v->dir, &why);
	if (v->unusable)
		log_put(LOG_failure, "%s cannot be used, no callout is remembered: %s", v->dir, why.text);
	return !v->unusable;
}

/* What is remembered of that way; old: also what counts no more. */
static bool
recall(struct verify *v, struct span key, struct span nexthop, bool old, struct arena *arena, struct entry *e)
{
	struct span value;
	struct fail why;

	if (!is_open(v))
		return false;
	switch (memo_get(&v->memo, key, arena, &value, &why)) {
	case BDB_FOUND:
		return decode(value, e) && (old || (span_eq(e->nexthop, nexthop) && !outdated(v->conf, e, now_s(v))));
	case BDB_FAILED:
		failed(&why);
		break;
	default:
		break;
	}
	return false;
}

static void
remember(struct verify *v, struct span key, const struct entry *e, bool known)
{
	struct fail why;
	struct buf b;

	if (!is_open(v) || (!known && v->memo.entries >= VERIFY_ENTRIES_MAX))
		return;
	buf_init(&b, VALUE_MAX);
	encode(e, &b);
	if (buf_ok(&b) && !memo_put(&v->memo, key, buf_span(&b), !known, &why))
		failed(&why);
	buf_free(&b);
}

/* ---- callouts ---- */

static void
take_off(struct verify_question *q)
{
	list_remove(&q->node);
	list_remove(&q->patience);
	q->of = NULL;
}

static void
pending_free(struct pending *p)
{
	callout_drop(&p->verify->callouts, &p->callout);
	map_remove(&p->verify->asked, &p->by_address);
	list_remove(&p->node);
	explicit_bzero(p->text, p->size);
	free(p);
}

/* What is said does not count against what is remembered as long as it is "not now". */
static void
learn(struct pending *p, const struct ipc_callout_answer *m)
{
	struct verify *v = p->verify;
	uint64_t now = now_s(v);
	struct entry e, fresh = { (enum callout_outcome)m->outcome, now, now, p->callout.nexthop, m->code, m->peer, m->reply };
	struct arena mem;
	bool known;

	arena_init(&mem, 4 * VALUE_MAX);
	known = recall(v, p->address, p->callout.nexthop, true, &mem, &e);
	if (known && m->outcome == CALLOUT_LATER && span_eq(e.nexthop, p->callout.nexthop) && !outdated(v->conf, &e, now)) {
		e.asked = now;
		remember(v, p->address, &e, true);
	} else {
		remember(v, p->address, &fresh, known);
	}
	arena_free(&mem);
}

static void
on_callout(struct callout *c, const struct ipc_callout_answer *m)
{
	static const char *const words[] = { [CALLOUT_TAKES] = "taken", [CALLOUT_LATER] = "unknown", [CALLOUT_REFUSES] = "refused" };
	struct pending *p = OWNER_OF(c, struct pending, callout);
	struct verify_answer a = { (enum callout_outcome)m->outcome, m->code, m->peer, m->reply, -1 };
	struct list waiting, *node;

	log_put(LOG_callout, "to=<%.*s> via=%.*s relay=%.*s result=%s dsn=%.*s (%.*s)", SPAN_ARG(c->address), SPAN_ARG(c->nexthop),
	    SPAN_ARG(m->peer.n ? m->peer : SPAN("none")), words[a.outcome], SPAN_ARG(m->code), SPAN_ARG(m->reply));
	learn(p, m);
	list_init(&waiting);
	while ((node = list_shift(&p->waiting))) {
		take_off(OWNER_OF(node, struct verify_question, node));
		list_push(&waiting, node);
	}
	pending_free(p);
	while ((node = list_shift(&waiting))) {
		struct verify_question *q = OWNER_OF(node, struct verify_question, node);

		q->on_answer(q, &a);
	}
}

static struct span
keep(struct pending *p, size_t *at, struct span s)
{
	struct span kept = span_of(p->text + *at, s.n);

	if (s.n)
		memcpy(p->text + *at, s.p, s.n);
	*at += s.n;
	return kept;
}

static struct pending *
pending_new(struct verify *v, struct span key, const struct verify_way *way)
{
	size_t size = key.n + way->nexthop.n + way->address.n + way->sender.n + way->logins.n, at = 0;
	struct pending *p = calloc(1, sizeof(*p) + size);

	if (!p)
		return NULL;
	p->verify = v;
	p->size = size;
	list_init(&p->waiting);
	p->address = keep(p, &at, key);
	p->callout.nexthop = keep(p, &at, way->nexthop);
	p->callout.address = keep(p, &at, way->address);
	p->callout.sender = keep(p, &at, way->sender);
	p->callout.logins = keep(p, &at, way->logins);
	p->callout.on_answer = on_callout;
	list_push(&v->pending, &p->node);
	if (map_put(&v->asked, &p->by_address, p->address))
		return p;
	pending_free(p);
	return NULL;
}

/* NULL: *no says why there is none. */
static struct pending *
pending_for(struct verify *v, struct span key, const struct verify_way *way, struct ipc_callout_answer *no)
{
	struct map_node *node = map_get(&v->asked, key);
	struct pending *p;

	if (node)
		return OWNER_OF(node, struct pending, by_address);
	p = pending_new(v, key, way);
	if (!p) {
		*no = (struct ipc_callout_answer){ .outcome = CALLOUT_LATER, .code = SPAN("4.3.0"), .reply = SPAN("out of memory") };
		return NULL;
	}
	if (callout_start(&v->callouts, &p->callout, no))
		return p;
	pending_free(p);
	return NULL;
}

/* Behind an answer that still counts: only where nobody who waits is kept waiting. */
static void
refresh(struct verify *v, struct span key, const struct verify_way *way)
{
	struct ipc_callout_answer no;
	struct pending *p = map_get(&v->asked, key) ? NULL : pending_for(v, key, way, &no);

	if (p && !p->callout.since_ms)
		pending_free(p);
}

/* ---- who waits ---- */

static void
watch_patience(struct verify *v)
{
	if (list_empty(&v->patience))
		timer_stop(&v->impatient);
	else if (!timer_running(&v->impatient))
		(void)timer_set(&v->impatient, OWNER_OF(v->patience.next, struct verify_question, patience)->due_ms - loop_now_ms(v->memo.loop) + 1);
}

void
verify_drop(struct verify *v, struct verify_question *q)
{
	struct pending *p = q->of;

	take_off(q);
	if (p && list_empty(&p->waiting) && !p->callout.since_ms) /* what has begun is worth knowing */
		pending_free(p);
	watch_patience(v);
}

static void
on_impatient(struct timer *t)
{
	struct verify *v = OWNER_OF(t, struct verify, impatient);
	const struct verify_answer later = { .outcome = CALLOUT_LATER, .code = SPAN("4.4.2"), .reply = SPAN("no answer yet"), .age_s = -1 };
	int64_t now = loop_now_ms(v->memo.loop);

	while (!list_empty(&v->patience)) {
		struct verify_question *q = OWNER_OF(v->patience.next, struct verify_question, patience);

		if (q->due_ms > now)
			break;
		verify_drop(v, q);
		q->on_answer(q, &later);
	}
	watch_patience(v);
}

static struct span
key_of(struct span address, struct arena *arena)
{
	char *key = arena_alloc(arena, address.n + 1);

	for (size_t i = 0; key && i < address.n; i++)
		key[i] = ascii_lower(address.p[i]);
	return span_of(key, key ? address.n : 0);
}

bool
verify_ask(struct verify *v, struct verify_question *q, struct span address, const struct verify_way *way, bool fresh, struct arena *arena, struct verify_answer *a)
{
	struct span key = key_of(address, arena);
	struct ipc_callout_answer no;
	struct pending *p;
	struct entry e;

	if (!fresh && recall(v, key, way->nexthop, false, arena, &e)) {
		if (gets_old(v->conf, &e, now_s(v)))
			refresh(v, key, way);
		*a = (struct verify_answer){ e.outcome, e.code, e.peer, e.reply, (int64_t)(now_s(v) - e.said) };
		return true;
	}
	p = pending_for(v, key, way, &no);
	if (!p) {
		*a = (struct verify_answer){ CALLOUT_LATER, no.code, SPAN_NONE, arena_dup(arena, no.reply), -1 };
		return true;
	}
	q->of = p;
	q->due_ms = loop_now_ms(v->memo.loop) + v->conf->address_verify_wait_time;
	list_push(&p->waiting, &q->node);
	list_push(&v->patience, &q->patience);
	watch_patience(v);
	return false;
}

/* ---- the sender of callouts ---- */

struct span
verify_sender(const struct conf *conf)
{
	return span_eq(conf->address_verify_sender, SPAN("<>")) ? SPAN_NONE : conf->address_verify_sender;
}

bool
verify_is_ours(const struct verify *v, struct span address)
{
	struct span sender = verify_sender(v->conf);

	return sender.n && span_caseeq(sender, address);
}

/* ---- for mailctl ---- */

struct visit {
	struct verify *v;
	struct span which;
	bool (*visit)(void *arg, const struct verify_known *k);
	void *arg;
};

static bool
is_meant(struct span which, struct span key)
{
	return !which.n || span_caseeq(which, key) || (which.p[0] == '@' && span_caseends(key, which));
}

static bool
on_entry(void *arg, struct span key, struct span value)
{
	struct visit *s = arg;
	uint64_t now = now_s(s->v);
	struct verify_known k = { .address = key };
	struct entry e;

	if (!is_meant(s->which, key) || !decode(value, &e))
		return true;
	k.nexthop = e.nexthop;
	k.answer = (struct verify_answer){ e.outcome, e.code, e.peer, e.reply, (int64_t)(now - e.said) };
	k.left_s = (int64_t)(e.said + lifetime(s->v->conf, e.outcome) - now);
	return s->visit(s->arg, &k);
}

bool
verify_each(struct verify *v, struct span which, bool (*visit)(void *arg, const struct verify_known *k), void *arg, struct fail *why)
{
	struct visit s = { v, which, visit, arg };

	if (!is_open(v))
		return fail_set(why, FAIL_TEMP, 0, "the database of verified addresses cannot be used: see the log");
	return memo_each(&v->memo, SPAN(""), on_entry, &s, why);
}

struct gather {
	struct arena mem;
	struct span keys[VERIFY_FORGET_MAX];
	size_t n;
};

static bool
gather(void *arg, const struct verify_known *k)
{
	struct gather *g = arg;

	g->keys[g->n] = arena_dup(&g->mem, k->address);
	g->n += g->keys[g->n].p != NULL;
	return g->n < VERIFY_FORGET_MAX;
}

static bool
count(void *n, const struct verify_known *k)
{
	(void)k;
	++*(uint64_t *)n;
	return true;
}

bool
verify_count(struct verify *v, struct span which, uint64_t *n, struct fail *why)
{
	*n = 0;
	return verify_each(v, which, count, n, why);
}

bool
verify_forget(struct verify *v, struct span which, uint64_t *n, struct fail *why)
{
	struct gather *g = calloc(1, sizeof(*g));
	bool ok;

	*n = 0;
	if (!g)
		return fail_set(why, FAIL_TEMP, 0, "out of memory");
	arena_init(&g->mem, (size_t)VERIFY_FORGET_MAX * (B_LONG_ADDRESS + 64));
	ok = verify_each(v, which, gather, g, why);
	for (size_t i = 0; ok && i < g->n; i++) {
		ok = memo_forget(&v->memo, g->keys[i], why);
		*n += ok;
	}
	arena_free(&g->mem);
	free(g);
	return ok;
}

/* ---- life ---- */

void
verify_init(struct verify *v, struct loop *loop, const struct conf *conf)
{
	*v = (struct verify){ .conf = conf };
	memo_init(&v->memo, loop, "verify", value_outdated);
	callouts_init(&v->callouts, loop, conf);
	map_init(&v->asked);
	list_init(&v->pending);
	list_init(&v->patience);
	timer_init(&v->impatient, loop, on_impatient);
}

void
verify_configure(struct verify *v, const struct conf *conf, const char *dir)
{
	struct span sender = verify_sender(conf);
	struct address a;

	v->dir = dir;
	v->unusable = false;
	if (sender.n && !address_parse(&a, sender, ADDRESS_UTF8, NULL))
		log_put(LOG_config, "address_verify_sender: not an address: %.*s", SPAN_ARG(sender));
	v->conf = v->callouts.conf = conf;
}

/* Whoever waited has gone before. */
void
verify_free(struct verify *v)
{
	LIST_EACH(&v->pending, it)
		pending_free(OWNER_OF(it, struct pending, node));
	timer_stop(&v->impatient);
	callouts_free(&v->callouts);
	map_free(&v->asked);
	memo_close(&v->memo);
}
