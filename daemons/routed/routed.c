/* SPDX-License-Identifier: ISC */
#include "routed.h"

#include "tlsmap.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void
on_table_event(void *arg, const char *text)
{
	(void)arg;
	log_put(LOG_table, "%s", text);
}

static struct rules *
read_rules(struct routed *d, struct fail *why)
{
	return rules_new(d->service->conf, service_data_path(d->service, d->data), on_table_event, d, why);
}

static bool
on_boot(struct service *s, struct fail *why)
{
	struct routed *d = calloc(1, sizeof(*d));

	if (!d)
		return fail_set(why, FAIL_TEMP, 0, "out of memory");
	s->state = d;
	d->service = s;
	list_init(&d->clients);
	users_init(&d->users, s->loop);
	rates_init(&d->rates);
	full_init(&d->full);
	arena_init(&d->paths, 1024 * 1024);
	repute_init(&d->repute, s->loop);
	greylist_init(&d->greylist, s->loop, s->conf);
	verify_init(&d->verify, s->loop, s->conf);
	d->rules = read_rules(d, why);
	return d->rules != NULL;
}

/* What is missing here makes the host less picky, never deaf. */
static void
configure_strangers(struct routed *d)
{
	const struct conf *conf = d->service->conf;
	struct fail why;

	if (!repute_configure(&d->repute, &conf->smtpd_dnsbl_sites))
		log_put(LOG_failure, "out of memory: no DNS lists are asked");
	d->greylist.conf = conf;
	if (!conf->smtpd_greylist)
		memo_close(&d->greylist.memo);
	else if (!memo_open(&d->greylist.memo, d->greylist_dir, &why))
		log_put(LOG_failure, "%s cannot be used, nobody is put off: %s", d->greylist_dir, why.text);
	verify_configure(&d->verify, conf, d->verify_dir);
}

static void
on_sandbox(struct service *s, struct sandbox *walls)
{
	struct routed *d = s->state;
	size_t n = rules_paths(d->rules, &d->paths, d->readable, SANDBOX_PATHS - 1);

	for (size_t i = 0; i < n; i++)
		walls->read[i] = d->readable[i];
	(void)snprintf(d->greylist_dir, sizeof(d->greylist_dir), "%s/greylist", d->data);
	(void)snprintf(d->verify_dir, sizeof(d->verify_dir), "%s/verify", d->data);
}

static bool
on_start(struct service *s, struct fail *why)
{
	struct routed *d = s->state;

	(void)why;
	rules_refresh(d->rules, loop_now_ms(s->loop));
	configure_strangers(d);
	return true;
}

/* The sandbox was built for the tables of the first configuration. */
static bool
all_readable(struct routed *d)
{
	const char *needed[SANDBOX_PATHS];
	size_t n = rules_paths(d->rules, &d->paths, needed, SANDBOX_PATHS - 1);

	for (size_t i = 0; i < n; i++) {
		bool covered = false;

		for (size_t j = 0; j < SANDBOX_PATHS && d->readable[j]; j++)
			covered |= rules_path_covers(d->readable[j], needed[i]);
		if (!covered)
			return false;
	}
	return true;
}

static void
on_reload(struct service *s, const struct conf *old)
{
	struct routed *d = s->state;
	struct rules *before = d->rules;
	struct fail why;

	(void)old;
	d->rules = read_rules(d, &why);
	if (!d->rules) {
		log_put(LOG_failure, "%s", why.text);
		service_exit(s); /* a fresh start has the memory, or waits for it */
		return;
	}
	if (all_readable(d)) {
		rules_refresh(d->rules, loop_now_ms(s->loop));
		configure_strangers(d);
		request_restart_all(d);
	} else {
		log_put(LOG_table, "tables in places outside this sandbox: starting anew");
		service_exit(s);
	}
	rules_free(&before);
}

static void
on_state(struct service *s, struct buf *out)
{
	const struct routed *d = s->state;

	buf_printf(out, "checked=%" PRIu64 " resolved=%" PRIu64 " users_known=%zu", d->checked, d->resolved,
	    d->users.ncached);
}

static void
on_stop(struct service *s)
{
	struct routed *d = s->state;

	request_drop_all(d);
	repute_free(&d->repute);
	memo_close(&d->greylist.memo);
	verify_free(&d->verify);
	users_free(&d->users);
	rates_free(&d->rates);
	full_free(&d->full);
	rules_free(&d->rules);
	arena_free(&d->paths);
	free(d);
	s->state = NULL;
	service_exit(s);
}

static void
on_users_open(struct service *s, struct channel *c, struct span peer, unsigned instance)
{
	struct routed *d = s->state;

	(void)peer, (void)instance;
	users_open(&d->users, c);
}

static void
on_dns_open(struct service *s, struct channel *c, struct span peer, unsigned instance)
{
	struct routed *d = s->state;

	(void)peer, (void)instance;
	inquirer_open(&d->repute.dns, c);
}

static void
on_callout_open(struct service *s, struct channel *c, struct span peer, unsigned instance)
{
	struct routed *d = s->state;

	(void)peer;
	callouts_open(&d->verify.callouts, c, instance);
}

static const struct service_channel channels[] = {
	{ &ipc_channel_rcpt, CHANNEL_SERVER, &request_rcpt_ops, request_client_open },
	{ &ipc_channel_route, CHANNEL_SERVER, &request_route_ops, request_client_open },
	{ &ipc_channel_route_admin, CHANNEL_SERVER, &request_admin_ops, request_client_open },
	{ &ipc_channel_tlspolicy, CHANNEL_SERVER, &tlsmap_ops, tlsmap_open },
	{ &ipc_channel_users, CHANNEL_CLIENT, &users_ops, on_users_open },
	{ &ipc_channel_dns, CHANNEL_CLIENT, &lookup_channel_ops, on_dns_open },
	{ &ipc_channel_callout, CHANNEL_CLIENT, &callout_channel_ops, on_callout_open },
};

const struct service_ops routed_ops = {
	.name = "routed",
	.see = CONF_ROUTED,
	.channels = channels,
	.nchannels = sizeof(channels) / sizeof(channels[0]),
	.on_boot = on_boot,
	.on_sandbox = on_sandbox,
	.on_start = on_start,
	.on_reload = on_reload,
	.on_stop = on_stop,
	.on_state = on_state,
};
