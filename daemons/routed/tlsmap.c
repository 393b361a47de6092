/* SPDX-License-Identifier: ISC */
#include "tlsmap.h"

#include "ipc/messages.h"
#include "routed.h"

enum { MEMORY = 256 * 1024 };

enum table_found
tlsmap_find(struct rules *rules, struct span nexthop, struct arena *arena, struct span *value, struct span *which, struct span *key, struct fail *why)
{
	enum table_found found = rules_lookup(rules, RULES_TLS_POLICY, rules_whole(nexthop), arena, value, which, why);
	bool plain = span_chr(nexthop, '[') == SIZE_MAX && span_chr(nexthop, ':') == SIZE_MAX;
	size_t dot;

	*key = nexthop;
	while (found == TABLE_NONE && plain && key->n && (dot = span_chr(span_from(*key, 1), '.')) != SIZE_MAX) {
		*key = span_from(*key, dot + 1);
		found = rules_lookup(rules, RULES_TLS_POLICY, rules_part(*key), arena, value, which, why);
	}
	return found;
}

static bool
on_tlspolicy_ask(struct channel *c, const struct ipc_tlspolicy_ask *m)
{
	struct service *s = channel_owner(c);
	struct routed *d = s->state;
	struct ipc_tlspolicy_answer a = { .id = m->id, .result = TLSPOLICY_NONE };
	struct span value, which, key;
	struct fail why = { .text = "" };
	struct arena mem;
	bool sent;

	if (!d) /* it stops */
		return true;
	rules_refresh(d->rules, loop_now_ms(d->service->loop));
	arena_init(&mem, MEMORY);
	switch (tlsmap_find(d->rules, m->name, &mem, &value, &which, &key, &why)) {
	case TABLE_NONE:
		break;
	case TABLE_FOUND:
		a.result = TLSPOLICY_FOUND;
		a.text = span_sub(value, 0, B_POLICY);
		a.why = arena_printf(&mem, "smtp_tls_policy_maps %.*s: %.*s", SPAN_ARG(which), SPAN_ARG(key));
		break;
	default:
		a.result = TLSPOLICY_FAILED;
		a.why = arena_printf(&mem, "smtp_tls_policy_maps: %s", why.text);
		break;
	}
	sent = ipc_send_tlspolicy_answer(c, &a);
	arena_free(&mem);
	return sent;
}

#define DISPATCH_DEF "ipc/tlspolicy.def"
#define DISPATCH_SIDE SERVER
#include "ipc/dispatch.h"

static void
on_closed(struct channel *c, const struct fail *why)
{
	log_put(LOG_channel, "tlspolicy: %s", why->text);
	channel_free(&c);
}

const struct channel_ops tlsmap_ops = { dispatch_tlspolicy, on_closed, NULL };

void
tlsmap_open(struct service *s, struct channel *c, struct span peer, unsigned instance)
{
	(void)s, (void)c, (void)peer, (void)instance; /* the owner is the service */
}
