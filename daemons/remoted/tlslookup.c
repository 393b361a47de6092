/* SPDX-License-Identifier: ISC */
#include "daemons/remoted/tlslookup.h"

#include <stdio.h>
#include <string.h>

#include "daemons/remoted/remoted.h"
#include "mail/domain.h"

static const struct tlsplan no_memory = { .skip = true, .result = "validation-failure", .why = "no memory for its TLS policy" };

/* --- what holds for all hosts ------------------------------------------------------ */

static void
ready(struct tlslookup *t)
{
	timer_stop(&t->timer);
	t->asking = false;
	t->on_ready(t);
}

static void
note(struct tlslookup *t, const char *what, struct span more)
{
	size_t n = strlen(t->origin);

	(void)snprintf(t->origin + n, sizeof(t->origin) - n, "%s%s%.*s", n ? "; " : "", what, SPAN_ARG(span_sub(more, 0, 200)));
}

static bool
ask(struct tlslookup *t, struct inquirer *peer, struct span name, bool for_sts)
{
	t->for_sts = for_sts;
	t->asking = tlsask_start(peer, &t->ask, name);
	if (t->asking)
		(void)timer_set(&t->timer, t->limit_ms);
	return t->asking;
}

/* False: there is nothing to wait for. */
static bool
ask_sts(struct tlslookup *t)
{
	const struct hop *hop = t->hop;

	return t->remoted->conf->smtp_tls_mta_sts && hop->kind == HOP_DOMAIN && !hop->lmtp && tlspolicy_wants_sts(&t->policy) &&
	    ask(t, &t->remoted->sts, t->name, true);
}

static void
take_entry(struct tlslookup *t, const struct ipc_tlspolicy_answer *m)
{
	struct tlspolicy entry;
	struct span value;
	struct fail why;

	switch ((enum tlspolicy_result)m->result) {
	case TLSPOLICY_FOUND:
		value = arena_dup(t->arena, m->text);
		if (value.p && tlspolicy_parse(value, &entry, &why)) {
			entry.wish = t->policy.wish;
			t->policy = entry;
			t->origin[0] = '\0';
			note(t, "", m->why);
		} else {
			(void)snprintf(t->refusal, sizeof(t->refusal), "%.*s: %.120s", SPAN_ARG(span_sub(m->why, 0, 100)), value.p ? why.text : "no memory");
		}
		break;
	case TLSPOLICY_FAILED:
		(void)snprintf(t->refusal, sizeof(t->refusal), "%.*s", SPAN_ARG(span_sub(m->why, 0, sizeof(t->refusal) - 1)));
		break;
	case TLSPOLICY_NONE:
		break;
	}
}

static void
take_sts(struct tlslookup *t, const struct ipc_tlspolicy_answer *m)
{
	struct span text = m->result == TLSPOLICY_FOUND ? arena_dup(t->arena, m->text) : SPAN_NONE;

	if (text.n && tlspolicy_sts_parse(text, &t->sts))
		note(t, "MTA-STS ", m->why);
	else if (m->result == TLSPOLICY_FOUND)
		(void)snprintf(t->refusal, sizeof(t->refusal), "no memory for the MTA-STS policy");
	else if (m->result == TLSPOLICY_FAILED)
		note(t, "MTA-STS cannot be known: ", m->why);
}

static void
on_answer(struct tlsask *a, const struct ipc_tlspolicy_answer *m)
{
	struct tlslookup *t = OWNER_OF(a, struct tlslookup, ask);

	if (t->for_sts)
		take_sts(t, m);
	else
		take_entry(t, m);
	if (t->for_sts || t->refusal[0] || !ask_sts(t))
		ready(t);
}

/* --- TLSA records of one host ---------------------------------------------------------- */

static void
settle(struct tlslookup *t, struct tlshost *h, enum tlspolicy_dane dane)
{
	t->current = NULL;
	h->host.dane = dane;
	h->host.tlsa = h->records;
	tlspolicy_plan(&t->policy, &t->sts, &h->host, t->name, t->arena, &h->plan);
	h->plan.certificate = t->certificate;
	h->planned = true;
}

