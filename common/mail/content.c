/* SPDX-License-Identifier: ISC */
#include "mail/content.h"

#include <stddef.h>
#include <string.h>

#include "mail/charset.h"
#include "mail/limits.h"
#include "mail/status.h"

void
content_init(struct content *c, const struct content_limits *limits)
{
	*c = (struct content){ .limits = *limits };
	if (!c->limits.line)
		c->limits.line = LIMIT_LINE;
	if (!c->limits.header)
		c->limits.header = LIMIT_HEADER_SIZE;
}

static void
refuse(struct content *c, enum status_id status)
{
	if (!c->status)
		c->status = status;
}

static bool
in_binary(const struct content *c)
{
	return c->limits.binary && c->header_done;
}

/* Moves n bytes from *in to *run and looks at them as a whole. False if there is nothing to put out. */
static bool
take(struct content *c, struct span *in, size_t n, struct span *run)
{
	*run = span_sub(*in, 0, n);
	*in = span_from(*in, n);
	if (n == 0)
		return false;
	c->size += n;
	if (memchr(run->p, '\0', run->n) && !in_binary(c))
		refuse(c, STATUS_NUL_BYTE);
	if (c->limits.size && c->size > c->limits.size)
		refuse(c, STATUS_TOO_BIG);
	if (!c->header_done && c->size > c->limits.header)
		refuse(c, STATUS_HEADER_TOO_LARGE);
	if (!c->eightbit || !c->header_done) {
		if (utf8_has_8bit(*run)) {
			c->eightbit = true;
			c->header_8bit = c->header_8bit || !c->header_done;
		}
	}
	return c->status == 0;
}

enum sight { SIGHT_YES, SIGHT_NO, SIGHT_MORE };

static void
note_field(struct content *c, struct span name)
{
	static const struct span names[CONTENT_BIT_COUNT] = {
#define X(name, text) [CONTENT_BIT_##name] = SPAN_INIT(text),
		CONTENT_FIELDS(X)
#undef X
	};

	for (unsigned i = 0; i < CONTENT_BIT_COUNT; i++) {
		if (!span_caseeq(name, names[i]))
			continue;
		c->fields |= 1u << i;
		c->received += i == CONTENT_BIT_RECEIVED;
		c->delivered_to += i == CONTENT_BIT_DELIVERED_TO;
		break;
	}
	if (c->limits.hops && c->received > c->limits.hops)
		refuse(c, STATUS_LOOP);
}

/* Does a header field stand here (RFC 5322 2.2, blanks before the colon as in 4.5)? */
static enum sight
sight_field(struct content *c, struct span s)
{
	size_t n = 0, name;

	while (n < s.n && s.p[n] > ' ' && s.p[n] <= '~' && s.p[n] != ':')
		n++;
	name = n;
	while (n < s.n && ascii_blank(s.p[n]))
		n++;
	if (n >= LIMIT_FIELD_NAME) /* as header_next() has it */
		return SIGHT_NO;
	if (n == s.n)
		return c->last ? SIGHT_NO : SIGHT_MORE;
	if (name == 0 || s.p[n] != ':')
		return SIGHT_NO;
	c->in_field = true;
	note_field(c, span_sub(s, 0, name));
	return SIGHT_YES;
}

/* At the start of a line of the header: does the header go on with it? */
static enum sight
sight_header(struct content *c, struct span s)
{
	if (s.p[0] == '\r' && s.n < 2)
		return SIGHT_MORE;
	if (s.p[0] == '\r' && s.p[1] == '\n') {
		c->need_blank = false;
		return SIGHT_NO;
	}
	c->need_blank = true;
	if (ascii_blank(s.p[0]))
		return c->in_field ? SIGHT_YES : SIGHT_NO;
	return sight_field(c, s);
}

/* Takes one line, or as much of it as is there, into the run of *n bytes. False when more input is needed. */
static bool
take_line(struct content *c, struct span in, size_t *n)
{
	struct span s = span_from(in, *n);
	const char *lf = memchr(s.p, '\n', s.n);
	size_t text = lf ? (size_t)(lf - s.p) : s.n; /* in front of LF, or of what is still to come */
	bool cr = text > 0 && s.p[text - 1] == '\r';

	text -= cr;
	if (text && memchr(s.p, '\r', text))
		refuse(c, STATUS_BARE_CR);
	c->line_n += text;
	if (c->line_n > c->limits.line)
		refuse(c, STATUS_CONTENT_LINE_TOO_LONG);
	if (!lf) { /* a CR in the last place waits for its LF */
		*n += text;
		return false;
	}
	*n += text + cr + 1u;
	if (cr) {
		c->line_n = 0;
		c->unstuffed = false;
		c->lines++;
	} else { /* no line end: what follows does not stand at the start of a line, least of all a dot */
		refuse(c, STATUS_BARE_LF);
		c->line_n++;
	}
	return true;
}

/* A dot stands at the start of a line, at the front of *in. */
static enum sight
sight_end(const struct span *in)
{
	if (in->n < 2 || (in->p[1] == '\r' && in->n < 3))
		return SIGHT_MORE;
	return in->p[1] == '\r' && in->p[2] == '\n' ? SIGHT_YES : SIGHT_NO;
}

static enum content_step
header_end(struct content *c, bool blank)
{
	c->header_done = true;
	c->need_blank = blank;
	return CONTENT_HEADER;
}

