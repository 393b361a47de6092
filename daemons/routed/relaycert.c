/* SPDX-License-Identifier: ISC */
#include "relaycert.h"

#include "net/fingerprint.h"

bool
relaycert_ask(struct routed *d, const struct ipc_rcpt_ask *m, bool *may)
{
	struct span prints[] = { m->certificate, m->key }, value, which;
	enum table_found found = TABLE_NONE;
	char text[FINGERPRINT_TEXT];
	struct arena mem;
	struct fail why;

	if (*may || !m->certificate.n || !rules_has_map(d->rules, RULES_RELAY_CERTS))
		return true;
	rules_refresh(d->rules, loop_now_ms(d->service->loop));
	arena_init(&mem, TABLE_VALUE_MAX);
	for (size_t i = 0; found == TABLE_NONE && i < sizeof(prints) / sizeof(*prints); i++)
		if (prints[i].n == FINGERPRINT)
			found = rules_lookup(d->rules, RULES_RELAY_CERTS, rules_whole(fingerprint_text((const uint8_t *)prints[i].p, text)), &mem, &value, &which, &why);
	if (found == TABLE_FAILED)
		log_put(LOG_failure, "relay_clientcerts: %s", why.text);
	*may = found == TABLE_FOUND;
	arena_free(&mem);
	return found != TABLE_FAILED;
}
