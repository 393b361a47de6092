/* SPDX-License-Identifier: ISC */
#include "service/lookup.h"

static bool
send_ask(struct inquiry *q, struct channel *channel)
{
	struct lookup *l = OWNER_OF(q, struct lookup, inquiry);

	return ipc_send_dns_ask(channel, &(struct ipc_dns_ask){ .id = q->id, .type = l->type, .name = span_str(l->name) });
}

static void
on_again(struct inquiry *q)
{
	struct lookup *l = OWNER_OF(q, struct lookup, inquiry);

	l->on_again(l);
}

const struct inquiry_ops lookup_ops = { "dnsd", send_ask, on_again };

bool
lookup_start(struct inquirer *dns, struct lookup *l, uint8_t type, struct span name)
{
	if (!span_cstr(name, l->name, sizeof(l->name)))
		return false;
	l->type = type;
	inquiry_start(dns, &l->inquiry);
	return true;
}

void
lookup_cancel(struct lookup *l)
{
	inquiry_cancel(&l->inquiry);
}

static bool
find(struct channel *channel, uint64_t id, struct lookup **l)
{
	struct inquiry *q;
	bool asked = inquiry_find(channel, id, &q);

	*l = q ? OWNER_OF(q, struct lookup, inquiry) : NULL;
	return asked;
}

static bool
on_dns_record(struct channel *c, const struct ipc_dns_record *m)
{
	struct lookup *l;

	if (!find(c, m->id, &l))
		return false;
	if (l && l->type == m->type)
		l->on_record(l, m);
	return true;
}

static bool
on_dns_done(struct channel *c, const struct ipc_dns_done *m)
{
	struct lookup *l;

	if (!find(c, m->id, &l))
		return false;
	if (l) {
		lookup_cancel(l);
		l->on_done(l, m);
	}
	return true;
}

#define DISPATCH_DEF "ipc/dns.def"
#define DISPATCH_SIDE CLIENT
#include "ipc/dispatch.h"

const struct channel_ops lookup_channel_ops = { dispatch_dns, inquirer_on_closed, NULL };
