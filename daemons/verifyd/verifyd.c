/* SPDX-License-Identifier: ISC */
#include "verifyd.h"

#include <stdlib.h>

#include "mail/status.h"
#include "visit.h"

static struct visit *
visit_of(struct channel *c, uint64_t id)
{
	return visit_find(channel_owner(c), id);
}

/* ---- smtpd ---- */

static bool
on_filter_mail(struct channel *c, const struct ipc_filter_mail *m)
{
	struct front *f = channel_owner(c);
	struct visit *v = visit_find(f, m->id);

	if (!v)
		v = visit_new(f, m->id);
	return v && visit_mail(v, m);
}

static bool
on_filter_rcpt(struct channel *c, const struct ipc_filter_rcpt *m)
{
	struct visit *v = visit_of(c, m->id);

	return v && visit_ask(v, m->question, VISIT_RCPT, m->address);
}

static bool
on_filter_data(struct channel *c, const struct ipc_filter_data *m)
{
	struct visit *v = visit_of(c, m->id);

	return v && visit_data(v, m);
}

static bool
on_filter_content(struct channel *c, const struct ipc_filter_content *m)
{
	struct visit *v = visit_of(c, m->id);

	return v && v->facts.queue_id[0] && letter_put(v, m->bytes);
}

/* What filters cannot be shown whole is refused: it must not pass by them. */
static bool
on_filter_end(struct channel *c, const struct ipc_filter_end *m)
{
	struct visit *v = visit_of(c, m->id);
	struct fail why;
	bool whole;

	if (!v || !v->facts.queue_id[0] || v->letter.editing || !list_empty(&v->questions))
		return false;
	whole = letter_whole(v, m->hidden, &why);
	if (!whole) {
		visit_refuse(v, v->letter.failed ? STATUS_SYSTEM_LOCAL_TEMP : STATUS_CONTENT, 0, SPAN_NONE);
		visit_why(v, SPAN("verifyd"), "%s", why.text);
	}
	return visit_ask(v, m->question, VISIT_END, SPAN_NONE);
}

static bool
on_filter_pull(struct channel *c, const struct ipc_filter_pull *m)
{
	struct visit *v = visit_of(c, m->id);

	return v && letter_send_back(v);
}

static bool
on_filter_reset(struct channel *c, const struct ipc_filter_reset *m)
{
	struct visit *v = visit_of(c, m->id);

	if (v)
		visit_reset(v);
	return v != NULL;
}

static bool
on_filter_close(struct channel *c, const struct ipc_filter_close *m)
{
	struct visit *v = visit_of(c, m->id);

	if (v)
		visit_free(v);
	return v != NULL;
}

#define DISPATCH_DEF "ipc/filter.def"
#define DISPATCH_SIDE SERVER
#include "ipc/dispatch.h"

static void
free_visit(struct map_node *node, void *arg)
{
	(void)arg;
	visit_free(OWNER_OF(node, struct visit, by_id));
}

static void
front_free(struct front *f)
{
	map_each(&f->visits, free_visit, NULL);
	map_free(&f->visits);
	list_remove(&f->node);
	channel_free(&f->channel);
	free(f);
}

static void
on_filter_closed(struct channel *c, const struct fail *why)
{
	struct front *f = channel_owner(c);

	if (!f->verifyd->service->stopping)
		log_put(LOG_channel, "smtpd: %s", why->text);
	front_free(f);
}

static void
on_filter_open(struct service *s, struct channel *c, struct span peer, unsigned instance)
{
	struct verifyd *d = s->state;
	struct front *f = calloc(1, sizeof(*f));

	(void)peer, (void)instance;
	if (!f) {
		channel_give_up(&c);
		return;
	}
	f->verifyd = d;
	f->channel = c;
	map_init(&f->visits);
	list_push(&d->fronts, &f->node);
	channel_set_owner(c, f);
}

/* ---- life ---- */

static bool
on_boot(struct service *s, struct fail *why)
{
	struct verifyd *d = calloc(1, sizeof(*d));

	if (!d)
		return fail_set(why, FAIL_TEMP, 0, "no memory");
	d->service = s;
	list_init(&d->fronts);
	names_init(&d->names, s->loop);
	(void)service_data_path(s, d->directory);
	s->state = d;
	return true;
}

static bool
on_start(struct service *s, struct fail *why)
{
	struct verifyd *d = s->state;

	(void)why;
	names_configure(&d->names, s->conf);
	return true;
}

static void
on_reload(struct service *s, const struct conf *old)
{
	struct verifyd *d = s->state;

	(void)old;
	names_configure(&d->names, s->conf);
}

static void
on_dns_open(struct service *s, struct channel *c, struct span peer, unsigned instance)
{
	struct verifyd *d = s->state;

	(void)peer, (void)instance;
	inquirer_open(&d->names.dns, c);
}

static void
on_state(struct service *s, struct buf *out)
{
	const struct verifyd *d = s->state;

	buf_printf(out, "sessions=%zu questions=%llu changed=%llu refused=%llu failures=%llu", d->visits, (unsigned long long)d->questions,
	    (unsigned long long)d->changed, (unsigned long long)d->refused, (unsigned long long)d->failures);
}

static const struct channel_ops filter_ops = { dispatch_filter, on_filter_closed, NULL };

static const struct service_channel channels[] = {
	{ &ipc_channel_filter, CHANNEL_SERVER, &filter_ops, on_filter_open },
	{ &ipc_channel_dns, CHANNEL_CLIENT, &lookup_channel_ops, on_dns_open },
};

const struct service_ops verifyd_ops = {
	.name = "verifyd",
	.see = CONF_VERIFYD,
	.channels = channels,
	.nchannels = sizeof(channels) / sizeof(*channels),
	.on_boot = on_boot,
	.on_start = on_start,
	.on_reload = on_reload,
	.on_state = on_state,
};
