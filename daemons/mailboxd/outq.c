/* SPDX-License-Identifier: ISC */
#include "daemons/mailboxd/outq.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/sendfile.h>
#include <sys/socket.h>
#include <unistd.h>

enum { SEND_MAX = 1 << 20 }; /* a turn's share of one session */

void
outq_init(struct outq *q)
{
	*q = (struct outq){ .fd = -1 };
	buf_init(&q->mem, OUTQ_CAP);
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
		*budget -= (size_t)n;
	}
	if (!q->left)
		drop_file(q);
	return true;
}

bool
outq_send(struct outq *q, int sock)
{
	size_t budget = SEND_MAX;

	while (buf_len(&q->mem) && budget) {
		struct span s = buf_span(&q->mem);
		size_t want = s.n < budget ? s.n : budget;
		ssize_t n = send(sock, s.p, want, MSG_NOSIGNAL | MSG_DONTWAIT | (q->left ? MSG_MORE : 0));

		if (n < 0)
			return would_block();
		buf_eat(&q->mem, (size_t)n);
		budget -= (size_t)n;
		if ((size_t)n < want)
			return true;
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
