/* SPDX-License-Identifier: ISC */
#include "daemons/remoted/destination.h"

#include <stdlib.h>
#include <string.h>

#include "mail/domain.h"
#include "mail/status.h"

enum { SLOT_MX = 0, SLOT_HOST = 1 }; /* slot SLOT_HOST + i is host i */

static void
give_up(struct destination *d, enum fail_class class, unsigned status, const char *what, struct span why)
{
	(void)fail_set(&d->why, class, status, "%.*s: %s%s%.*s", SPAN_ARG(span_sub(d->hop.name, 0, 100)), what,
	    why.n ? ": " : "", SPAN_ARG(span_sub(why, 0, 80)));
	d->state = DESTINATION_FAILED;
}

static void
out_of_memory(struct destination *d)
{
	give_up(d, FAIL_TEMP, STATUS_SYSTEM_LOCAL_TEMP, "no memory to find its mail servers", SPAN_NONE);
}

static bool
add_host(struct destination *d, struct span name, uint16_t preference)
{
	if (d->nhosts == DESTINATION_MX_MAX)
		return true;
	name = arena_dup(d->arena, name);
	if (!name.p)
		return false;
	d->hosts[d->nhosts++] = (struct destination_host){ .name = name, .preference = preference };
	return true;
}

static void
add_target(struct destination *d, const struct destination_target *t)
{
	if (d->ntargets < DESTINATION_TARGETS_MAX)
		d->targets[d->ntargets++] = *t;
}

void
destination_start(struct destination *d, const struct hop *hop, const struct destination_rules *rules, struct arena *arena)
{
	char ascii[DOMAIN_SIZE];
	struct span name;

	*d = (struct destination){ .hop = *hop, .rules = rules, .arena = arena };
	d->hosts = arena_alloc(arena, DESTINATION_MX_MAX * sizeof(*d->hosts));
	d->targets = arena_alloc(arena, DESTINATION_TARGETS_MAX * sizeof(*d->targets));
	if (!d->hosts || !d->targets) {
		out_of_memory(d);
		return;
	}
	if (hop->kind == HOP_ADDRESS || hop->kind == HOP_UNIX) {
		add_target(d, &(struct destination_target){ .host = hop->name, .address = hop->address });
		d->state = DESTINATION_READY;
		return;
	}
	if (!domain_to_ascii(hop->name, ascii, &name)) {
		give_up(d, FAIL_PERM, STATUS_BAD_SYSTEM, "not a valid domain name", SPAN_NONE);
		return;
	}
	d->hop.name = arena_dup(arena, name);
	if (!d->hop.name.p || (hop->kind == HOP_HOST && !add_host(d, name, 0)))
		out_of_memory(d);
	d->mx_asked = d->mx_answered = hop->kind == HOP_HOST;
}

bool
destination_question(struct destination *d, unsigned *slot, enum destination_type *type, struct span *name)
{
	if (d->state != DESTINATION_ASKING)
		return false;
	if (!d->mx_asked) {
		d->mx_asked = true;
		*slot = SLOT_MX;
		*type = DESTINATION_MX;
		*name = d->hop.name;
		return true;
	}
	if (!d->mx_answered)
		return false;
	for (size_t i = 0; i < d->nhosts; i++)
		if (!d->hosts[i].asked) {
			d->hosts[i].asked = true;
			*slot = SLOT_HOST + (unsigned)i;
			*type = DESTINATION_ADDR;
			*name = d->hosts[i].name;
			return true;
		}
	return false;
}

/* RFC 5321 5.1: an MX record holds a name; an address in its place leads nowhere. */
static bool
is_literal(struct span name)
{
	struct netaddr a;

	return netaddr_parse(name, 0, &a);
}

void
destination_mx(struct destination *d, unsigned slot, uint16_t preference, struct span name)
{
	if (d->state != DESTINATION_ASKING || slot != SLOT_MX || d->mx_answered)
		return;
	if (name.n == 0)
		d->null_mx = true;
	else if (domain_valid(name, false) && !is_literal(name) && !add_host(d, name, preference))
		d->exhausted = true;
}

static struct destination_host *
host_of(struct destination *d, unsigned slot)
{
	size_t i = slot - SLOT_HOST;

	if (d->state != DESTINATION_ASKING || slot < SLOT_HOST || i >= d->nhosts)
		return NULL;
	return d->hosts[i].asked && !d->hosts[i].answered ? &d->hosts[i] : NULL;
}

static bool
address_of(struct span bytes, uint16_t port, struct netaddr *out)
{
	struct sockaddr_in in4 = { .sin_family = AF_INET, .sin_port = htons(port) };
	struct sockaddr_in6 in6 = { .sin6_family = AF_INET6, .sin6_port = htons(port) };

	if (bytes.n == 4) {
		memcpy(&in4.sin_addr, bytes.p, 4);
		return netaddr_of(&in4, sizeof(in4), out);
	}
	if (bytes.n != 16)
		return false;
	memcpy(&in6.sin6_addr, bytes.p, 16);
	return netaddr_of(&in6, sizeof(in6), out);
}

