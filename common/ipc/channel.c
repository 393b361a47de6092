/* SPDX-License-Identifier: ISC */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "ipc/channel.h"
#include "ipc/frame.h"
#include "sys/limits.h"

enum {
	PACKETS_A_WAKE = 8, /* then others get their turn, */
	BYTES_A_WAKE = 16 * 1024, /* or after so many: small messages in full packets are long work */
	PACKETS_AT_ONCE = 10000,
	SECRETS_ROOM = 2048,
};

struct packet {
	struct list node;
	struct buf bytes;
	int fds[FRAME_FDS];
	unsigned nfds;
};

struct channel {
	struct watch watch;
	struct turn flush;
	struct turn closing;
	const struct ipc_channel *type;
	enum channel_side side;
	const struct channel_ops *ops;
	void *owner;
	struct list out; /* packets, the last one still open for frames */
	struct packet *spare;
	size_t backlog;
	char *in; /* IPC_PACKET_MAX bytes, while the channel is open; of a slim one while it is read from */
	unsigned reading; /* calls of take_packets() */
	bool slim;
	struct fail why;
	struct channel_note *note;
	bool secret;    /* messages have SECRET fields: what has come and gone is wiped */
	bool greeted;   /* the peer's hello has come */
	bool closed;    /* no more reading or sending */
	bool congested; /* on_drained is owed, */
	bool blocked;   /* and only when nothing is left */
	bool *freed;    /* set while handlers run, so that they may free the channel */
};

static void on_ready(struct watch *w, unsigned ready);

static void
close_fds(const int *fds, unsigned n)
{
	for (unsigned i = 0; i < n; i++)
		(void)close(fds[i]);
}

static void
wipe(const struct channel *c, struct packet *p)
{
	if (c->secret && p->bytes.mem)
		explicit_bzero(p->bytes.mem, p->bytes.end);
}

static void
packet_free(const struct channel *c, struct packet *p)
{
	if (!p)
		return;
	close_fds(p->fds, p->nfds);
	wipe(c, p);
	buf_free(&p->bytes);
	free(p);
}

static void
drop_output(struct channel *c)
{
	struct list *node;

	while ((node = list_shift(&c->out)))
		packet_free(c, OWNER_OF(node, struct packet, node));
	c->backlog = 0;
}

static void
report_closed(struct turn *t)
{
	struct channel *c = OWNER_OF(t, struct channel, closing);

	c->ops->on_closed(c, &c->why);
}

/* Closes towards the peer now; the owner hears of it at the end of the turn. */
static void
shut(struct channel *c)
{
	if (c->closed)
		return;
	c->closed = true;
	watch_stop(&c->watch);
	turn_cancel(&c->flush);
	drop_output(c);
	turn_later(&c->closing, c->watch.loop);
}

static void
shut_violated(struct channel *c)
{
	if (!c->closed && c->note)
		c->note->on_violation(c, c->note);
	shut(c);
}

static void
shut_errno(struct channel *c, const char *doing)
{
	if (!c->closed)
		(void)fail_errno(&c->why, 0, "channel %s: %s", c->type->name, doing);
	shut(c);
}

static struct packet *
packet_new(struct channel *c)
{
	struct packet *p = c->spare;

	c->spare = NULL;
	if (!p && (p = calloc(1, sizeof(*p))))
		buf_init(&p->bytes, IPC_PACKET_MAX);
	if (p && c->secret)
		(void)buf_room(&p->bytes, SECRETS_ROOM); /* what grows leaves copies behind */
	if (p)
		list_push(&c->out, &p->node);
	return p;
}

static void
packet_done(struct channel *c, struct packet *p)
{
	list_remove(&p->node);
	close_fds(p->fds, p->nfds); /* the kernel holds its own references now */
	p->nfds = 0;
	wipe(c, p);
	buf_reset(&p->bytes);
	if (c->spare)
		packet_free(c, p);
	else
		c->spare = p;
}