/* UNASKED: the answer will come. */
static enum tlspolicy_dane
ask_tlsa(struct tlslookup *t, struct tlshost *h, struct span base)
{
	struct span name = arena_printf(t->arena, "_%u._tcp.%.*s", h->port, SPAN_ARG(base)); /* RFC 6698 3 */

	h->host.base = base;
	h->host.ntlsa = h->seen = 0;
	h->host.why = SPAN("no memory to ask for them");
	if (!h->records)
		h->records = arena_alloc(t->arena, TLS_TLSA_MAX * sizeof(*h->records));
	if (!name.n || !h->records)
		return DANE_FAILED;
	if (name.n > B_HOST - 2 || !lookup_start(&t->remoted->dns, &t->tlsa, DESTINATION_TLSA, name))
		return DANE_NONE; /* no such name can be */
	t->current = h;
	(void)timer_set(&t->timer, t->limit_ms);
	return DANE_UNASKED;
}

/* RFC 7672 2.2.2: a name that leads out of the signed zones may still have records of its own. */
static enum tlspolicy_dane
ask_alias(struct tlslookup *t, struct tlshost *h)
{
	if (!lookup_start(&t->remoted->dns, &t->tlsa, DESTINATION_CNAME, h->host.name))
		return DANE_INSECURE;
	h->asked_alias = true;
	t->current = h;
	(void)timer_set(&t->timer, t->limit_ms);
	return DANE_UNASKED;
}

static void
on_record(struct lookup *l, const struct ipc_dns_record *m)
{
	struct tlshost *h = OWNER_OF(l, struct tlslookup, tlsa)->current;
	struct arena *arena = OWNER_OF(l, struct tlslookup, tlsa)->arena;
	struct tls_tlsa record;

	if (!h || m->type != DESTINATION_TLSA || m->data.n < 4)
		return;
	h->seen++;
	record = (struct tls_tlsa){ (uint8_t)m->data.p[0], (uint8_t)m->data.p[1], (uint8_t)m->data.p[2], span_from(m->data, 3) };
	if (h->host.ntlsa == TLS_TLSA_MAX || !tls_tlsa_usable(&record))
		return;
	record.data = arena_dup(arena, record.data);
	if (record.data.p)
		h->records[h->host.ntlsa++] = record;
}

/* UNASKED: another question is under way. RFC 7672 2.2.2, 2.2.3: by the name that CNAMEs
 * lead to, else by its own. */
static enum tlspolicy_dane
judge(struct tlslookup *t, struct tlshost *h, const struct ipc_dns_done *m)
{
	bool secure = m->result == DESTINATION_OK && m->secure;

	if (m->result == DESTINATION_LATER || m->result == DESTINATION_BOGUS) {
		h->host.why = arena_dup(t->arena, m->why);
		h->host.forged = m->result == DESTINATION_BOGUS;
		return DANE_FAILED;
	}
	if (h->asked_alias && !h->asked_original && !secure)
		return DANE_INSECURE;
	if (secure && h->seen)
		return h->host.ntlsa ? DANE_USABLE : DANE_USELESS;
	if (h->asked_original || (!h->asked_alias && span_caseeq(h->host.base, h->host.name)))
		return DANE_NONE;
	h->asked_original = true;
	return ask_tlsa(t, h, h->host.name);
}

static void
on_done(struct lookup *l, const struct ipc_dns_done *m)
{
	struct tlslookup *t = OWNER_OF(l, struct tlslookup, tlsa);
	struct tlshost *h = t->current;
	enum tlspolicy_dane dane = h ? judge(t, h, m) : DANE_UNASKED;

	if (dane == DANE_UNASKED)
		return;
	settle(t, h, dane);
	ready(t);
}

/* dnsd died: what it said so far is void. */
static void
on_again(struct lookup *l)
{
	struct tlslookup *t = OWNER_OF(l, struct tlslookup, tlsa);

	if (t->current)
		t->current->host.ntlsa = t->current->seen = 0;
}

/* --- hosts ---------------------------------------------------------------------------- */

static struct tlshost *
host_for(struct tlslookup *t, const struct destination_target *target)
{
	struct tlshost *h;

	for (h = t->hosts; h; h = h->next)
		if (span_eq(h->host.name, target->host))
			return h;
	h = ARENA_NEW(t->arena, struct tlshost);
	if (!h)
		return NULL;
	h->host.name = h->host.base = target->host;
	h->host.secure = target->secure;
	h->port = netaddr_port(&target->address);
	h->next = t->hosts;
	t->hosts = h;
	return h;
}

