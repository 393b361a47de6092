/* SPDX-License-Identifier: ISC */
#include "access.h"

#include "mail/address.h"
#include "mail/status.h"
#include "owner.h"

enum { KEYS_MAX = 64, WHY_MAX = 1000, PREPEND_MAX = 1500 };

struct keys {
	struct rules_key v[KEYS_MAX];
	size_t n;
};

struct check {
	struct rules *rules;
	const struct access_question *q;
	struct arena *arena;
	struct access_verdict *v;
	struct buf why, prepend;
	bool over;
};

struct stage {
	enum rules_map map;
	const char *refusal; /* begins the text when the table gives none */
	void (*keys)(struct check *c, struct keys *k);
};

static void
add(struct keys *k, struct rules_key key)
{
	if (key.text.n > 0 && key.text.n <= TABLE_KEY_MAX && k->n < KEYS_MAX)
		k->v[k->n++] = key;
}

/* mail.example.org, .example.org, .org */
static void
add_domain(struct keys *k, struct rules_key name)
{
	add(k, name);
	for (size_t i = 1; i < name.text.n; i++)
		if (name.text.p[i] == '.')
			add(k, rules_part(span_from(name.text, i)));
}

/* ---- the keys of each stage ---- */

/* 192.0.2.1, 192.0.2, 192.0, 192; 2001:db8::1, 2001:db8, 2001; local:1000, local */
static void
client_keys(struct check *c, struct keys *k)
{
	struct span a = c->q->client_addr;
	char dot = span_chr(a, ':') == SIZE_MAX ? '.' : ':';

	add(k, rules_whole(a));
	for (size_t i = a.n; i-- > 1;)
		if (a.p[i] == dot && a.p[i - 1] != dot)
			add(k, rules_part(span_sub(a, 0, i)));
	add_domain(k, rules_whole(c->q->client_name));
}

static void
helo_keys(struct check *c, struct keys *k)
{
	add_domain(k, rules_whole(c->q->helo));
}

static void
login_keys(struct check *c, struct keys *k)
{
	size_t at = span_chr(c->q->login, '@');

	add(k, rules_whole(c->q->login));
	if (at != SIZE_MAX)
		add(k, rules_part(span_from(c->q->login, at)));
}

static void
address_keys(struct check *c, struct span text, struct keys *k)
{
	const struct conf *conf = rules_conf(c->rules);
	struct span user, detail, raw;
	char memory[ADDRESS_SIZE];
	struct address a;
	struct fail why;

	if (!address_parse(&a, text, ADDRESS_UTF8 | ADDRESS_LONG_LOCAL | ADDRESS_NO_DOMAIN, &why)) {
		add(k, rules_whole(text));
		return;
	}
	raw = address_local_raw(&a, memory);
	add(k, rules_whole(text));
	if (address_subaddress(raw, conf->recipient_delimiter, &user, &detail))
		add(k, rules_part(arena_printf(c->arena, "%.*s@%.*s", SPAN_ARG(user), SPAN_ARG(address_domain(&a)))));
	add_domain(k, rules_part(arena_dup(c->arena, address_domain(&a))));
	add(k, rules_part(arena_printf(c->arena, "%.*s@", SPAN_ARG(raw))));
}

static void
sender_keys(struct check *c, struct keys *k)
{
	if (c->q->sender.n == 0)
		add(k, rules_whole(SPAN("<>")));
	else
		address_keys(c, c->q->sender, k);
}

static void
recipient_keys(struct check *c, struct keys *k)
{
	address_keys(c, c->q->recipient, k);
}

static const struct stage stages[] = {
	{ RULES_ACCESS_CLIENT, "Client host rejected", client_keys },
	{ RULES_ACCESS_HELO, "Helo name rejected", helo_keys },
	{ RULES_ACCESS_LOGIN, "Login rejected", login_keys },
	{ RULES_ACCESS_SENDER, "Sender address rejected", sender_keys },
	{ RULES_ACCESS_RECIPIENT, "Recipient address rejected", recipient_keys },
};

/* ---- what values say ---- */

static void
refuse(struct check *c, unsigned status, unsigned reply, struct span text)
{
	c->v->status = status;
	c->v->reply = reply;
	c->v->text = text;
	c->over = true;
}

/* An administrator's mistake must neither lose mail nor open the door. */
static void
misconfigured(struct check *c)
{
	refuse(c, STATUS_MISCONFIGURED, 0, SPAN_NONE);
	c->v->broken = true;
}

static void
do_nothing(struct check *c, const struct stage *at, struct span rest)
{
	(void)c, (void)at, (void)rest;
}

static void
do_permit(struct check *c, const struct stage *at, struct span rest)
{
	(void)at, (void)rest;
	c->v->permit = true;
	c->over = true;
}

/* [4.7.0] text */
static void
refuse_with(struct check *c, const struct stage *at, unsigned general, unsigned reply, struct span text)
{
	struct span code = status_take_code(reply ? reply : status_get(general)->reply, &text);
	unsigned status = code.n ? status_find_code(code) : general;

	if (!text.n)
		text = arena_printf(c->arena, "%s: %s", at->refusal, status_get(general)->text);
	refuse(c, status ? status : general, reply, text);
}

static void
do_reject(struct check *c, const struct stage *at, struct span rest)
{
	refuse_with(c, at, STATUS_DENIED, 0, rest);
}

static void
do_defer(struct check *c, const struct stage *at, struct span rest)
{
	refuse_with(c, at, STATUS_DENIED_TEMP, 0, rest);
}

