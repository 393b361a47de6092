/* SPDX-License-Identifier: ISC */
#include "service/control.h"

#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "service/handed.h"

struct control {
	struct list node;
	struct watch watch;
	struct service *service;
	const struct service_channel *channel;
};

static void
on_ready(struct watch *w, unsigned ready)
{
	struct control *control = OWNER_OF(w, struct control, watch);
	struct ucred who = { .uid = (uid_t)-1 };
	socklen_t len = sizeof(who);
	struct channel *c;
	int fd = accept4(w->fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);

	(void)ready;
	if (fd < 0)
		return;
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
	watch_init(&control->watch, s->loop, fd, on_ready);
	list_push(controls, &control->node);
	if (!watch_want(&control->watch, WATCH_READ))
		log_put(LOG_failure, "control socket %s cannot be watched", sc->type->name);
}

void
control_close(struct list *controls)
{
	struct list *node;

	while ((node = list_shift(controls))) {
		struct control *control = OWNER_OF(node, struct control, node);

		watch_stop(&control->watch);
		(void)close(control->watch.fd);
		free(control);
	}
}
