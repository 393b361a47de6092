/* SPDX-License-Identifier: ISC */
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "tests/siblings/siblings.h"

enum { ROOM = 1 << 20, FLOOD = 400, PACKETS_A_ROUND = 16 };

struct end *
end_new(struct rig *r, enum end_kind kind, const struct ipc_channel *type, enum channel_side side, const char *peer, int fd)
{
	struct end *e = r->nends < ENDS && fd >= 0 ? calloc(1, sizeof(*e)) : NULL;

	if (!e) {
		if (fd >= 0)
			(void)close(fd);
		return NULL;
	}
	*e = (struct end){ .kind = kind, .type = type, .side = side, .peer = peer, .fd = fd };
	for (size_t i = 0; i < CONVS; i++)
		e->convs[i] = (struct conv){ .id = ++e->next_id, .state = type == &ipc_channel_ctl ? CONV_OPEN : CONV_NONE };
	buf_init(&e->pending, 2 * ROOM);
	if (kind == END_WIRE && (e->tally = tally_of(r, type, peer)))
		e->tally->serves = side == CHANNEL_SERVER;
	if (kind == END_CTL || kind == END_TOOL || r->polite || rnd(r, 400))
		frame_put_hello(&e->pending); /* the others come without a word */
	r->ends[r->nends++] = e;
	return e;
}

void
end_free(struct rig *r, struct end *e)
{
	for (size_t i = 0; i < r->nends; i++)
		if (r->ends[i] == e)
			r->ends[i] = r->ends[--r->nends];
	for (unsigned i = 0; i < e->nfds; i++)
		(void)close(e->fds[i]);
	buf_free(&e->pending);
	(void)close(e->fd);
	free(e);
}

/* False: it has no room for it now. */
static bool
push(struct end *e)
{
	struct span packet = buf_span(&e->pending);

	if (e->gone || packet.n == 0)
		return true;
	if (frame_send(e->fd, span_sub(packet, 0, IPC_PACKET_MAX), e->fds, e->nfds, MSG_DONTWAIT) < 0) {
		if (errno == EAGAIN || errno == EWOULDBLOCK || errno == ENOBUFS || errno == EINTR)
			return false;
		e->gone = true; /* also for what the kernel itself refuses, as a dead descriptor */
	}
	for (unsigned i = 0; i < e->nfds; i++)
		(void)close(e->fds[i]);
	e->nfds = 0;
	buf_reset(&e->pending);
	return true;
}

bool
end_push(struct end *e)
{
	struct pollfd p = { .fd = e->fd, .events = POLLOUT };

	for (int i = 0; i < 200; i++) {
		if (push(e))
			return !e->gone;
		(void)poll(&p, 1, 100);
	}
	return false;
}

void
end_say(struct rig *r, struct end *e, unsigned type, const void *m, int fd)
{
	bool full;

	if (!end_push(e)) {
		if (fd >= 0)
			(void)close(fd);
		if (!e->gone)
			(void)broke(r, "channel %s is not read any more", e->type->name);
		return;
	}
	(void)frame_put(&e->pending, e->type, type, m, fd >= 0 ? 1 : 0, IPC_PACKET_MAX, &full);
	if (fd >= 0)
		e->fds[e->nfds++] = fd;
	(void)end_push(e);
}

bool
end_add(struct end *e, unsigned type, const void *m, int fd)
{
	bool full, put = !e->gone && e->nfds < FRAME_FDS && frame_put(&e->pending, e->type, type, m, fd >= 0 ? 1 : 0, IPC_PACKET_MAX, &full);

	if (put && fd >= 0)
		e->fds[e->nfds++] = fd;
	else if (fd >= 0)
		(void)close(fd);
	return put;
}

struct buf *
rig_room(struct rig *r)
{
	if (!r->room.mem) {
		buf_init(&r->room, ROOM);
		(void)buf_room(&r->room, ROOM); /* what was said stays where it is */
	}
	buf_cut(&r->room, 0);
	return &r->room;
}

void
rig_remember(struct rig *r, const struct end *e, const struct ipc_message *msg, const union frame_message *m)
{
	struct buf line;

	buf_init(&line, 1 << 20);
	buf_printf(&line, "%s as %s: %s ", e->type->name, e->peer, msg->desc.name);
	desc_text(&msg->desc, m, &line);
	(void)snprintf(r->last[r->nlast++ % LAST], sizeof(r->last[0]), "%.*s", SPAN_ARG(span_sub(buf_span(&line), 0, sizeof(r->last[0]) - 1)));
	buf_free(&line);
}

