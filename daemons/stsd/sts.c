/* SPDX-License-Identifier: ISC */
#include "daemons/stsd/sts.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { ENTRY_ARENA = 64 * 1024 };

static int64_t
now_s(const struct sts_domain *d)
{
	return d->sts->ops->now_s(d->sts);
}

static void
say(struct sts_domain *d, const char *what, struct span more)
{
	(void)snprintf(d->why, sizeof(d->why), "%s%s%.*s", what, more.n ? ": " : "", SPAN_ARG(span_sub(more, 0, 180)));
}

/* --- domains ---------------------------------------------------------------------- */

static void
drop(struct sts_domain *d)
{
	map_remove(&d->sts->domains, &d->node);
	list_remove(&d->by_use);
	arena_free(&d->arena);
	free(d);
}

static void
make_room(struct sts *s)
{
	LIST_EACH(&s->by_use, it) {
		struct sts_domain *d = OWNER_OF(it, struct sts_domain, by_use);

		if (s->domains.count < STS_DOMAINS)
			return;
		if (d->errand == STS_IDLE)
			drop(d);
	}
}

static struct sts_domain *
domain_new(struct sts *s, struct span name)
{
	struct sts_domain *d;

	make_room(s);
	d = s->domains.count < STS_DOMAINS ? calloc(1, sizeof(*d)) : NULL;
	if (!d)
		return NULL;
	memcpy(d->name, name.p, name.n);
	if (!map_put(&s->domains, &d->node, span_str(d->name))) {
		free(d);
		return NULL;
	}
	d->sts = s;
	list_init(&d->waiters);
	list_push(&s->by_use, &d->by_use);
	arena_init(&d->arena, ENTRY_ARENA);
	d->has_entry = store_get(&s->store, name, &d->arena, &d->entry);
	return d;
}

static struct sts_domain *
domain_named(struct sts *s, struct span name)
{
	struct map_node *node = map_get(&s->domains, name);
	struct sts_domain *d = node ? OWNER_OF(node, struct sts_domain, node) : domain_new(s, name);

	if (d) {
		list_remove(&d->by_use);
		list_push(&s->by_use, &d->by_use);
	}
	return d;
}

static bool
holds(const struct sts_domain *d)
{
	return d->has_entry && d->entry.expires_s > now_s(d);
}

/* A clock that was set back does not make it wait for long. */
static bool
quiet(const struct sts_domain *d)
{
	int64_t now = now_s(d);

	return now < d->quiet_until_s && d->quiet_until_s - now <= STS_FAILED_S;
}

/* --- answers ------------------------------------------------------------------------- */

static void
answer(struct sts_domain *d, struct sts_waiter *w, enum sts_known otherwise)
{
	char words[240];
	struct sts_answer a = { .known = otherwise, .why = d->why };

	if (holds(d)) {
		(void)snprintf(words, sizeof(words), "%s, id %s, for %lld more hours", policy_mode_text(d->entry.mode), d->entry.id,
		    (long long)((d->entry.expires_s - now_s(d)) / 3600));
		a = (struct sts_answer){ STS_HAS_POLICY, &d->entry, words };
	}
	w->on_answer(w, &a);
}

/* quiet_s: nothing is asked again for so long. */
static void
settle(struct sts_domain *d, enum sts_known otherwise, int64_t quiet_s)
{
	struct list *node;

	d->errand = STS_IDLE;
	d->sts->errands--;
	d->quiet_until_s = now_s(d) + quiet_s;
	while ((node = list_shift(&d->waiters)))
		answer(d, OWNER_OF(node, struct sts_waiter, node), otherwise);
}

/* --- errands --------------------------------------------------------------------------- */

static bool
begin(struct sts_domain *d)
{
	struct sts *s = d->sts;

	if (s->errands >= STS_ERRANDS) {
		say(d, "too many lookups and fetches at once", SPAN_NONE);
		return false;
	}
	d->records = 0;
	d->errand = STS_LOOKING;
	s->errands++;
	if (s->ops->look_up(d))
		return true;
	d->errand = STS_IDLE;
	s->errands--;
	say(d, "no memory for a lookup", SPAN_NONE);
	return false;
}

void
sts_record(struct sts_domain *d, struct span txt)
{
	d->records += policy_record(txt, d->id);
}

void
sts_records_void(struct sts_domain *d)
{
	d->records = 0;
}

/* RFC 8461 5.1, 10.2: a long-lived policy is looked at again well before its end. */
static bool
stale(const struct entry *e, int64_t now)
{
	int64_t age = now - e->fetched_s;

	return age > STS_FRESH_S && age > (e->expires_s - e->fetched_s) / 2;
}

void
sts_looked_up(struct sts_domain *d, bool ok, struct span why)
{
	if (!ok) {
		say(d, "the record cannot be looked up", why);
		settle(d, STS_UNKNOWN, STS_NONE_S);
	} else if (d->records != 1) { /* RFC 8461 3.1 */
		say(d, d->records ? "more than one MTA-STS record" : "no MTA-STS record", SPAN_NONE);
		settle(d, STS_HAS_NONE, STS_NONE_S);
	} else if (holds(d) && strcmp(d->id, d->entry.id) == 0 && !stale(&d->entry, now_s(d))) {
		settle(d, STS_HAS_NONE, STS_CHECK_S);
	} else {
		d->errand = STS_FETCHING;
		if (d->sts->ops->fetch(d))
			return;
		say(d, "no memory for a fetch", SPAN_NONE);
		settle(d, STS_UNKNOWN, STS_NONE_S);
	}
}

