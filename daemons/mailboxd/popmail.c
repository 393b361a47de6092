/* SPDX-License-Identifier: ISC */
#include "daemons/mailboxd/popmail.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

enum {
	CHUNK = 32 << 10, /* between two looks at the output */
	BLOCK = 256,
};

bool
popmail_open(struct popmail *m, struct mailbox *mb, uint32_t uid, uint64_t lines, bool terse, struct buf *out)
{
	struct fail why;

	*m = (struct popmail){ .lines = lines, .fresh = true };
	if (!mailbox_content(mb, uid, &m->content, &why))
		return false;
	if (terse || lines != POPMAIL_ALL)
		buf_put(out, SPAN("+OK\r\n"));
	else
		buf_printf(out, "+OK %llu octets\r\n", (unsigned long long)m->content.size);
	return true;
}

void
popmail_close(struct popmail *m)
{
	content_close(&m->content);
}

/* The next n octets.  False: they are not to be had. */
static bool
take(struct popmail *m, char *to, size_t n)
{
	while (n > 0) {
		ssize_t got = pread(m->content.fd, to, n, (off_t)m->at);

		if (got < 0 && errno == EINTR)
			continue;
		if (got <= 0)
			return false;
		m->at += (uint64_t)got;
		to += got;
		n -= (size_t)got;
	}
	return true;
}

/* Whether a line of it begins with a dot.  By blocks, without a branch within, so that the compiler takes many octets at once. */
static bool
needs_dots(const struct popmail *m, struct span in)
{
	bool any = m->fresh && in.n && in.p[0] == '.';
	size_t at = 0;

	for (; !any && at + BLOCK < in.n; at += BLOCK) {
		unsigned char found = 0;

		for (size_t i = 0; i < BLOCK; i++)
			found |= (unsigned char)((in.p[at + i] == '\n') & (in.p[at + i + 1] == '.'));
		any = found;
	}
	for (; !any && at + 1 < in.n; at++)
		any = in.p[at] == '\n' && in.p[at + 1] == '.';
	return any;
}

/* in lies where it would be written over. */
static void
put_dotted(struct popmail *m, struct span in, struct buf *out)
{
	bool ends = in.p[in.n - 1] == '\n';
	char copy[CHUNK];
	struct span rest;
	size_t lf;

	memcpy(copy, in.p, in.n);
	rest = span_of(copy, in.n);
	if (m->fresh && in.p[0] == '.')
		buf_putc(out, '.');
	for (size_t at = 0; (lf = span_chr(span_from(rest, at), '\n')) != SIZE_MAX;) {
		at += lf + 1;
		if (at == rest.n || rest.p[at] != '.')
			continue;
		buf_put(out, span_sub(rest, 0, at));
		buf_putc(out, '.');
		rest = span_from(rest, at);
		at = 0;
	}
	buf_put(out, rest);
	m->fresh = ends;
}

/* Most messages need no dots: they are read to where they are sent from. */
static bool
put_part(struct popmail *m, size_t n, struct buf *out)
{
	char *room = n ? buf_room(out, n) : NULL;
	struct span in = span_of(room, n);

	if (n && (!room || !take(m, room, n)))
		return false;
	if (needs_dots(m, in)) {
		put_dotted(m, in, out);
	} else if (n) {
		m->fresh = room[n - 1] == '\n';
		buf_added(out, n);
	}
	return true;
}

/* False: there were enough lines. */
static bool
put_lines(struct popmail *m, struct span in, struct buf *out)
{
	while (in.n) {
		size_t lf = span_chr(in, '\n');
		size_t n = lf == SIZE_MAX ? in.n : lf + 1;
		struct span line = span_sub(in, 0, n);
		bool blank = ((m->fresh || m->lone_cr) && span_eq(line, SPAN("\n"))) || (m->fresh && span_eq(line, SPAN("\r\n")));

		if (m->fresh && m->in_body && m->lines-- == 0)
			return false;
		if (m->fresh && in.p[0] == '.')
			buf_putc(out, '.');
		buf_put(out, line);
		m->in_body = m->in_body || blank;
		m->lone_cr = m->fresh && span_eq(line, SPAN("\r"));
		m->fresh = lf != SIZE_MAX;
		in = span_from(in, n);
	}
	return true;
}

static bool
put_top(struct popmail *m, size_t n, struct buf *out, bool *enough)
{
	char part[CHUNK];

	if (!take(m, part, n))
		return false;
	*enough = !put_lines(m, span_of(part, n), out);
	return true;
}

enum popmail_state
popmail_put(struct popmail *m, struct buf *out, size_t high)
{
	bool enough = false;

	while (buf_len(out) < high) {
		uint64_t left = m->content.size - m->at;
		size_t n = left < CHUNK ? (size_t)left : CHUNK;

		if (!(m->lines == POPMAIL_ALL ? put_part(m, n, out) : put_top(m, n, out, &enough)))
			return POPMAIL_BROKEN;
		if (enough || m->at == m->content.size) {
			buf_put(out, m->fresh ? SPAN(".\r\n") : SPAN("\r\n.\r\n"));
			return POPMAIL_SENT;
		}
	}
	return POPMAIL_MORE;
}
