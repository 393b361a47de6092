/* SPDX-License-Identifier: ISC */
#include "service/control.h"

#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "net/listener.h"
#include "service/handed.h"

struct control {
	struct list node;
	struct listener listener;
	struct service *service;
	const struct service_channel *channel;
};

static void
on_accept(struct listener *l, int fd, const struct netaddr *peer)
{
	struct control *control = OWNER_OF(l, struct control, listener);
	struct ucred who = { .uid = (uid_t)-1 };
	socklen_t len = sizeof(who);
	struct channel *c;

	(void)peer;
	if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &who, &len) < 0) {
		(void)close(fd);
		return;
	}
	c = handed_channel(control->service, control->channel, fd);
	if (c)
		control->channel->on_open(control->service, c, SPAN("control"), who.uid);
}

void
control_open(struct list *controls, struct service *s, const struct service_channel *sc, int fd)
{
	struct control *control = calloc(1, sizeof(*control));

	if (!control) {
		(void)close(fd);
		log_put(LOG_failure, "control socket %s: no memory", sc->type->name);
		return;
	}
	control->service = s;
	control->channel = sc;
	list_push(controls, &control->node);
	if (!listener_open(&control->listener, s->loop, fd, on_accept))
		log_put(LOG_failure, "control socket %s cannot be watched", sc->type->name);
}

void
control_close(struct list *controls)
{
	struct list *node;

	while ((node = list_shift(controls))) {
		struct control *control = OWNER_OF(node, struct control, node);

		listener_close(&control->listener);
		free(control);
	}
}