void
destination_address(struct destination *d, unsigned slot, struct span bytes)
{
	struct destination_host *h = host_of(d, slot);
	struct netaddr a;

	if (!h || h->naddresses == DESTINATION_ADDRESS_MAX || !address_of(bytes, d->hop.port, &a))
		return;
	if (netaddr_family(&a) == AF_INET6 ? !d->rules->v6 : !d->rules->v4)
		return;
	if (!h->addresses)
		h->addresses = arena_alloc(d->arena, DESTINATION_ADDRESS_MAX * sizeof(*h->addresses));
	if (h->addresses)
		h->addresses[h->naddresses++] = a;
	else
		d->exhausted = true;
}

void
destination_canonical(struct destination *d, unsigned slot, struct span name)
{
	struct destination_host *h = host_of(d, slot);

	if (h && name.n && !span_caseeq(name, h->name) && domain_valid(name, false))
		h->canonical = arena_dup(d->arena, name);
}

static int
by_preference(const void *a, const void *b)
{
	const struct destination_host *x = a, *y = b;

	return x->preference < y->preference ? -1 : x->preference > y->preference;
}

/* RFC 5321 5.1: equals are spread; the sort must not undo it, hence shuffling
 * within each run of equals after sorting. */
static void
order_hosts(struct destination *d)
{
	size_t from = 0, to;

	if (d->nhosts > 1)
		qsort(d->hosts, d->nhosts, sizeof(*d->hosts), by_preference);
	for (; from < d->nhosts; from = to) {
		for (to = from + 1; to < d->nhosts && d->hosts[to].preference == d->hosts[from].preference; to++)
			;
		for (size_t i = to - 1; d->rules->random && i > from; i--) {
			size_t j = from + d->rules->random() % (i - from + 1);
			struct destination_host swap = d->hosts[i];

			d->hosts[i] = d->hosts[j];
			d->hosts[j] = swap;
		}
	}
}

static bool
loop_matters(const struct destination *d)
{
	return d->hop.kind == HOP_DOMAIN && !d->implicit && d->hop.port == d->rules->own_port;
}

/* RFC 5321 5.1: where we are an MX ourselves, we and all that are less
 * preferred go; nothing left is a loop. */
static void
cut_at_preference(struct destination *d, uint16_t preference)
{
	size_t n = 0;

	while (n < d->nhosts && d->hosts[n].preference < preference)
		n++;
	d->nhosts = n;
	d->backup = n > 0;
	if (n == 0)
		give_up(d, FAIL_PERM, STATUS_LOOP, "its mail server is this host itself: mail would loop", SPAN_NONE);
}

static void
cut_names(struct destination *d)
{
	for (size_t i = 0; loop_matters(d) && d->rules->myself.n && i < d->nhosts; i++)
		if (span_caseeq(d->hosts[i].name, d->rules->myself)) {
			cut_at_preference(d, d->hosts[i].preference);
			return;
		}
}

static bool
is_own(const struct destination_rules *rules, const struct netaddr *a)
{
	uint8_t x[16], y[16];

	if (!netaddr_bytes(a, x))
		return false;
	for (size_t i = 0; i < rules->nown; i++)
		if (netaddr_bytes(&rules->own[i], y) && memcmp(x, y, sizeof(x)) == 0)
			return true;
	return false;
}

static void
cut_addresses(struct destination *d)
{
	for (size_t i = 0; loop_matters(d) && i < d->nhosts; i++)
		for (size_t j = 0; j < d->hosts[i].naddresses; j++)
			if (is_own(d->rules, &d->hosts[i].addresses[j])) {
				cut_at_preference(d, d->hosts[i].preference);
				return;
			}
}

/* The hosts from..to are equals: their addresses of one family in turns with
 * those of the other, so that a family without a route costs one try. */
static void
add_group(struct destination *d, size_t from, size_t to)
{
	struct destination_target *all[2][DESTINATION_HOSTS_MAX * DESTINATION_ADDRESS_MAX];
	struct destination_target *pool = arena_alloc(d->arena, sizeof(*pool) * DESTINATION_HOSTS_MAX * DESTINATION_ADDRESS_MAX);
	size_t n[2] = { 0, 0 }, used = 0;
	unsigned first = d->rules->prefer == DESTINATION_V4;
	bool named = d->implicit || d->hop.kind == HOP_HOST || d->mx_secure;

	if (!pool) {
		d->exhausted = true;
		return;
	}
	for (size_t j = 0; j < DESTINATION_ADDRESS_MAX; j++)
		for (size_t i = from; i < to; i++) {
			const struct destination_host *h = &d->hosts[i];
			struct destination_target *t = &pool[used];
			unsigned v4;

			if (j >= h->naddresses)
				continue;
			*t = (struct destination_target){ h->name, h->addresses[j], h->preference, h->secure && named, named, h->secure, h->canonical };
			v4 = netaddr_family(&t->address) == AF_INET;
			all[v4][n[v4]++] = t;
			used++;
		}
	if (d->rules->prefer == DESTINATION_ANY && n[0] && n[1] && d->rules->random)
		first = d->rules->random() & 1;
	for (size_t i = 0; i < n[0] || i < n[1]; i++)
		for (unsigned f = 0; f < 2; f++)
			if (i < n[first ^ f])
				add_target(d, all[first ^ f][i]);
}

