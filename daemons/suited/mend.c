/* SPDX-License-Identifier: ISC
 *
 * mend: a daemon has closed a channel because a sibling broke its rules, or has no memory for
 * one, or suited had no descriptors when it was to have one.  Both live, so
 * nobody would ever give them another; suited does, a moment later, so that a sibling which does it
 * again and again costs little.  Who claims so falsely loses its own channel, and nothing else: its
 * sibling closes the one that it has when the next one comes (peer.mended).
 */
#include <stdlib.h>
#include <string.h>

#include "daemons/suited/suite.h"
#include "log/log.h"

enum { MEND_MS = 1000 };

/* It does not read what it has been told: another channel would only be a descriptor that we keep for it. */
static bool
is_deaf(const struct process *p)
{
	return p->ctl && channel_blocked(p->ctl);
}

static void
on_mend(struct timer *t)
{
	struct suite *s = OWNER_OF(t, struct suite, mend);

	LIST_EACH(&s->broken, it) {
		struct broken *b = OWNER_OF(it, struct broken, node);

		if (is_deaf(b->client) || is_deaf(b->server))
			continue;
		if (!s->stopping && !suite_wire(b->client, b->server, b->channel, true))
			continue;
		list_remove(it);
		free(b);
	}
	if (!list_empty(&s->broken))
		(void)timer_set(t, MEND_MS);
}

void
mend_init(struct suite *s)
{
	list_init(&s->broken);
	timer_init(&s->mend, s->loop, on_mend);
}

static struct process *
process_named(struct suite *s, struct span name, unsigned instance)
{
	for (unsigned i = 0; i < s->nprocesses; i++)
		if (s->processes[i].instance == instance && span_eq(name, span_str(s->processes[i].row->name)))
			return &s->processes[i];
	return NULL;
}

/* At most one for each channel that there is. */
static bool
is_known(const struct suite *s, const struct broken *b)
{
	LIST_EACH(&s->broken, it) {
		const struct broken *other = OWNER_OF(it, struct broken, node);

		if (other->client == b->client && other->server == b->server && other->channel == b->channel)
			return true;
	}
	return false;
}

bool
mend_later(struct process *client, struct process *server, const char *channel)
{
	struct suite *s = client->suite;
	struct broken b = { .client = client, .server = server, .channel = channel }, *kept;

	if (s->stopping || is_known(s, &b) || !(kept = calloc(1, sizeof(*kept))))
		return false;
	*kept = b;
	list_push(&s->broken, &kept->node);
	if (!timer_running(&s->mend))
		(void)timer_set(&s->mend, MEND_MS);
	return true;
}

bool
on_ctl_broken(struct channel *c, const struct ipc_ctl_broken *m)
{
	struct process *p = channel_owner(c), *peer = process_named(p->suite, m->name, m->instance);
	struct process *client = m->client ? p : peer, *server = m->client ? peer : p;
	const char *channel;

	if (!peer)
		return span_eq(m->name, SPAN("maild")); /* whose channel with userd ends userd */
	channel = suite_channel(m->channel, client, server);
	if (channel && mend_later(client, server, channel))
		log_put(LOG_channel, "%s between %s %s and %s %s: %s has closed it, both get another", channel, client->row->name, client->label,
		    server->row->name, server->label, p->row->name);
	return channel != NULL;
}
