/* SPDX-License-Identifier: ISC
 *
 * outq: what a session has to say: bytes in memory, and behind them at most
 * one range of a file, so that large bodies never pass through memory.
 *
 * Bounded (law 9): whoever produces output asks outq_room() and stops, to be
 * called again when the peer has read; a slow peer stops its own command and
 * nothing grows.  `mem` has slack above `high`, enough for the largest single
 * piece anybody puts between two questions.
 */
#ifndef MAILBOXD_OUTQ_H
#define MAILBOXD_OUTQ_H

#include "daemons/mailboxd/squeeze.h"

enum {
	OUTQ_HIGH = 64 << 10,   /* stop producing */
	OUTQ_CAP = 32 << 20,    /* a single response is never larger (bodies stream) */
	OUTQ_FILE_MIN = 32 << 10 /* smaller ranges are copied: one write instead of two calls */
};

struct outq {
	struct buf mem;
	int fd;            /* owned while left > 0, else -1 */
	uint64_t at, left; /* the range to send behind mem */
	struct squeeze *squeeze; /* owned; NULL: nothing is compressed */
	size_t plain;      /* octets of mem from before that */
	struct buf packed; /* compressed, to be sent */
	bool unflushed;
	uint64_t sent;     /* octets the socket has taken */
};

void outq_init(struct outq *q);
void outq_free(struct outq *q);
static inline bool outq_room(const struct outq *q) { return q->left == 0 && buf_len(&q->mem) < OUTQ_HIGH; }
static inline bool outq_empty(const struct outq *q) { return q->left == 0 && buf_len(&q->mem) == 0 && buf_len(&q->packed) == 0 && !q->unflushed; }
/* A range of a file behind all that was put; takes its own duplicate of fd, or
 * copies a short range.  Until it is sent nothing may be put behind it:
 * outq_room() is false.  False: the file could not be read. */
bool outq_put_file(struct outq *q, int fd, uint64_t at, uint64_t n);
/* All that is put from now on is compressed on its way.  False: no memory. */
bool outq_squeeze(struct outq *q);
/* Sends what the socket takes.  False: the peer is gone. */
bool outq_send(struct outq *q, int sock);
/* For tests and relays without a socket: everything as bytes. */
bool outq_drain(struct outq *q, struct buf *into);

#endif