static void
do_hold(struct check *c, const struct stage *at, struct span rest)
{
	(void)at, (void)rest;
	c->v->hold = c->v->note = true;
}

static void
do_discard(struct check *c, const struct stage *at, struct span rest)
{
	(void)at, (void)rest;
	c->v->discard = c->v->note = true;
}

static void
do_redirect(struct check *c, const struct stage *at, struct span rest)
{
	struct address a;
	struct fail why;

	(void)at;
	if (!address_parse(&a, rest, ADDRESS_UTF8, &why)) {
		misconfigured(c);
		return;
	}
	c->v->redirect = rest;
	c->v->note = true;
}

/* A field name of printable bytes (RFC 5322 3.6.8), and no line end within. */
static bool
is_field(struct span s)
{
	size_t colon = span_chr(s, ':');

	for (size_t i = 0; i < s.n; i++)
		if ((unsigned char)s.p[i] < ' ' || s.p[i] == 0x7f || (i < colon && (s.p[i] == ' ' || (unsigned char)s.p[i] > 0x7e)))
			return false;
	return colon != SIZE_MAX && colon > 0;
}

static void
do_prepend(struct check *c, const struct stage *at, struct span rest)
{
	(void)at;
	if (!is_field(rest) || buf_space(&c->prepend) < rest.n + 2) {
		misconfigured(c);
		return;
	}
	buf_printf(&c->prepend, "%.*s\r\n", SPAN_ARG(rest));
	c->v->note = true;
}

static void
do_verify_sender(struct check *c, const struct stage *at, struct span rest)
{
	(void)at, (void)rest;
	c->v->verify_sender = true;
}

static void
do_verify_recipient(struct check *c, const struct stage *at, struct span rest)
{
	(void)at, (void)rest;
	c->v->verify_recipient = true;
}

static void
do_warn(struct check *c, const struct stage *at, struct span rest)
{
	(void)at, (void)rest;
	c->v->note = true;
}

static const struct {
	struct span word;
	void (*run)(struct check *c, const struct stage *at, struct span rest);
} actions[] = {
#define ACCESS(word, function, meaning) { SPAN_INIT(word), function },
#include "access.def"
};

/* "554 text" and "450 4.7.1 text": 0 when the word is no such code. */
static unsigned
reply_code(struct span word)
{
	if (word.n != 3 || (word.p[0] != '4' && word.p[0] != '5') || !ascii_digit(word.p[1]) || !ascii_digit(word.p[2]))
		return 0;
	return (unsigned)(word.p[0] - '0') * 100 + (unsigned)(word.p[1] - '0') * 10 + (unsigned)(word.p[2] - '0');
}

static void
apply(struct check *c, const struct stage *at, struct span value)
{
	struct span rest = span_trim(value), word = span_word(&rest);
	unsigned code = reply_code(word);

	rest = span_trim(rest);
	if (code) {
		refuse_with(c, at, code < 500 ? STATUS_DENIED_TEMP : STATUS_DENIED, code, rest);
		return;
	}
	for (size_t i = 0; i < sizeof(actions) / sizeof(*actions); i++)
		if (span_caseeq(actions[i].word, word)) {
			actions[i].run(c, at, rest);
			return;
		}
	misconfigured(c);
}

/* ---- the stages ---- */

static void
run_stage(struct check *c, const struct stage *at)
{
	struct keys keys = { .n = 0 };
	struct span value, which = SPAN_NONE;
	struct fail why;

	at->keys(c, &keys);
	for (size_t i = 0; i < keys.n; i++) {
		enum table_found found = rules_lookup(c->rules, at->map, keys.v[i], c->arena, &value, &which, &why);

		if (found == TABLE_NONE)
			continue;
		buf_printf(&c->why, "%s%s %.*s %.*s: %.*s", buf_len(&c->why) ? "; " : "", rules_map_name(at->map), SPAN_ARG(which),
		    SPAN_ARG(keys.v[i].text), SPAN_ARG(found == TABLE_FOUND ? span_sub(value, 0, 200) : fail_text(&why)));
		if (found == TABLE_FOUND)
			apply(c, at, value);
		else
			refuse(c, STATUS_MISCONFIGURED, 0, SPAN_NONE);
		return;
	}
}

void
access_check(struct rules *rules, const struct access_question *q, struct arena *arena, struct access_verdict *v)
{
	struct check c = { .rules = rules, .q = q, .arena = arena, .v = v };
	struct span why;
	unsigned status = owner_check(rules, q->login, q->sender, span_starts(q->client_addr, SPAN("local")), arena, &why);

	*v = (struct access_verdict){ 0 };
	buf_init(&c.why, WHY_MAX);
	buf_init(&c.prepend, PREPEND_MAX);
	if (status) {
		refuse(&c, status, 0, SPAN_NONE);
		buf_put(&c.why, why);
	}
	for (size_t i = 0; i < sizeof(stages) / sizeof(*stages) && !c.over; i++)
		if (rules_has_map(rules, stages[i].map))
			run_stage(&c, &stages[i]);
	v->why = arena_dup(arena, buf_span(&c.why));
	v->prepend = arena_dup(arena, buf_span(&c.prepend));
	if ((v->hold || v->discard || v->redirect.n || v->prepend.n) && !v->why.n)
		refuse(&c, STATUS_SYSTEM_LOCAL_TEMP, 0, SPAN_NONE);
	buf_free(&c.why);
	buf_free(&c.prepend);
}