bool
channel_flush(struct channel *c)
{
	while (!c->closed && !list_empty(&c->out)) {
		struct packet *p = OWNER_OF(c->out.next, struct packet, node);
		struct span bytes = buf_span(&p->bytes);

		if (frame_send(c->watch.fd, bytes, p->fds, p->nfds, MSG_DONTWAIT) < 0) {
			if (errno == EINTR)
				continue;
			if (errno == EAGAIN || errno == EWOULDBLOCK || errno == ENOBUFS)
				(void)watch_want(&c->watch, WATCH_READ | WATCH_WRITE);
			else
				shut_errno(c, "send");
			return false;
		}
		c->backlog -= bytes.n;
		packet_done(c, p);
	}
	if (!c->closed)
		(void)watch_want(&c->watch, WATCH_READ);
	return !c->closed;
}

static void
on_writable(struct channel *c)
{
	(void)channel_flush(c);
	if (c->congested && !c->closed && c->backlog < (c->blocked ? 1 : CHANNEL_LOW)) {
		c->congested = c->blocked = false;
		if (c->ops->on_drained)
			c->ops->on_drained(c);
	}
}

/* A peer that reads fast takes all at once: then, too, who waits for room is told. */
static void
on_flush(struct turn *t)
{
	on_writable(OWNER_OF(t, struct channel, flush));
}

static bool
has_secrets(const struct ipc_channel *type)
{
	for (size_t i = 0; i < type->nmessages; i++)
		for (size_t f = 0; f < type->messages[i].desc.nfields; f++)
			if (type->messages[i].desc.fields[f].kind == DESC_SECRET)
				return true;
	return false;
}

struct channel *
channel_new(struct loop *loop, int fd, const struct ipc_channel *type, enum channel_side side, const struct channel_ops *ops, void *owner)
{
	struct channel *c = calloc(1, sizeof(*c));
	struct packet *hello;

	if (!c) {
		(void)close(fd);
		return NULL;
	}
	c->type = type;
	c->secret = has_secrets(type);
	c->side = side;
	c->ops = ops;
	c->owner = owner;
	list_init(&c->out);
	watch_init(&c->watch, loop, fd, on_ready);
	turn_init(&c->flush, on_flush);
	turn_init(&c->closing, report_closed);
	hello = packet_new(c);
	if (hello)
		frame_put_hello(&hello->bytes);
	if (!hello || !buf_ok(&hello->bytes) || !watch_want(&c->watch, WATCH_READ)) {
		channel_free(&c);
		return NULL;
	}
	c->backlog = buf_len(&hello->bytes);
	turn_later(&c->flush, loop);
	return c;
}

void
channel_free(struct channel **at)
{
	struct channel *c = *at;

	if (!c)
		return;
	*at = NULL;
	if (c->freed)
		*c->freed = true;
	watch_stop(&c->watch);
	turn_cancel(&c->flush);
	turn_cancel(&c->closing);
	drop_output(c);
	packet_free(c, c->spare);
	(void)close(c->watch.fd);
	if (c->in)
		explicit_bzero(c->in, c->secret ? IPC_PACKET_MAX : 0);
	free(c->in);
	if (c->note)
		c->note->on_freed(c->note);
	free(c);
}

/* What came may speak of others. Blocks that hold nothing stay shared. */
static void
wipe_input(char *in)
{
	static const char nothing[1024];

	for (size_t at = 0; in && at < IPC_PACKET_MAX; at += sizeof(nothing))
		if (memcmp(in + at, nothing, sizeof(nothing)) != 0)
			explicit_bzero(in + at, sizeof(nothing));
}

void
channel_forget(struct channel **c)
{
	watch_stop(&(*c)->watch);
	(*c)->watch.fd = -1;
	wipe_input((*c)->in);
	(*c)->in = NULL;
	channel_free(c);
}

