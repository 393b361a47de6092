/* SPDX-License-Identifier: ISC */
#include "service/early.h"

#include <stdlib.h>
#include <unistd.h>

#include "base/list.h"

struct early {
	struct list node;
	bool listener;
	union {
		struct ipc_ctl_peer peer;
		struct ipc_ctl_listener listen;
	} as; /* but for its texts: */
	char channel[B_NAME + 1], name[B_NAME + 1];
	int fd;
};

static struct early *
keep(struct list *early, struct span name, int fd)
{
	struct early *e = calloc(1, sizeof(*e));

	if (!e) {
		(void)close(fd);
		return NULL;
	}
	(void)span_cstr(name, e->name, sizeof(e->name));
	e->fd = fd;
	list_push(early, &e->node);
	return e;
}

bool
early_peer(struct list *early, const struct ipc_ctl_peer *m, int fd)
{
	struct early *e = keep(early, m->name, fd);

	if (!e)
		return false;
	e->as.peer = *m;
	(void)span_cstr(m->channel, e->channel, sizeof(e->channel));
	return true;
}

bool
early_listener(struct list *early, const struct ipc_ctl_listener *m, int fd)
{
	struct early *e = keep(early, m->name, fd);

	if (!e)
		return false;
	e->listener = true;
	e->as.listen = *m;
	return true;
}

void
early_hand_on(struct list *early, struct channel *ctl, bool (*on_peer)(struct channel *, const struct ipc_ctl_peer *, int),
    bool (*on_listener)(struct channel *, const struct ipc_ctl_listener *, int))
{
	struct list *node;

	while ((node = list_shift(early))) {
		struct early *e = OWNER_OF(node, struct early, node);

		if (e->listener) {
			e->as.listen.name = span_str(e->name);
			(void)on_listener(ctl, &e->as.listen, e->fd);
		} else {
			e->as.peer.channel = span_str(e->channel);
			e->as.peer.name = span_str(e->name);
			(void)on_peer(ctl, &e->as.peer, e->fd);
		}
		free(e);
	}
}
