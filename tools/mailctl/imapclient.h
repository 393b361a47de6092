/* SPDX-License-Identifier: ISC
 *
 * imapclient: as much of an IMAP client as an import needs: blocking, one
 * command at a time, plain TCP to this host (what is farther away comes through
 * a tunnel: passwords go over it).  Responses are foreign: bounded, and parsed strictly.
 */
#ifndef MAILCTL_IMAPCLIENT_H
#define MAILCTL_IMAPCLIENT_H

#include "base/arena.h"
#include "base/buf.h"
#include "base/fail.h"

enum { IMAPCLIENT_LINE_MAX = 1 << 20, IMAPCLIENT_WAIT_S = 300 };

struct imapclient {
	int fd;
	unsigned tag;
	struct buf in;   /* read, not yet taken */
	struct buf text; /* the response at hand, in one line; the message's octets left out */
	/* Where octets of BODY[] go; false stops. */
	bool (*on_octets)(void *arg, struct span octets, struct fail *why);
	void *arg;
	bool body;       /* the response at hand had a BODY[] */
};

enum imapclient_kind { IMAPCLIENT_UNTAGGED, IMAPCLIENT_DONE, IMAPCLIENT_REFUSED, IMAPCLIENT_FAILED };

/* host: 127.0.0.1, ::1, or a name of these; with the greeting read. */
bool imapclient_connect(struct imapclient *c, struct span host_port, struct fail *why);
void imapclient_close(struct imapclient *c);
/* Sends a command without its tag. */
bool imapclient_send(struct imapclient *c, struct span command, struct fail *why);
/* The next response: an untagged one in c->text, or the command's end: OK, or not (*why has its text); FAILED: of the connection. */
enum imapclient_kind imapclient_read(struct imapclient *c, struct fail *why);
/* A string as a quoted one; false: it cannot be. */
bool imapclient_quote(struct buf *out, struct span s);

/* The next item of a response: an atom, a quoted string undone (both in *value), or a list's inside (*list). */
bool imapclient_item(struct span *rest, struct arena *mem, struct span *value, bool *list);

#endif
