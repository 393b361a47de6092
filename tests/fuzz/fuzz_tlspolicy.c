/* SPDX-License-Identifier: ISC
 *
 * What a table, stsd and the DNS may say of how a host is spoken to. Whatever it is: where
 * proof is asked for, no plan does without.
 * Input: five octets of facts, then lines: table value, stsd's answer, next hop, host.
 */
#include <stdlib.h>

#include "daemons/remoted/tlspolicy.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void
check(const struct tlspolicy *p, const struct tlspolicy_sts *sts, const struct tlspolicy_host *host, const struct tlsplan *plan)
{
	bool by_dns = tlspolicy_wants_dane(p) && host->dane == DANE_USABLE;

	if (plan->skip)
		return;
	if (plan->nnames > TLSPOLICY_NAMES || (by_dns && plan->level != TLS_LEVEL_DANE))
		abort();
	if (p->level == CONF_TLS_ENCRYPT && plan->level < TLS_LEVEL_ENCRYPT)
		abort();
	if ((p->level == CONF_TLS_VERIFY || p->level == CONF_TLS_SECURE) && plan->level < TLS_LEVEL_VERIFY)
		abort();
	if (p->level == CONF_TLS_DANE_ONLY && (plan->level != TLS_LEVEL_DANE || host->dane != DANE_USABLE))
		abort();
	if (tlspolicy_wants_sts(p) && sts->mode == STS_ENFORCE && ((!by_dns && plan->level < TLS_LEVEL_VERIFY) || !tlspolicy_sts_has(sts, host->name)))
		abort();
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const struct tls_tlsa records[2];
	struct span rest, value, answer, nexthop;
	struct tlspolicy policy = { .level = CONF_TLS_MAY };
	struct tlspolicy_sts sts = { .mode = STS_NONE };
	struct tlspolicy_host host;
	struct tlsplan plan;
	struct arena arena;
	struct fail why;

	if (size < 5)
		return 0;
	rest = span_of(data + 5, size - 5);
	value = span_cut(&rest, '\n');
	answer = span_cut(&rest, '\n');
	nexthop = span_cut(&rest, '\n');
	host = (struct tlspolicy_host){ .name = rest, .base = rest, .secure = data[0] & 1, .forged = data[0] & 2, .dane = (enum tlspolicy_dane)(data[1] % 6),
		.tlsa = records };
	host.ntlsa = host.dane == DANE_USABLE ? 2 : 0;
	arena_init(&arena, 1 << 20);
	if (!value.n || tlspolicy_parse(value, &policy, &why)) {
		policy.wish = (enum tlswish)(data[2] % 3);
		if (tlspolicy_wants_dane(&policy) && host.dane == DANE_UNASKED)
			host.dane = DANE_FAILED;
		(void)tlspolicy_sts_parse(answer, &sts);
		tlspolicy_plan(&policy, &sts, &host, nexthop, &arena, &plan);
		if (policy.wish != TLSWISH_OPTIONAL)
			check(&policy, &sts, &host, &plan);
	}
	arena_free(&arena);
	return 0;
}
