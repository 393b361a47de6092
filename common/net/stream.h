/* SPDX-License-Identifier: ISC
 *
 * stream: a buffered byte stream on a non-blocking socket, plain or TLS.
 *
 * Embedded in its owner. Output is coalesced: what is put within a turn of
 * the loop leaves in one write at its end. Buffers are capped, allocated when
 * needed and given back when empty, so an idle stream holds neither.
 * Any callback may call stream_close() and free the owner.
 */
#ifndef NET_STREAM_H
#define NET_STREAM_H

#include "base/buf.h"
#include "base/fail.h"
#include "net/netaddr.h"
#include "net/tls.h"
#include "sys/box.h"
#include "sys/loop.h"

struct stream;

enum stream_why {
	STREAM_OPEN,     /* not closed */
	STREAM_EOF,      /* the peer is done sending (and there is no on_eof) */
	STREAM_FINISHED, /* stream_finish() has sent everything */
	STREAM_TIMEOUT,  /* and there is no on_timeout */
	STREAM_RESET,    /* the system reported an error */
	STREAM_CONNECT,  /* the connection could not be made (refused, timeout, ...) */
	STREAM_TLS,      /* handshake failed or the TLS layer broke */
	STREAM_LIMIT,    /* more was put than the write buffer may hold, or no memory */
};

struct stream_events {
	/* There is unread input. What the owner does not eat stays; the next
	 * call comes when more has arrived or after stream_again(). */
	void (*on_input)(struct stream *s);
	/* The peer sends no more and all input was offered; writing goes on.
	 * NULL: on_closed(STREAM_EOF). */
	void (*on_eof)(struct stream *s);
	/* stream_full() said yes and the buffer is at most a quarter full again. May be NULL. */
	void (*on_drain)(struct stream *s);
	void (*on_connected)(struct stream *s); /* of stream_connect(); before TLS */
	/* The handshake succeeded; failure is on_closed(STREAM_TLS). May be NULL. */
	void (*on_tls)(struct stream *s, const struct tls_facts *facts);
	/* The timer of stream_timeout() or stream_deadline(); NULL: on_closed(STREAM_TIMEOUT). */
	void (*on_timeout)(struct stream *s);
	/* Last call, once; the descriptor is closed, the buffers are gone. Not
	 * called for stream_close(). stream_failure() has the details. */
	void (*on_closed)(struct stream *s, enum stream_why why);
};

struct stream_limits {
	size_t in_cap;  /* most unread input; must exceed the longest unit the owner waits for */
	size_t out_cap; /* most unsent output; stream_full() from half of it */
};

struct stream {
	const struct stream_events *events;
	struct watch watch;
	struct timer timer;
	struct turn turn;
	struct buf in, out;
	struct tls_conn *tls; /* owned */
	struct fail *failure; /* owned, made when needed */
	bool *gone;           /* set when closed inside a callback */
	struct box_tape *tape; /* owned; of a suspect alone */
	struct box_now whose;  /* of stream_whose(); about is the owner's to set */
	size_t read_size;
	int64_t idle_ms;      /* of stream_timeout(); 0 with a deadline or none */
	int64_t end_ms;       /* of stream_finish(): closed by then whatever the peer reads; 0 before */
	uint8_t state;        /* enum stream_state, stream.c */
	uint8_t why;          /* enum stream_why */
	uint8_t doom;         /* enum stream_why: close for this at the end of the turn */
	uint8_t tls_problem;  /* enum tls_problem, once a handshake has failed */
	bool paused, parked, again, eof, eof_told, finishing, lingering, half_closing, half_closed, wants_drain, crossed, signing, serving;
};

/* Takes over fd (made non-blocking and close-on-exec by its maker). Reading
 * starts at once. False: no memory; fd is then still the caller's. */
bool stream_open(struct stream *s, struct loop *loop, int fd, const struct stream_events *events,
                 const struct stream_limits *limits);
/* Makes a socket and connects; then on_connected or on_closed(STREAM_CONNECT),
 * never from inside this call. from (may be NULL) is the address to bind to. */
