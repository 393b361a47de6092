/* SPDX-License-Identifier: ISC */
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "smtpd.h"

enum {
	TURNED_AWAY_MAX = 64, /* sessions beyond the limit, that are told so */
	PATIENT_MS = 100,     /* so long a connection is left to the other processes, which may have room */
};

/* OPEN: whoever comes is served. FULL: turned away. SHUT: waits in the backlog, as do
 * the programs of this host, at a UNIX socket, from FULL on. */
enum crowded { CROWDED_OPEN, CROWDED_FULL, CROWDED_SHUT };

static struct door *
find(struct smtpd *d, struct span name)
{
	LIST_EACH(&d->doors, it) {
		struct door *door = OWNER_OF(it, struct door, node);

		if (span_eq(span_str(door->name), name))
			return door;
	}
	return NULL;
}

static struct door *
door_new(struct smtpd *d, struct span name)
{
	struct door *door = calloc(1, sizeof(*door));

	if (!door)
		return NULL;
	door->smtpd = d;
	(void)span_cstr(name, door->name, sizeof(door->name));
	list_push(&d->doors, &door->node);
	return door;
}

static void
let_in(struct door *door)
{
	unsigned crowded = door->smtpd->crowded;

	listener_patient(&door->listener, crowded == CROWDED_FULL ? PATIENT_MS : 0);
	if (crowded == CROWDED_SHUT || (crowded == CROWDED_FULL && door->policy.local))
		listener_pause(&door->listener);
	else if (door->listener.paused)
		listener_resume(&door->listener);
}

void
door_open(struct smtpd *d, const struct conf_listener *block, int fd)
{
	struct door *door = find(d, block->name);

	/* A block may come twice: "*" is a socket for each address family. */
	if (!door || door->open)
		door = door_new(d, block->name);
	if (!door) {
		(void)close(fd);
		return;
	}
	policy_init(&door->policy, d->service->conf, block);
	door->open = listener_open(&door->listener, d->loop, fd, client_accept);
	if (!door->open)
		log_put(LOG_failure, "listener %s cannot be watched", door->name);
	else if (d->service->stopping)
		listener_pause(&door->listener);
	else
		let_in(door);
}

static void
door_free_if_unused(struct door *door)
{
	if (door->open || door->sessions)
		return;
	list_remove(&door->node);
	free(door);
}

void
door_release(struct door *door)
{
	door->sessions--;
	door_free_if_unused(door);
}

void
doors_close(struct smtpd *d)
{
	LIST_EACH(&d->doors, it) {
		struct door *door = OWNER_OF(it, struct door, node);

		if (door->open)
			listener_close(&door->listener);
		door->open = false;
		door_free_if_unused(door);
	}
}

static void
end_session_of(struct client *c, void *door)
{
	if (c->door != door)
		return;
	session_shutdown(&c->session);
	client_pump(c);
}

void
doors_reload(struct smtpd *d)
{
	const struct conf *conf = d->service->conf;

	doors_close(d);
	LIST_EACH(&d->doors, it) {
		struct door *door = OWNER_OF(it, struct door, node);
		const struct conf_listener *block = conf_listener_find(conf, span_str(door->name));

		if (block)
			policy_init(&door->policy, conf, block);
		else if (conf->nlisteners) {
			/* Until they are gone its sessions need some listener's settings; what they may do is told by their own. */
			door->policy.conf = conf;
			door->policy.listener = &conf->listeners[0];
			door->name[0] = '\0'; /* a listener that has this name later is another door */
			door->sessions++; /* the visits below may end the last one */
			arrivals_end(d, door);
			clients_each(d, end_session_of, door);
			door_release(door);
		}
	}
}

bool
door_full(const struct door *door)
{
	return door->smtpd->nclients > door->smtpd->limit && !door->policy.local;
}

void
doors_balance(struct smtpd *d)
{
	uint8_t crowded = d->nclients < d->limit ? CROWDED_OPEN : d->nclients < d->limit + TURNED_AWAY_MAX ? CROWDED_FULL : CROWDED_SHUT;

	limit_count(d->service->loop, LIMIT_smtpd_session_limit, d->nclients, d->limit);
	if (crowded == d->crowded || d->service->stopping)
		return;
	if (d->crowded == CROWDED_OPEN) {
		limit_reached(d->service->loop, LIMIT_smtpd_session_limit, d->limit, SPAN("all clients"));
		log_put(LOG_limit, "smtpd_session_limit: %zu sessions; more are turned away", d->nclients);
	}
	d->crowded = crowded;
	LIST_EACH(&d->doors, it) {
		struct door *door = OWNER_OF(it, struct door, node);

		if (door->open)
			let_in(door);
	}
}
