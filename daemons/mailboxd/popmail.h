/* SPDX-License-Identifier: ISC
 *
 * popmail: one message on its way to a POP3 client, whole or its first lines,
 * with a dot more where a line begins with one and the dot that ends it (RFC 1939 3).
 */
#ifndef MAILBOXD_POPMAIL_H
#define MAILBOXD_POPMAIL_H

#include "base/buf.h"
#include "store/mailbox.h"

#define POPMAIL_ALL UINT64_MAX /* as lines: RETR */

struct popmail {
	struct content content; /* open from popmail_open() to popmail_close() */
	uint64_t at;            /* of it, already taken */
	uint64_t lines;         /* of the body, still to come */
	bool in_body;
	bool fresh;             /* the next octet begins a line */
	bool lone_cr;           /* the line so far is a CR (TOP) */
};

enum popmail_state { POPMAIL_MORE, POPMAIL_SENT, POPMAIL_BROKEN };

/* Puts how the response to RETR or TOP begins; terse: without the size, as the textbooks have it.  False: the message is gone. */
bool popmail_open(struct popmail *m, struct mailbox *mb, uint32_t uid, uint64_t lines, bool terse, struct buf *out);
void popmail_close(struct popmail *m);
/* Puts some of it, until out has `high` octets.  POPMAIL_BROKEN: it cannot be read to its end, and there is no honest way to go on. */
enum popmail_state popmail_put(struct popmail *m, struct buf *out, size_t high);

#endif
