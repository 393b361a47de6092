/* SPDX-License-Identifier: ISC */
#include "daemons/remoted/tlsask.h"

static bool
send_ask(struct inquiry *q, struct channel *channel)
{
	struct tlsask *a = OWNER_OF(q, struct tlsask, inquiry);

	return ipc_send_tlspolicy_ask(channel, &(struct ipc_tlspolicy_ask){ .id = q->id, .name = span_str(a->name) });
}

const struct inquiry_ops tlsask_routed = { "routed", send_ask, NULL }, tlsask_stsd = { "stsd", send_ask, NULL };

bool
tlsask_start(struct inquirer *peer, struct tlsask *a, struct span name)
{
	if (!span_cstr(name, a->name, sizeof(a->name)))
		return false;
	inquiry_start(peer, &a->inquiry);
	return true;
}

void
tlsask_cancel(struct tlsask *a)
{
	inquiry_cancel(&a->inquiry);
}

static bool
on_tlspolicy_answer(struct channel *channel, const struct ipc_tlspolicy_answer *m)
{
	struct inquiry *q;
	struct tlsask *a;

	if (!inquiry_find(channel, m->id, &q))
		return false;
	a = q ? OWNER_OF(q, struct tlsask, inquiry) : NULL;
	if (a) {
		tlsask_cancel(a);
		a->on_answer(a, m);
	}
	return true;
}

#define DISPATCH_DEF "ipc/tlspolicy.def"
#define DISPATCH_SIDE CLIENT
#include "ipc/dispatch.h"

const struct channel_ops tlsask_channel_ops = { dispatch_tlspolicy, inquirer_on_closed, NULL };