void
channel_give_up(struct channel **c)
{
	if ((*c)->note)
		(*c)->note->on_violation(*c, (*c)->note);
	channel_free(c);
}

int
channel_copy_fd(const struct channel *c)
{
	return fcntl(c->watch.fd, F_DUPFD_CLOEXEC, 0);
}

void *
channel_owner(const struct channel *c)
{
	return c->owner;
}

void
channel_set_owner(struct channel *c, void *owner)
{
	c->owner = owner;
}

struct loop *
channel_loop(const struct channel *c)
{
	return c->watch.loop;
}

const struct ipc_channel *
channel_type(const struct channel *c)
{
	return c->type;
}

bool
channel_is_open(const struct channel *c)
{
	return !c->closed;
}

bool
channel_congested(const struct channel *c)
{
	return c->backlog > CHANNEL_HIGH;
}

bool
channel_blocked(struct channel *c)
{
	if (!(c->watch.wants & WATCH_WRITE))
		return false;
	c->congested = c->blocked = true;
	return true;
}

/* The packet that takes one more frame, with or without a descriptor. */
static struct packet *
open_packet(struct channel *c, bool with_fd)
{
	struct packet *p = list_empty(&c->out) ? NULL : OWNER_OF(c->out.prev, struct packet, node);

	if (!p || (with_fd && p->nfds == FRAME_FDS))
		p = packet_new(c);
	return p;
}

static bool
enqueue(struct channel *c, unsigned type, const void *m, int fd)
{
	struct packet *p = open_packet(c, fd >= 0);
	size_t before = p ? buf_len(&p->bytes) : 0;
	bool full = false, ok = p && frame_put(&p->bytes, c->type, type, m, fd >= 0 ? 1 : 0, IPC_PACKET_MAX, &full);

	if (full && before && (p = packet_new(c))) {
		before = 0;
		ok = frame_put(&p->bytes, c->type, type, m, fd >= 0 ? 1 : 0, IPC_PACKET_MAX, &full);
	}
	if (!ok && p && before == 0) /* to the peer a packet with nothing in it is the end */
		packet_done(c, p);
	if (!ok)
		return false;
	if (fd >= 0)
		p->fds[p->nfds++] = fd;
	c->backlog += buf_len(&p->bytes) - before;
	return true;
}

void
channel_set_note(struct channel *c, struct channel_note *note)
{
	c->note = note;
}

bool
channel_send(struct channel *c, unsigned type, const void *m, int fd)
{
	if (type >= c->type->nmessages || c->type->messages[type].fds != (fd >= 0 ? 1u : 0u))
		abort(); /* bug: the typed senders make this impossible */
	if (c->backlog > CHANNEL_MAX)
		limit_reached(c->watch.loop, LIMIT_channel_bytes, CHANNEL_MAX, span_str(c->type->name));
	if (c->closed || c->backlog > CHANNEL_MAX || !enqueue(c, type, m, fd)) {
		if (fd >= 0)
			(void)close(fd);
		return false;
	}
	limit_count(c->watch.loop, LIMIT_channel_bytes, c->backlog, CHANNEL_MAX);
	if (c->backlog > CHANNEL_HIGH)
		c->congested = true;
	if (!(c->watch.wants & WATCH_WRITE))
		turn_later(&c->flush, c->watch.loop);
	return true;
}

bool
channel_drain(struct channel *c, int timeout_ms)
{
	while (!channel_flush(c)) {
		struct pollfd p = { .fd = c->watch.fd, .events = POLLOUT };

		if (c->closed || poll(&p, 1, timeout_ms) <= 0)
			return false;
	}
	return true;
}