/* RFC 7672 2.2.1 (1): the MX record proves nothing, the records of the host it names may count all the same. */
static bool
counts_by_itself(const struct tlslookup *t, const struct destination_target *target)
{
	return target->host_secure && t->policy.level == CONF_TLS_DANE && t->policy.wish == TLSWISH_NONE &&
	    t->remoted->conf->smtp_tls_dane_insecure_mx_policy != CONF_TLS_MAY;
}

/* False: it is being asked. */
static bool
plan(struct tlslookup *t, struct tlshost *h, const struct destination_target *target)
{
	enum tlspolicy_dane dane;

	if (t->refusal[0]) {
		h->plan = (struct tlsplan){ .skip = true, .result = "validation-failure" };
		memcpy(h->plan.why, t->refusal, sizeof(h->plan.why));
		h->planned = true;
	} else if (!tlspolicy_wants_dane(&t->policy)) {
		settle(t, h, DANE_UNASKED);
	} else if (!target->secure && !(target->mx_secure && target->canonical.n) && !counts_by_itself(t, target)) {
		settle(t, h, DANE_INSECURE);
	} else {
		h->host.unsigned_mx = !target->mx_secure;
		h->host.encrypt_only = h->host.unsigned_mx && t->remoted->conf->smtp_tls_dane_insecure_mx_policy == CONF_TLS_ENCRYPT;
		dane = !target->host_secure ? ask_alias(t, h) : ask_tlsa(t, h, target->canonical.n ? target->canonical : h->host.name);
		if (dane == DANE_UNASKED)
			return false;
		settle(t, h, dane);
	}
	return true;
}

const struct tlsplan *
tlslookup_plan(struct tlslookup *t, const struct destination_target *target)
{
	struct tlshost *h;

	if (t->asking || t->current)
		return NULL;
	h = host_for(t, target);
	if (!h)
		return &no_memory;
	return h->planned || plan(t, h, target) ? &h->plan : NULL;
}

/* --- life -------------------------------------------------------------------------------- */

static void
on_timer(struct timer *timer)
{
	struct tlslookup *t = OWNER_OF(timer, struct tlslookup, timer);
	struct tlshost *h = t->current;

	if (h) {
		lookup_cancel(&t->tlsa);
		h->host.why = SPAN("no answer from the resolver in time");
		settle(t, h, DANE_FAILED);
	} else {
		tlsask_cancel(&t->ask);
		if (t->for_sts) /* RFC 8461 3.3: as if there were no policy */
			note(t, "MTA-STS cannot be known: ", SPAN("no answer in time"));
		else
			(void)snprintf(t->refusal, sizeof(t->refusal), "smtp_tls_policy_maps: no answer in time");
	}
	ready(t);
}

void
tlslookup_start(struct tlslookup *t, struct remoted *r, struct span nexthop, const struct hop *hop, enum tlswish wish,
    struct arena *arena)
{
	void (*then)(struct tlslookup *) = t->on_ready;
	char ascii[DOMAIN_SIZE];
	struct span name;

	tlslookup_stop(t);
	*t = (struct tlslookup){ .remoted = r, .arena = arena, .hop = hop, .on_ready = then, .name = hop->name };
	t->ask.on_answer = on_answer;
	t->tlsa = (struct lookup){ .on_record = on_record, .on_done = on_done, .on_again = on_again };
	t->limit_ms = r->policy->lookup_ms;
	timer_init(&t->timer, r->loop, on_timer);
	if (hop->kind == HOP_UNIX)
		t->name = SPAN_NONE;
	else if (hop->kind != HOP_ADDRESS && domain_to_ascii(hop->name, ascii, &name))
		t->name = arena_dup(arena, name);
	t->policy.wish = wish;
	t->policy.level = policy_tls_level(r->conf, nexthop, hop);
	t->certificate = arena_dup(arena, policy_certificate(r->conf, nexthop));
	note(t, conf_route_for_hop(r->conf, nexthop) ? "the route block" : "smtp_tls_security_level", SPAN_NONE);
	if (hop->kind == HOP_UNIX || !r->conf->smtp_tls_policy_maps.n || !ask(t, &r->tables, nexthop, false))
		(void)ask_sts(t);
}

void
tlslookup_stop(struct tlslookup *t)
{
	if (!t->remoted)
		return;
	timer_stop(&t->timer);
	tlsask_cancel(&t->ask);
	lookup_cancel(&t->tlsa);
	t->asking = false;
	t->current = NULL;
}
