/* SPDX-License-Identifier: ISC
 *
 * arrival: a connection from a load balancer (proxy_hosts), until its PROXY
 * header has said whose it is. Not one byte behind the header is read here: it may be
 * TLS already.
 */
#include <errno.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "net/proxy.h"
#include "smtpd.h"

enum { ARRIVAL_MS = 10 * 1000 };

struct arrival {
	struct list node;
	struct watch watch;
	struct timer timer;
	struct door *door;
	struct netaddr from;
	struct proxy proxy;
	int fd;
};

static void
arrival_free(struct arrival *a)
{
	struct door *door = a->door;

	watch_stop(&a->watch);
	timer_stop(&a->timer);
	list_remove(&a->node);
	if (a->fd >= 0)
		(void)close(a->fd);
	free(a);
	door_release(door);
}

static void
fail(struct arrival *a, const char *why)
{
	char text[NETADDR_TEXT];

	log_put(LOG_limit, "client=%.*s dropped: PROXY header: %s", SPAN_ARG(netaddr_text(&a->from, text)), why);
	arrival_free(a);
}

static void
on_timer(struct timer *t)
{
	fail(OWNER_OF(t, struct arrival, timer), "timeout");
}

static void
arrived(struct arrival *a)
{
	struct door *door = a->door;
	struct netaddr peer = a->proxy.peer.len ? a->proxy.peer : a->from;
	int fd = a->fd;

	watch_stop(&a->watch);
	a->fd = -1;
	client_begin(door, fd, &peer);
	arrival_free(a);
}

static void
on_ready(struct watch *w, unsigned ready)
{
	struct arrival *a = OWNER_OF(w, struct arrival, watch);
	char bytes[PROXY_MAX];
	ssize_t n = recv(a->fd, bytes, sizeof(bytes), MSG_PEEK | MSG_DONTWAIT);
	enum proxy_step step;
	size_t use = 0;

	(void)ready;
	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	if (n <= 0) {
		fail(a, "connection lost");
		return;
	}
	step = proxy_next(&a->proxy, span_of(bytes, (size_t)n), &use);
	if (use && recv(a->fd, bytes, use, MSG_DONTWAIT) != (ssize_t)use)
		step = PROXY_BAD;
	if (step == PROXY_BAD)
		fail(a, "malformed");
	else if (step == PROXY_DONE)
		arrived(a);
}

void
arrival_begin(struct door *door, int fd, const struct netaddr *from)
{
	struct smtpd *d = door->smtpd;
	struct arrival *a = calloc(1, sizeof(*a));

	if (!a) {
		(void)close(fd);
		return;
	}
	a->door = door;
	a->fd = fd;
	a->from = *from;
	door->sessions++;
	list_push(&d->arrivals, &a->node);
	watch_init(&a->watch, d->loop, fd, on_ready);
	timer_init(&a->timer, d->loop, on_timer);
	if (!watch_want(&a->watch, WATCH_READ) || !timer_set(&a->timer, ARRIVAL_MS))
		fail(a, "cannot be waited for");
}

void
arrivals_end(struct smtpd *d, const struct door *door)
{
	LIST_EACH(&d->arrivals, it) {
		struct arrival *a = OWNER_OF(it, struct arrival, node);

		if (!door || a->door == door)
			arrival_free(a);
	}
}
