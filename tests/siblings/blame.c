/* SPDX-License-Identifier: ISC
 *
 * blame: one violation after the other, alone, on each channel of a daemon that has been
 * started for this.  It must close the channel, say in the log whose it was, ask suited for another,
 * take that, and be well.
 */
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "tests/siblings/siblings.h"

enum { WAIT_MS = 60000, CASES = 24, TAIL = 1 << 16 };

enum kind {
	WRONG_WAY,  /* a message that only the daemon may send */
	NO_MESSAGE, /* of a number that no row has */
	SHORT,      /* one byte less than its fields need */
	FOREIGN_FD, /* with a descriptor, where none belongs */
	UNASKED,    /* an answer to what was never asked */
};

struct violation {
	enum kind kind;
	unsigned message;
};

static bool
answers(const struct ipc_message *m)
{
	return !(m->from & CONV_NONE) && m->desc.nfields && strcmp(m->desc.fields[0].name, "id") == 0;
}

/* Those that this end can commit; of answers every one. */
static size_t
cases_of(const struct rig *r, const struct end *e, struct violation *cases)
{
	enum ipc_direction ours = e->side == CHANNEL_CLIENT ? TO_SERVER : TO_CLIENT;
	bool asked = e->side == CHANNEL_SERVER && tally_must_ask(r, e->tally), other = false, plain = false;
	size_t n = 0;

	cases[n++] = (struct violation){ NO_MESSAGE, (unsigned)e->type->nmessages };
	for (unsigned i = 0; i < e->type->nmessages && n + 3 < CASES; i++) {
		const struct ipc_message *m = &e->type->messages[i];

		if (m->direction != ours && !other)
			cases[n++] = (struct violation){ WRONG_WAY, i };
		other |= m->direction != ours;
		if (m->direction != ours)
			continue;
		if (!m->fds && !plain) {
			cases[n++] = (struct violation){ SHORT, i };
			cases[n++] = (struct violation){ FOREIGN_FD, i };
			plain = true;
		}
		if (asked && answers(m) && !m->fds)
			cases[n++] = (struct violation){ UNASKED, i };
	}
	return n;
}

/* Its frame, alone in the packet. */
static void
commit(struct rig *r, struct end *e, const struct violation *v)
{
	union frame_message m;
	struct buf *out = &e->pending;
	uint64_t never = UINT64_MAX;
	char *p;
	bool full;

	(void)end_push(e);
	memset(&m, 0, sizeof(m));
	if (v->kind == UNASKED)
		memcpy((char *)&m + e->type->messages[v->message].desc.fields[0].offset, &never, sizeof(never));
	if (v->kind == NO_MESSAGE) {
		buf_le16(out, (uint16_t)v->message);
		buf_le16(out, 0);
		buf_le32(out, 0);
	} else {
		(void)frame_put(out, e->type, v->message, &m, v->kind == FOREIGN_FD ? 1 : e->type->messages[v->message].fds, IPC_PACKET_MAX, &full);
	}
	p = out->mem + out->at;
	if (v->kind == SHORT) { /* bodies of zeros are below 256 bytes */
		p[4] = (char)(p[4] - 1);
		buf_cut(out, buf_len(out) - 1);
	}
	if (v->kind == FOREIGN_FD)
		e->fds[e->nfds++] = dup(r->null);
	r->sent++;
	(void)end_push(e);
}

static bool
said_since(const struct rig *r, off_t from, const char *a, const char *b)
{
	static char tail[TAIL + 1];
	ssize_t n = pread(r->log, tail, TAIL, from);
	char one[80], other[80];

	(void)snprintf(one, sizeof(one), " channel %s: ", a);
	(void)snprintf(other, sizeof(other), " channel %s: ", b);
	tail[n > 0 ? n : 0] = '\0';
	return strstr(tail, one) || strstr(tail, other);
}

/* Who must ask names the sibling; of the others the name of the channel is enough. */
static bool
blamed(struct rig *r, struct tally *t, uint64_t closed, off_t from, const struct violation *v)
{
	int64_t began = now_ms();
	uint64_t asked = r->asked, broken = r->broken;
	bool said = false;

	while (!r->wrong[0] && (t->closed == closed || !said || r->broken == broken || r->answered <= asked)) {
		if (!target_healthy(r))
			return broke(r, "it ended when %s, as %s, broke a rule", t->peer, t->type->name);
		ends_read(r, 5);
		said = said || said_since(r, from, t->peer, tally_must_ask(r, t) ? t->peer : t->type->name);
		if (now_ms() - began > WAIT_MS)
			return broke(r, "violation %u by message %u of %s, as %s: %s", v->kind, v->message, t->type->name, t->peer,
			    t->closed == closed ? "the channel is still open" : !said ? "the log does not name it" : r->broken == broken ? "suited does not hear of it" : "it does not answer any more");
	}
	return r->wrong[0] == '\0';
}

static struct end *
end_of(struct rig *r, const struct tally *t)
{
	for (size_t i = 0; i < r->nends; i++)
		if (r->ends[i]->tally == t && r->ends[i]->kind == END_WIRE)
			return r->ends[i];
	return NULL;
}

static bool
try_channel(struct rig *r, struct tally *t, unsigned *tried)
{
	struct violation cases[CASES];
	struct end *e = end_of(r, t);
	bool waits = t->type == &ipc_channel_certs && e && e->side == CHANNEL_SERVER; /* read while it waits for an answer, alone */
	size_t n = e && !waits ? cases_of(r, e, cases) : 0;

	for (size_t i = 0; i < n; i++) {
		off_t from = lseek(r->log, 0, SEEK_END);
		uint64_t closed = t->closed;

		if (!(e = end_of(r, t)))
			return broke(r, "no other channel %s with %s", t->type->name, t->peer);
		commit(r, e, &cases[i]);
		if (!blamed(r, t, closed, from, &cases[i]))
			return false;
		++*tried;
	}
	return true;
}

bool
blame_tried(struct rig *r)
{
	const struct conf *quiet = r->conf;
	unsigned tried = 0;
	bool ok;

	r->conf = r->loud;
	r->polite = true;
	ok = target_start(r);
	for (size_t i = 0; ok && i < r->ntallies; i++)
		ok = try_channel(r, &r->tallies[i], &tried);
	if (ok)
		ok = target_stop(r);
	else
		target_kill(r);
	r->conf = quiet;
	r->polite = false;
	r->started = 0;
	if (ok)
		(void)printf("ok - %s closes the channel on each of %u violations, says whose it was, and goes on\n", r->target->name, tried);
	return ok;
}