bool stream_connect(struct stream *s, struct loop *loop, const struct netaddr *to, const struct netaddr *from,
                    int64_t timeout_ms, const struct stream_events *events, const struct stream_limits *limits,
                    struct fail *why);
/* Closes at once, dropping unsent output; no callback. Idempotent, and fine on a zeroed struct. */
void stream_close(struct stream *s);
/* The same, and what the peer has not taken the system, too, forgets when it would try again. */
void stream_abandon(struct stream *s);
/* Sends what is buffered, closes TLS properly, then on_closed(STREAM_FINISHED)
 * or another reason; input is no longer offered. Bounded to 30 s without progress,
 * and for a peer that takes a little now and then to 30 s and a second for each 512 bytes. */
void stream_finish(struct stream *s);
static inline bool stream_is_open(const struct stream *s) { return s->state != 0; }
/* What went wrong, valid in on_closed and until stream_close(). */
const struct fail *stream_failure(const struct stream *s);

static inline struct span stream_input(const struct stream *s) { return buf_span(&s->in); }
void stream_eat(struct stream *s, size_t n);
/* Puts something in front of the unread input; false: it does not fit. */
bool stream_unread(struct stream *s, struct span data);
/* No more fits: the owner waits in vain unless it eats. */
static inline bool stream_input_full(const struct stream *s) { return buf_space(&s->in) == 0; }
/* Offers what is unread again at the end of this turn. */
void stream_again(struct stream *s);
/* No on_input and no on_eof until stream_resume(), which offers unread input
 * at the end of the turn. Both are free of system calls unless input piles up. */
void stream_pause(struct stream *s);
void stream_resume(struct stream *s);

/* Buffered output. A put that does not fit closes the stream with STREAM_LIMIT. */
void stream_put(struct stream *s, struct span data);
void stream_puts(struct stream *s, const char *text);
void stream_printf(struct stream *s, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
/* The output buffer itself, to build in place; it is sent at the end of the turn. */
struct buf *stream_out(struct stream *s);
static inline size_t stream_unsent(const struct stream *s) { return buf_len(&s->out); }
/* Half full: produce no more until on_drain. */
bool stream_full(struct stream *s);
void stream_flush(struct stream *s); /* tries to send now instead of at the end of the turn */
void stream_shutdown(struct stream *s); /* half-close: no more output after what is buffered */

/* Fires after ms without a byte read or written (0 stops). */
void stream_timeout(struct stream *s, int64_t ms);
/* Fires after ms whatever happens. Replaces a timeout, and the reverse. */
void stream_deadline(struct stream *s, int64_t ms);

/* Switches to TLS after the output that is already buffered; unread input is
 * thrown away now, and whatever plaintext arrives later breaks the handshake
 * (law 10). No on_input until on_tls. For implicit TLS: right after opening. */
bool stream_tls_accept(struct stream *s, struct tls_server *server, enum tls_ask ask, struct fail *why);
bool stream_tls_connect(struct stream *s, struct tls_client *client, const struct tls_want *want, struct fail *why);
static inline bool stream_is_tls(const struct stream *s) { return s->tls != NULL; }
/* tls_conn_binding() of the connection; false without TLS. */
static inline bool stream_binding(const struct stream *s, struct span type, struct buf *out) { return s->tls && tls_conn_binding(s->tls, type, out); }

/* Hands the socket away with the unread input copied to *unread. -1 when TLS
 * is on, output is unsent or unread does not fit: then nothing changed. */
int stream_take_fd(struct stream *s, struct buf *unread);

/* From here on the peer is named (sys/box.h) while its stream is worked on, its input kept if it is a suspect; sticky as
 * box_tape has it. Returns what is to be thought of it; CLEAR where nobody asks. */
enum box_level stream_whose(struct stream *s, const struct netaddr *peer, bool sticky);

bool stream_peer(const struct stream *s, struct netaddr *out);
bool stream_local(const struct stream *s, struct netaddr *out);

#endif
