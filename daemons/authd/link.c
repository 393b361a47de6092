/* SPDX-License-Identifier: ISC */
#include <stdlib.h>

#include "daemons/authd/authd.h"
#include "net/sasl.h"

struct link *
link_new(struct authd *a, struct channel *c)
{
	struct link *l = calloc(1, sizeof(*l));

	if (l) {
		l->authd = a;
		l->channel = c;
		l->refs = 1;
		list_push(&a->links, &l->node);
	}
	return l;
}

void
link_unref(struct link *l)
{
	if (--l->refs > 0)
		return;
	list_remove(&l->node);
	free(l);
}

void
link_closed(struct link *l)
{
	channel_free(&l->channel);
	link_unref(l);
}

struct password_cost
authd_cost(const struct authd *a)
{
	const struct conf *conf = a->service->conf;

	return (struct password_cost){
		.kind = conf->auth_password_hash == CONF_HASH_YESCRYPT ? PASSWORD_YESCRYPT : PASSWORD_ARGON2ID,
		.memory_kib = (uint32_t)(conf->auth_hash_memory / 1024 < UINT32_MAX ? conf->auth_hash_memory / 1024 : UINT32_MAX),
	};
}

uint32_t
authd_scram_iterations(const struct authd *a)
{
	const struct conf *conf = a->service->conf;

	return sasl_set(conf->auth_mechanisms.items, conf->auth_mechanisms.n) & SASL_SCRAM ? (uint32_t)conf->auth_scram_iterations : 0;
}