/* Handles one packet; false when the channel is closed or freed meanwhile. */
static bool
take_packet(struct channel *c, struct span packet, const int *fds, unsigned nfds)
{
	struct cursor cur = cursor_of(packet);
	unsigned used = 0;
	bool freed = false, ok = true;

	c->freed = &freed;
	while (ok && !cursor_end(&cur)) {
		const struct ipc_message *msg;
		union frame_message m;
		struct frame f;
		int fd;

		ok = frame_take(&cur, &f) && f.fds <= nfds - used;
		if (!ok) {
			(void)fail_set(&c->why, FAIL_PEER, 0, "channel %s: malformed packet", c->type->name);
			break;
		}
		if (!c->greeted) {
			ok = c->greeted = frame_check_hello(&f, &c->why);
			continue;
		}
		msg = frame_decode(c->type, c->side, &f, &m, &c->why);
		if (!msg) {
			ok = false;
			break;
		}
		fd = msg->fds ? fds[used++] : -1;
		ok = c->ops->dispatch(c, f.type, &m, fd);
		if (freed)
			break;
		if (!ok)
			(void)fail_set(&c->why, FAIL_PEER, 0, "%s was not allowed now", msg->desc.name);
		if (c->closed)
			break;
	}
	close_fds(fds + used, nfds - used);
	if (freed)
		return false;
	c->freed = NULL;
	if (!ok)
		shut_violated(c);
	return !c->closed;
}

/* False: c is gone, or shut. */
static bool
read_packets(struct channel *c, int most, size_t bytes)
{
	size_t taken = 0;

	for (int i = 0; i < most && taken < bytes && !c->closed; i++) {
		int fds[FRAME_FDS];
		unsigned nfds;
		bool truncated = false;
		ssize_t n = frame_recv(c->watch.fd, c->in, IPC_PACKET_MAX, fds, &nfds, &truncated);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0 && (errno == EAGAIN || errno == EWOULDBLOCK))
			return true;
		if (n < 0) {
			shut_errno(c, "receive");
			return false;
		}
		if (n == 0 || truncated) {
			close_fds(fds, nfds);
			(void)fail_set(&c->why, truncated ? FAIL_PEER : FAIL_TEMP, 0, "channel %s: %s", c->type->name, truncated ? "oversized packet" : "the peer is gone");
			(truncated ? shut_violated : shut)(c);
			return false;
		}
		taken += (size_t)n;
		if (!take_packet(c, span_of(c->in, (size_t)n), fds, nfds))
			return false;
		explicit_bzero(c->in, c->secret ? (size_t)n : 0);
	}
	return true;
}

static void
take_packets(struct channel *c, int most, size_t bytes)
{
	if (!c->in && !(c->in = malloc(IPC_PACKET_MAX))) {
		if (!c->closed)
			(void)fail_errno(&c->why, 0, "channel %s: receive", c->type->name);
		shut_violated(c); /* both live: nobody else would ask for another */
		return;
	}
	c->reading++;
	if (!read_packets(c, most, bytes) || --c->reading || !c->slim)
		return;
	free(c->in);
	c->in = NULL;
}

void
channel_slim(struct channel *c)
{
	c->slim = true;
	if (c->reading)
		return;
	free(c->in);
	c->in = NULL;
}

void
channel_catch_up(struct channel *c)
{
	take_packets(c, PACKETS_AT_ONCE, SIZE_MAX);
}

bool
channel_unread(const struct channel *c)
{
	char first;

	return !channel_is_open(c) || recv(c->watch.fd, &first, 1, MSG_PEEK | MSG_DONTWAIT) >= 0 || (errno != EAGAIN && errno != EINTR);
}

static void
on_ready(struct watch *w, unsigned ready)
{
	struct channel *c = OWNER_OF(w, struct channel, watch);

	if (ready & WATCH_WRITE)
		on_writable(c);
	take_packets(c, PACKETS_A_WAKE, BYTES_A_WAKE);
}

bool
channel_step(const struct channel *c, unsigned type, uint8_t *state)
{
	const struct ipc_message *msg = &c->type->messages[type];

	if (!(msg->from & *state))
		return false;
	*state = (uint8_t)msg->next;
	return true;
}