/* Behind the last byte of content that came by length: a missing line end is supplied. */
static enum content_step
length_end(struct content *c, struct span *in, struct span *run)
{
	if (in->n && in->p[0] == '\r')
		refuse(c, STATUS_BARE_CR);
	*in = SPAN_NONE;
	if (c->line_n && !c->status) {
		c->line_n = 0;
		c->lines++;
		c->size += 2;
		*run = SPAN("\r\n");
		return CONTENT_RUN;
	}
	return c->header_done || c->status ? CONTENT_END : header_end(c, true);
}

/* Bytes without lines: only their end and their number count. */
static enum content_step
binary_body(struct content *c, struct span *in, struct span *run)
{
	if (in->n && take(c, in, in->n, run))
		return CONTENT_RUN;
	return c->last ? CONTENT_END : CONTENT_MORE;
}

static enum content_step
need_more(struct content *c, struct span *in, size_t n, struct span *run)
{
	if (take(c, in, n, run))
		return CONTENT_RUN;
	return c->limits.by_length && c->last ? length_end(c, in, run) : CONTENT_MORE;
}

static enum content_step
next_step(struct content *c, struct span *in, struct span *run)
{
	size_t n = 0; /* bytes at the front of *in that will be the run */

	if (in_binary(c))
		return binary_body(c, in, run);
	for (;;) {
		struct span s = span_from(*in, n);
		enum sight sight;

		if (s.n == 0)
			return need_more(c, in, n, run);
		if (c->line_n == 0 && s.p[0] == '.' && !c->unstuffed && !c->limits.by_length) {
			if (n && take(c, in, n, run))
				return CONTENT_RUN;
			n = 0;
			sight = sight_end(in);
			if (sight == SIGHT_MORE)
				return CONTENT_MORE;
			if (sight == SIGHT_YES && !c->header_done && !c->status)
				return header_end(c, true);
			*in = span_from(*in, sight == SIGHT_YES ? 3 : 1);
			if (sight == SIGHT_YES)
				return CONTENT_END;
			c->unstuffed = true;
			continue;
		}
		if (c->line_n == 0 && !c->header_done && !c->status) {
			sight = sight_header(c, s);
			if (sight == SIGHT_MORE)
				return need_more(c, in, n, run);
			if (sight == SIGHT_NO) {
				if (n && take(c, in, n, run))
					return CONTENT_RUN;
				n = 0;
				if (c->status)
					continue;
				return header_end(c, c->need_blank);
			}
		}
		if (!take_line(c, *in, &n))
			return need_more(c, in, n, run);
	}
}

/* A step looks at a whole run at once and may meet several faults in another order than they stand. Which one is named
 * must not depend on how the input was cut: it is the one met byte by byte. */
static unsigned
first_fault(struct content c, struct span all, unsigned met)
{
	bool last = c.last;
	size_t done = 0;

	for (size_t have = 1; have <= all.n; have++) {
		struct span in = span_sub(all, done, have - done), run;
		enum content_step step;

		c.last = last && have == all.n;
		do
			step = next_step(&c, &in, &run);
		while (!c.status && (step == CONTENT_RUN || step == CONTENT_HEADER));
		if (c.status)
			return c.status;
		done = have - in.n;
	}
	return met;
}

enum content_step
content_next(struct content *c, struct span *in, struct span *run)
{
	const struct content before = *c;
	const struct span all = *in;
	enum content_step step = next_step(c, in, run);

	if (c->status && !before.status)
		c->status = first_fault(before, all, c->status);
	return step;
}

void
stuff_init(struct stuff *s)
{
	*s = (struct stuff){ .last = { '\r', '\n' } };
}

/* Offset of the next dot at the start of a line behind offset 0, or s.n. */
static size_t
next_dot(struct span s)
{
	size_t at = 1;

	while (at < s.n) {
		const char *dot = memchr(s.p + at, '.', s.n - at);

		if (!dot)
			break;
		if (dot[-1] == '\n')
			return (size_t)(dot - s.p);
		at = (size_t)(dot - s.p) + 1;
	}
	return s.n;
}

enum { BLOCK = 64 };

/* A dot behind LF; the byte before is looked at, too. In a form that compilers make vector instructions of. */
static bool
has_dot(const char *p, size_t n)
{
	unsigned char found = 0;

	for (size_t i = 0; i < n; i++)
		found |= (unsigned char)((p[(ptrdiff_t)i - 1] == '\n') & (p[i] == '.'));
	return found != 0;
}

static void
note_last(struct stuff *s, struct span run)
{
	s->last[0] = run.n > 1 ? run.p[run.n - 2] : s->last[1];
	s->last[1] = run.p[run.n - 1];
}

bool
stuff_plain(struct stuff *s, struct span in)
{
	size_t at = 1;

	if (in.n == 0)
		return true;
	if (in.p[0] == '.' && s->last[1] == '\n')
		return false;
	for (; in.n - at >= BLOCK; at += BLOCK)
		if (has_dot(in.p + at, BLOCK))
			return false;
	if (has_dot(in.p + at, in.n - at))
		return false;
	s->dot = false;
	note_last(s, in);
	return true;
}

bool
stuff_next(struct stuff *s, struct span *in, struct span *run)
{
	if (in->n == 0)
		return false;
	if (in->p[0] == '.' && s->last[1] == '\n' && !s->dot) {
		s->dot = true;
		*run = SPAN(".");
		return true;
	}
	s->dot = false;
	*run = span_sub(*in, 0, next_dot(*in));
	*in = span_from(*in, run->n);
	note_last(s, *run);
	return true;
}

struct span
stuff_tail(const struct stuff *s)
{
	return s->last[0] == '\r' && s->last[1] == '\n' ? SPAN(".\r\n") : SPAN("\r\n.\r\n");
}
