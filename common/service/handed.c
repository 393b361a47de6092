/* SPDX-License-Identifier: ISC */
#include "service/handed.h"

#include <stdlib.h>
#include <unistd.h>

#include "log/log.h"
#include "service/service.h"
#include "sys/box.h"
#include "sys/limits.h"

bool
handed_limits(struct channel *c, const struct ipc_ctl_limits *m)
{
	const struct limit_use *uses = loop_limits(channel_loop(c));

	for (uint32_t i = 0; i < LIMIT_COUNT; i++) {
		const struct limit_use *u = &uses[i];
		struct ipc_ctl_limit row = { .id = m->id, .row = i, .bound = u->bound, .used = u->use, .peak = u->peak, .hits = u->hits,
			.last_ms = (uint64_t)u->last_ms, .who = span_str(u->who) };

		if (u->bound && !ipc_send_ctl_limit(c, &row))
			return false;
	}
	return ipc_send_ctl_limits_done(c, &(struct ipc_ctl_limits_done){ .id = m->id });
}

/* The process's own, for as long as it lives. */
static struct box *
box_of(struct loop *loop)
{
	struct box **box = loop_box(loop);

	if (!*box && (*box = calloc(1, sizeof(**box))))
		box_init(*box);
	return *box;
}

void
handed_box(struct loop *loop, int fd)
{
	struct box *box = box_of(loop);

	if (!box)
		(void)close(fd);
	else if (!box_take(box, fd))
		log_put(LOG_degraded, "no page to say whom it works for: no peer is ever to blame");
}

bool
handed_suspect(struct loop *loop, const struct ipc_ctl_suspect *m)
{
	struct box *box = box_of(loop);
	struct box_name name;

	if (!box_name_parse(m->peer, &name))
		return false;
	if (!box || !box_set(box, name, (enum box_level)m->level))
		log_put(LOG_failure, "no room for the peer %.*s", SPAN_ARG(m->peer));
	return true;
}

/* The sibling at the other end of a channel. */
struct sibling {
	struct list node; /* of the service's */
	struct channel_note note;
	const struct service *service;
	struct channel *channel;
	bool client; /* we are */
	unsigned instance;
	char name[B_NAME + 1];
};

static void
ask_for_another(const struct service *s, const struct ipc_channel *type, bool client, struct span name, unsigned instance)
{
	(void)ipc_send_ctl_broken(s->ruler, &(struct ipc_ctl_broken){ .channel = span_str(type->name), .client = client, .name = name, .instance = instance });
}

static void
on_violation(struct channel *c, struct channel_note *note)
{
	const struct sibling *s = OWNER_OF(note, struct sibling, note);

	ask_for_another(s->service, channel_type(c), s->client, span_str(s->name), s->instance);
}

static void
on_freed(struct channel_note *note)
{
	struct sibling *s = OWNER_OF(note, struct sibling, note);

	list_remove(&s->node);
	free(s);
}

struct channel *
handed_channel(struct service *s, const struct service_channel *sc, int fd)
{
	struct channel *c = channel_new(s->loop, fd, sc->type, sc->side, sc->ops, s);

	if (!c)
		log_put(LOG_failure, "channel %s: no memory", sc->type->name);
	return c;
}

static bool
note_sibling(struct service *service, struct channel *c, const struct ipc_ctl_peer *m)
{
	struct sibling *s = calloc(1, sizeof(*s));

	if (!s)
		return false;
	*s = (struct sibling){ .note = { on_violation, on_freed }, .service = service, .channel = c, .client = m->client, .instance = m->instance };
	(void)span_cstr(m->name, s->name, sizeof(s->name));
	list_push(&service->siblings, &s->node);
	channel_set_note(c, &s->note);
	return true;
}

/* The channel whose place that one takes; NULL: it is gone already. */
static struct channel *
find_channel(const struct service *service, const struct service_channel *sc, const struct ipc_ctl_peer *m)
{
	LIST_EACH(&service->siblings, it) {
		const struct sibling *s = OWNER_OF(it, struct sibling, node);

		if (channel_type(s->channel) == sc->type && s->client == m->client && s->instance == m->instance && span_eq(m->name, span_str(s->name)))
			return s->channel;
	}
	return NULL;
}

/* The sibling may have said falsely that it has closed it: what it does not close we do, or it had us keep them all. */
static void
close_old(const struct service *service, const struct service_channel *sc, const struct ipc_ctl_peer *m)
{
	struct channel *old = find_channel(service, sc, m);
	struct fail why;

	if (old)
		channel_catch_up(old);
	old = find_channel(service, sc, m);
	(void)fail_set(&why, FAIL_PEER, 0, "channel %s: another takes its place", sc->type->name);
	if (old)
		sc->ops->on_closed(old, &why);
}

void
handed_sibling(struct service *s, const struct service_channel *sc, int fd, const struct ipc_ctl_peer *m)
{
	struct channel *c;

	if (m->mended)
		close_old(s, sc, m);
	c = handed_channel(s, sc, fd);
	if (!c || !note_sibling(s, c, m)) { /* both live: nobody else would ask */
		channel_free(&c);
		ask_for_another(s, sc->type, m->client, m->name, m->instance);
		return;
	}
	sc->on_open(s, c, m->name, m->instance);
}