/* One packet of messages, maybe the same many times, maybe broken. */
void
end_attack(struct rig *r, struct end *e)
{
	uint32_t many = rnd(r, 64) ? 1 + rnd(r, 24) : FLOOD, made = 0;
	bool flood = many == FLOOD && rnd(r, 2);

	if (e->gone || !push(e))
		return;
	(void)rig_room(r);
	for (uint32_t i = 0; i < many; i++) {
		const struct ipc_message *msg;
		union frame_message m;
		bool full, put;
		int fd = -1;

		if (e->nfds == FRAME_FDS || !(msg = message_make(r, e, &m, &r->room, &fd)))
			break;
		do { /* a flood is one message over and over */
			put = frame_put(&e->pending, e->type, (unsigned)(msg - e->type->messages), &m, msg->fds, IPC_PACKET_MAX, &full);
			made += put;
		} while (flood && put && !msg->fds && made < FLOOD);
		if (put && fd >= 0)
			e->fds[e->nfds++] = fd;
		else if (fd >= 0)
			(void)close(fd);
		if (i == 0 || rnd(r, 8) == 0) /* all would take longer than what is said */
			rig_remember(r, e, msg, &m);
		if (!put || buf_len(&e->pending) > IPC_PACKET_MAX / 2)
			break;
	}
	if (rnd(r, wildness(r)) == 0 && (made || rnd(r, 100) == 0)) { /* who has nothing to say would do nothing else */
		message_spoil(r, e, &e->pending, &e->nfds);
		if (e->tally)
			e->tally->spoilt++;
		(void)snprintf(r->last[r->nlast++ % LAST], sizeof(r->last[0]), "%s as %s: the packet is broken", e->type->name, e->peer);
	}
	r->sent += made;
	if (e->tally)
		e->tally->sent += made;
	(void)push(e);
	if (rnd(r, 40 * wildness(r)) == 0 && (made || rnd(r, 100) == 0))
		e->gone = e->left = true; /* in the middle of everything */
	if (rnd(r, 500) == 0)
		e->deaf = rnd(r, 3000);
}

static void
conv_heard(struct conv *c, uint64_t id, const struct ipc_message *msg, const void *m)
{
	if (c->id != id)
		*c = (struct conv){ .id = id };
	c->state = (uint8_t)msg->next;
	for (size_t i = 0; i < msg->desc.nfields; i++) {
		const struct desc_field *f = &msg->desc.fields[i];

		if (strcmp(f->name, "question") == 0)
			memcpy(&c->question, (const char *)m + f->offset, sizeof(c->question));
		c->indexes += strcmp(f->name, "index") == 0;
		if (strcmp(f->name, "type") == 0 && f->kind == DESC_U8) {
			memcpy(&c->type, (const char *)m + f->offset, 1);
			c->question = id;
		}
	}
}

static void
hear(struct rig *r, struct end *e, struct span packet, int *fds, unsigned nfds)
{
	struct cursor c = cursor_of(packet);
	unsigned used = 0;
	struct frame f;

	while (!cursor_end(&c) && frame_take(&c, &f)) {
		const struct ipc_message *msg;
		union frame_message m;
		struct conv *conv;
		struct fail why;
		uint64_t id;

		if (f.type == FRAME_HELLO)
			continue;
		msg = frame_decode(e->type, e->side, &f, &m, &why);
		if (!msg || f.fds > nfds - used) { /* the real daemon must not break its own rules */
			(void)broke(r, "it sent what is not allowed: %s", msg ? "a descriptor is missing" : why.text);
			break;
		}
		r->received++;
		tally_heard(e->tally);
		words_learn(r, msg, &m);
		id = message_id_of(msg, &m);
		if (id)
			e->seen[e->nseen++ % SEEN] = id;
		conv = conv_find(e, id);
		if (!conv && id)
			conv = &e->convs[rnd(r, CONVS)];
		if (conv && (conv->id != id || msg->from & conv->state))
			conv_heard(conv, id, msg, &m);
		if (!target_told(r, e, msg, f.type, &m, f.fds ? fds[used] : -1) && f.fds)
			(void)close(fds[used]);
		used += f.fds;
		honest_told(r, e, f.type, &m);
	}
	while (used < nfds)
		(void)close(fds[used++]);
}

static void
receive(struct rig *r, struct end *e)
{
	static char packet[IPC_PACKET_MAX];

	for (int i = 0; i < PACKETS_A_ROUND && !e->gone; i++) {
		int fds[FRAME_FDS];
		unsigned nfds;
		bool truncated;
		ssize_t n = frame_recv(e->fd, packet, sizeof(packet), fds, &nfds, &truncated);

		if (n < 0 && (errno == EAGAIN || errno == EINTR))
			return;
		if (n <= 0) {
			e->gone = true;
			return;
		}
		hear(r, e, span_of(packet, (size_t)n), fds, nfds);
	}
}

void
ends_read(struct rig *r, int timeout_ms)
{
	struct pollfd p[ENDS];
	struct end *of[ENDS];
	nfds_t n = 0;

	for (size_t i = 0; i < r->nends; i++) {
		struct end *e = r->ends[i];

		if (e->deaf && e->deaf--)
			continue;
		if (e->gone)
			timeout_ms = 0;
		p[n] = (struct pollfd){ .fd = e->fd, .events = (short)(POLLIN | (buf_len(&e->pending) ? POLLOUT : 0)) };
		of[n++] = e;
	}
	if (poll(p, n, timeout_ms) > 0)
		for (nfds_t i = 0; i < n; i++) {
			if (p[i].revents & POLLOUT)
				(void)push(of[i]);
			if (p[i].revents & (POLLIN | POLLHUP | POLLERR))
				receive(r, of[i]);
		}
	for (size_t i = r->nends; i-- > 0;)
		if (i < r->nends && r->ends[i]->gone)
			target_rewire(r, r->ends[i]);
}
