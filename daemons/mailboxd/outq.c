/* SPDX-License-Identifier: ISC */
#include "daemons/mailboxd/outq.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/sendfile.h>
#include <sys/socket.h>
#include <unistd.h>

enum {
	SEND_MAX = 1 << 20,   /* a turn's share of one session */
	PACK_STEP = 32 << 10, /* compressed at a time */
};

void
outq_init(struct outq *q)
{
	*q = (struct outq){ .fd = -1 };
	buf_init(&q->mem, OUTQ_CAP);
	buf_init(&q->packed, 4 * PACK_STEP);
}

static void
drop_file(struct outq *q)
{
	if (q->fd >= 0)
		close(q->fd);
	q->fd = -1;
	q->left = 0;
}

void
outq_free(struct outq *q)
{
	drop_file(q);
	buf_free(&q->mem);
	buf_free(&q->packed);
	squeeze_free(&q->squeeze);
}

bool
outq_squeeze(struct outq *q)
{
	q->plain = buf_len(&q->mem);
	q->squeeze = squeeze_new();
	return q->squeeze != NULL;
}

static bool
copy_file(struct buf *to, int fd, uint64_t at, uint64_t n)
{
	char *room = buf_room(to, (size_t)n);

	while (room && n) {
		ssize_t got = pread(fd, room, (size_t)n, (off_t)at);

		if (got < 0 && errno == EINTR)
			continue;
		if (got <= 0)
			return false;
		buf_added(to, (size_t)got);
		room += got;
		at += (uint64_t)got;
		n -= (uint64_t)got;
	}
	return room != NULL;
}

bool
outq_put_file(struct outq *q, int fd, uint64_t at, uint64_t n)
{
	if (!n)
		return true;
	if (n < OUTQ_FILE_MIN)
		return copy_file(&q->mem, fd, at, n);
	q->fd = fcntl(fd, F_DUPFD_CLOEXEC, 0);
	if (q->fd < 0)
		return false;
	q->at = at;
	q->left = n;
	return true;
}

static bool
would_block(void)
{
	return errno == EAGAIN || errno == EWOULDBLOCK || errno == EINTR || errno == ENOBUFS;
}

static bool
send_file(struct outq *q, int sock, size_t *budget)
{
	while (q->left && *budget) {
		size_t want = q->left < *budget ? (size_t)q->left : *budget;
		off_t at = (off_t)q->at;
		ssize_t n = sendfile(sock, q->fd, &at, want);

		if (n < 0)
			return would_block();
		if (n == 0) /* the file is shorter than promised: the stream cannot be mended */
			return false;
		q->at += (uint64_t)n;
		q->left -= (uint64_t)n;
		q->sent += (uint64_t)n;
		*budget -= (size_t)n;
	}
	if (!q->left)
		drop_file(q);
	return true;
}

/* Up to n octets of a buffer. *blocked: the socket takes no more now. */
static bool
send_some(struct outq *q, struct buf *from, size_t n, int sock, bool more, bool *blocked)
{
	ssize_t put = send(sock, buf_span(from).p, n, MSG_NOSIGNAL | MSG_DONTWAIT | (more ? MSG_MORE : 0));

	*blocked = put < (ssize_t)n;
	if (put < 0)
		return would_block();
	buf_eat(from, (size_t)put);
	q->sent += (uint64_t)put;
	return true;
}

/* The next piece of mem, then of the file, then the flush behind all of it. */
static bool
pack(struct outq *q)
{
	struct span s = span_sub(buf_span(&q->mem), 0, PACK_STEP);
	size_t n = q->left < PACK_STEP ? (size_t)q->left : PACK_STEP;
	struct buf piece;
	bool ok;

	if (s.n) {
		q->unflushed = true;
		ok = squeeze_put(q->squeeze, s, s.n == buf_len(&q->mem) && !q->left, &q->packed);
		buf_eat(&q->mem, s.n);
	} else if (q->left) {
		buf_init(&piece, PACK_STEP);
		q->unflushed = true;
		ok = copy_file(&piece, q->fd, q->at, n) && squeeze_put(q->squeeze, buf_span(&piece), n == q->left, &q->packed);
		buf_free(&piece);
		q->at += n;
		q->left -= n;
		if (!q->left)
			drop_file(q);
	} else {
		ok = true;
	}
	if (!buf_len(&q->mem) && !q->left)
		q->unflushed = false;
	return ok;
}

static bool
send_packed(struct outq *q, int sock)
{
	bool blocked = false;

	for (size_t sent = 0; sent < SEND_MAX && !blocked && !outq_empty(q);) {
		size_t n = q->plain ? q->plain : buf_len(&q->packed), before;

		if (!n) {
			if (!pack(q))
				return false;
			continue;
		}
		before = n;
		if (q->plain) {
			size_t left = buf_len(&q->mem);

			if (!send_some(q, &q->mem, n, sock, false, &blocked))
				return false;
			q->plain -= left - buf_len(&q->mem);
		} else if (!send_some(q, &q->packed, n, sock, false, &blocked)) {
			return false;
		}
		sent += before;
	}
	return true;
}

bool
outq_send(struct outq *q, int sock)
{
	size_t budget = SEND_MAX;
	bool blocked;

	if (q->squeeze)
		return send_packed(q, sock);
	while (buf_len(&q->mem) && budget) {
		size_t n = buf_len(&q->mem) < budget ? buf_len(&q->mem) : budget;

		if (!send_some(q, &q->mem, n, sock, q->left > 0, &blocked))
			return false;
		if (blocked)
			return true;
		budget -= n;
	}
	return !q->left || buf_len(&q->mem) || send_file(q, sock, &budget);
}

bool
outq_drain(struct outq *q, struct buf *into)
{
	bool ok;

	buf_put(into, buf_span(&q->mem));
	buf_eat(&q->mem, buf_len(&q->mem));
	ok = !q->left || copy_file(into, q->fd, q->at, q->left);
	drop_file(q);
	return ok && buf_ok(into);
}