static void
collect_targets(struct destination *d)
{
	size_t limit = d->rules->limit, to;

	for (size_t from = 0; from < d->nhosts; from = to) {
		for (to = from + 1; to < d->nhosts && d->hosts[to].preference == d->hosts[from].preference; to++)
			;
		add_group(d, from, to);
	}
	if (limit && d->ntargets > limit)
		d->ntargets = limit;
}

static void
no_target(struct destination *d, struct span why)
{
	bool later = false, bogus = false;

	for (size_t i = 0; i < d->nhosts; i++) {
		later = later || d->hosts[i].result == DESTINATION_LATER;
		bogus = bogus || d->hosts[i].result == DESTINATION_BOGUS;
	}
	if (d->exhausted)
		out_of_memory(d);
	else if (later || bogus)
		give_up(d, FAIL_TEMP, STATUS_DIRECTORY_TEMP, bogus ? "the DNS answer is forged or badly signed" : "DNS lookup failed for now", why);
	else if (d->backup) /* what a backup is for */
		give_up(d, FAIL_TEMP, STATUS_UNROUTABLE_TEMP, "the mail servers that are preferred to this host have no usable address", SPAN_NONE);
	else if (d->nhosts == 1 && d->hosts[0].result == DESTINATION_NO_NAME && (d->implicit || d->hop.kind == HOP_HOST))
		give_up(d, FAIL_PERM, STATUS_BAD_SYSTEM, "no such host or domain", SPAN_NONE);
	else
		give_up(d, FAIL_PERM, STATUS_UNROUTABLE,
		    d->implicit || d->hop.kind == HOP_HOST ? "has neither mail server nor address" : "none of its mail servers has a usable address", SPAN_NONE);
}

static void
conclude(struct destination *d, struct span why)
{
	for (size_t i = 0; i < d->nhosts; i++)
		if (!d->hosts[i].answered)
			return;
	cut_addresses(d);
	if (d->state != DESTINATION_ASKING)
		return;
	collect_targets(d);
	if (d->ntargets)
		d->state = DESTINATION_READY;
	else
		no_target(d, why);
}

static void
mx_answer(struct destination *d, enum destination_result result, bool secure, struct span why)
{
	d->mx_answered = true;
	d->mx_secure = secure;
	if (d->exhausted) {
		out_of_memory(d);
	} else if (result == DESTINATION_LATER || result == DESTINATION_BOGUS) {
		give_up(d, FAIL_TEMP, STATUS_DIRECTORY_TEMP,
		    result == DESTINATION_BOGUS ? "the MX answer is forged or badly signed" : "MX lookup failed for now", why);
	} else if (result == DESTINATION_NO_NAME) {
		give_up(d, FAIL_PERM, STATUS_BAD_SYSTEM, "no such domain", SPAN_NONE);
	} else if (d->null_mx && d->nhosts == 0) { /* RFC 7505 3 */
		give_up(d, FAIL_PERM, STATUS_NULL_MX, "the domain accepts no mail (null MX)", SPAN_NONE);
	} else if (d->nhosts == 0 && result == DESTINATION_NO_DATA) { /* RFC 5321 5.1: the implicit MX */
		d->implicit = true;
		if (!add_host(d, d->hop.name, 0))
			out_of_memory(d);
	} else if (d->nhosts == 0) {
		give_up(d, FAIL_PERM, STATUS_UNROUTABLE, "its MX records hold no valid host name", SPAN_NONE);
	} else {
		order_hosts(d);
		cut_names(d);
		if (d->nhosts > DESTINATION_HOSTS_MAX)
			d->nhosts = DESTINATION_HOSTS_MAX;
	}
}

void
destination_answer(struct destination *d, unsigned slot, enum destination_result result, bool secure, struct span why)
{
	struct destination_host *h;

	if (d->state == DESTINATION_ASKING && slot == SLOT_MX && d->mx_asked && !d->mx_answered) {
		mx_answer(d, result, secure, why);
		return;
	}
	h = host_of(d, slot);
	if (!h)
		return;
	h->answered = true;
	h->result = result;
	h->secure = secure;
	conclude(d, why);
}
