/* SPDX-License-Identifier: ISC
 *
 * delegate: Postfix's policy delegation protocol as a client, without I/O:
 * lines name=value, an empty line behind the last; the answer is a line
 * action=..., as the values of access tables are written (delegate.def).
 */
#ifndef VERIFYD_DELEGATE_H
#define VERIFYD_DELEGATE_H

#include "base/arena.h"
#include "base/buf.h"
#include "base/fail.h"

enum { DELEGATE_ANSWER_MAX = 16384 };

/* One attribute; line ends and NULs in the value become '?'. */
void delegate_put(struct buf *out, const char *name, struct span value);
void delegate_put_number(struct buf *out, const char *name, uint64_t value);
void delegate_put_end(struct buf *out);

struct delegate_answer {
	unsigned status;      /* a refusal, row of mail/status.def; 0: none */
	unsigned reply;       /* its reply code where the service gave one, else 0 */
	struct span text;     /* to tell the client; empty for the row's */
	bool hold, discard;
	bool note;            /* the log shall have it */
	struct span redirect; /* an address, or empty */
	struct span prepend;  /* a header line with CRLF, or empty */
	struct span action;   /* as it came, on one line */
};

/* Takes an answer off *in. NEED: its empty line has not come. BAD: longer than
 * DELEGATE_ANSWER_MAX, without an action, or one that nobody can obey. Texts are in the arena. */
enum delegate_step { DELEGATE_NEED, DELEGATE_ANSWER, DELEGATE_BAD };
enum delegate_step delegate_next(struct span *in, struct arena *arena, struct delegate_answer *a, struct fail *why);

#endif
