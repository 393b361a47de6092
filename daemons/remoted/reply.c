/* SPDX-License-Identifier: ISC */
#include "daemons/remoted/reply.h"

void
reply_init(struct reply *r)
{
	*r = (struct reply){ 0 };
	buf_init(&r->text, REPLY_TEXT);
}

void
reply_free(struct reply *r)
{
	buf_free(&r->text);
}

static void
keep(struct reply *r, struct span text)
{
	size_t room = buf_space(&r->text);

	if (room < 2)
		return;
	if (text.n > room - 1)
		text.n = room - 1;
	for (size_t i = 0; i < text.n; i++) {
		char c = text.p[i] == '\t' ? ' ' : text.p[i];

		buf_putc(&r->text, (unsigned char)c < ' ' || c == 0x7f ? '?' : c);
	}
	buf_putc(&r->text, '\n');
}

/* One line without its end; true in *last when it ends the reply. */
static bool
take_line(struct reply *r, struct span line, bool *last)
{
	uint64_t code;

	if (line.n < 3 || !span_u64(span_sub(line, 0, 3), 599, &code) || code < 200)
		return false;
	*last = line.n == 3 || line.p[3] == ' ';
	if (!*last && line.p[3] != '-')
		return false;
	r->code = (unsigned)code;
	r->lines++;
	keep(r, span_trim(span_from(line, 4)));
	return r->lines <= REPLY_LINES;
}

enum reply_step
reply_next(struct reply *r, struct span *in)
{
	if (r->done) {
		r->code = r->lines = 0;
		r->done = false;
		buf_reset(&r->text);
	}
	for (;;) {
		size_t end = span_chr(*in, '\n');
		struct span line = span_sub(*in, 0, end);
		bool last = false;

		if (end == SIZE_MAX)
			return in->n > REPLY_LINE ? REPLY_BAD : REPLY_MORE;
		if (line.n && line.p[line.n - 1] == '\r')
			line.n--;
		if (line.n > REPLY_LINE || !take_line(r, line, &last))
			return REPLY_BAD;
		*in = span_from(*in, end + 1);
		if (last) {
			r->done = true;
			return REPLY_READY;
		}
	}
}

void
reply_join(const struct reply *r, struct buf *out, size_t n)
{
	struct span text = span_trim(buf_span(&r->text));

	if (n > 4 && text.n > n - 4) {
		text.n = n - 4;
		while (text.n && ((unsigned char)text.p[text.n] & 0xc0) == 0x80)
			text.n--;
	}
	buf_printf(out, "%03u%s", r->code, text.n ? " " : "");
	for (size_t i = 0; i < text.n; i++)
		buf_putc(out, text.p[i] == '\n' ? ' ' : text.p[i]);
}