static bool
take_policy(struct sts_domain *d, struct span body, struct fail *why)
{
	struct entry fresh = { .fetched_s = now_s(d) };
	struct policy p;
	struct arena arena;
	struct buf patterns;
	bool ok;

	arena_init(&arena, ENTRY_ARENA);
	buf_init(&patterns, POLICY_PATTERNS_MAX);
	ok = policy_parse(body, &p, &patterns, why);
	if (ok) {
		fresh.mode = p.mode;
		fresh.expires_s = fresh.fetched_s + p.max_age_s;
		memcpy(fresh.id, d->id, sizeof(fresh.id));
		fresh.patterns = arena_dup(&arena, buf_span(&patterns));
		ok = fresh.patterns.p || !buf_len(&patterns) || fail_set(why, FAIL_TEMP, 0, "out of memory");
	}
	buf_free(&patterns);
	arena_free(ok ? &d->arena : &arena);
	if (ok) {
		d->arena = arena;
		d->has_entry = true;
		d->entry = fresh;
	}
	return ok;
}

void
sts_fetched(struct sts_domain *d, const char *result, struct span body_or_why)
{
	struct sts *s = d->sts;
	struct fail why = { .text = "" };

	s->fetched++;
	if (result) {
		say(d, "the policy cannot be fetched", body_or_why);
		s->ops->tell(d, result, d->why);
		settle(d, STS_HAS_NONE, STS_FAILED_S);
		return;
	}
	if (!take_policy(d, body_or_why, &why)) {
		say(d, "the policy is not valid", fail_text(&why));
		s->ops->tell(d, "sts-policy-invalid", d->why);
		settle(d, STS_HAS_NONE, STS_FAILED_S);
		return;
	}
	d->why[0] = '\0';
	/* It holds now even where it cannot be kept over a restart. */
	if (!store_put(&s->store, span_str(d->name), &d->entry, &why))
		s->ops->tell(d, "kept in memory only", why.text);
	s->ops->tell(d, NULL, NULL);
	settle(d, STS_HAS_NONE, STS_CHECK_S);
}

/* --- questions ---------------------------------------------------------------------------- */

void
sts_ask(struct sts *s, struct span domain, struct sts_waiter *w)
{
	char name[256];
	struct sts_domain *d;

	s->asked++;
	for (size_t i = 0; i < domain.n && i < sizeof(name) - 1; i++)
		name[i] = ascii_lower(domain.p[i]);
	d = domain.n > 0 && domain.n < 240 ? domain_named(s, span_of(name, domain.n)) : NULL;
	if (!d) {
		w->on_answer(w, &(struct sts_answer){ .known = STS_UNKNOWN, .why = "too many domains at once" });
		return;
	}
	if (holds(d)) {
		if (d->errand == STS_IDLE && !quiet(d))
			(void)begin(d);
		answer(d, w, STS_HAS_NONE);
	} else if (d->errand != STS_IDLE) {
		list_push(&d->waiters, &w->node);
	} else if (quiet(d)) {
		answer(d, w, STS_HAS_NONE);
	} else {
		list_push(&d->waiters, &w->node);
		if (begin(d))
			return;
		list_remove(&w->node);
		answer(d, w, STS_UNKNOWN);
	}
}

void
sts_cancel(struct sts_waiter *w)
{
	list_remove(&w->node);
}

/* --- without a question --------------------------------------------------------------------- */

struct old {
	const struct sts *sts;
	int64_t now_s;
	char names[STS_REFRESH][256];
	size_t n;
};

/* Mode none protects nothing that would have to be kept. */
static bool
is_old(void *arg, struct span domain, const struct entry *e)
{
	struct old *o = arg;

	if (span_cmp(domain, span_str(o->sts->refreshed)) > 0 && e->mode != POLICY_NONE && e->expires_s > o->now_s && stale(e, o->now_s))
		o->n += span_cstr(domain, o->names[o->n], sizeof(o->names[0]));
	return o->n < STS_REFRESH;
}

bool
sts_refresh(struct sts *s, bool *more, struct fail *why)
{
	struct old *o = calloc(1, sizeof(*o));
	bool ok;

	*more = false;
	if (!o)
		return fail_set(why, FAIL_TEMP, 0, "out of memory");
	o->sts = s;
	o->now_s = s->ops->now_s(s);
	ok = store_each(&s->store, is_old, o, why);
	for (size_t i = 0; ok && i < o->n; i++) {
		struct sts_domain *d = domain_named(s, span_str(o->names[i]));

		if (d && d->errand == STS_IDLE && holds(d) && !quiet(d))
			(void)begin(d);
	}
	*more = ok && o->n == STS_REFRESH;
	memcpy(s->refreshed, *more ? o->names[o->n - 1] : "", *more ? sizeof(s->refreshed) : 1);
	free(o);
	return ok;
}

/* --- life ---------------------------------------------------------------------------------- */

void
sts_init(struct sts *s, const struct sts_ops *ops, void *owner)
{
	*s = (struct sts){ .ops = ops, .owner = owner };
	map_init(&s->domains);
	list_init(&s->by_use);
}

void
sts_free(struct sts *s)
{
	LIST_EACH(&s->by_use, it)
		drop(OWNER_OF(it, struct sts_domain, by_use));
	map_free(&s->domains);
	store_close(&s->store);
}
