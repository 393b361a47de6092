/* SPDX-License-Identifier: ISC
 *
 * What a hostile filter may send: a negotiation, then replies, each taken at every
 * stage and done to a header and a body. What is left is a header that parses into as many
 * fields, and a body of canonical lines.
 */
#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "daemons/verifyd/edit.h"
#include "daemons/verifyd/milter.h"
#include "mail/header.h"

static void
change(struct edit *e, struct edit_lines *l, struct buf *body, const struct milter_reply *r)
{
	if (r->id == MILTER_SAYS_ADDHEADER)
		(void)edit_add(e, r->name, r->value);
	else if (r->id == MILTER_SAYS_INSHEADER)
		(void)edit_insert(e, r->index, r->name, r->value);
	else if (r->id == MILTER_SAYS_CHGHEADER)
		(void)edit_change(e, r->index, r->name, r->value);
	else if (r->id == MILTER_SAYS_REPLBODY)
		edit_lines_put(l, body, r->value);
}

static void
check_header(const struct edit *e)
{
	struct header_walk walk;
	struct header_field f;
	struct buf out;
	size_t n = 0;

	buf_init(&out, 1 << 20);
	edit_put(e, &out);
	walk = header_walk(buf_span(&out));
	while (header_next(&walk, &f))
		n++;
	/* names beyond the parser's bound end its walk */
	assert(!buf_ok(&out) || n <= e->count);
	assert(span_find(buf_span(&out), SPAN("\r\n\r\n")) == SIZE_MAX && span_find(buf_span(&out), SPAN("\r\n\n")) == SIZE_MAX);
	buf_free(&out);
}

static void
check_body(struct span body)
{
	for (size_t i = 0; i < body.n; i++) {
		assert(body.p[i] != '\0');
		assert(body.p[i] != '\r' || (i + 1 < body.n && body.p[i + 1] == '\n'));
		assert(body.p[i] != '\n' || (i > 0 && body.p[i - 1] == '\r'));
	}
}

/* What the next filter is told of a field: one packet, two strings, no CR. */
static void
check_event(const struct milter *m, const struct field *f)
{
	struct span all, packet;
	struct buf out;

	buf_init(&out, 1 << 20);
	milter_put_header(m, &out, f->name, f->value);
	if (buf_ok(&out) && buf_len(&out) < MILTER_PACKET_MAX) {
		all = buf_span(&out);
		assert(milter_next(&all, &packet) == MILTER_PACKET && !all.n);
		assert(packet.p[packet.n - 1] == '\0' && span_chr(packet, '\r') == SIZE_MAX);
		assert(span_chr(span_from(packet, span_chr(packet, '\0') + 1), '\0') == packet.n - span_chr(packet, '\0') - 2);
	}
	buf_free(&out);
}

static void
as_milter(struct span in)
{
	static const char header[] = "Received: us\r\nSubject: x\r\nX: 1\r\n";
	struct edit_lines lines = { .cr = false };
	struct milter m;
	struct edit e;
	struct buf body, text;
	struct span packet;
	struct fail why;

	milter_init(&m);
	buf_init(&body, 1 << 18);
	buf_init(&text, 4096);
	if (milter_next(&in, &packet) == MILTER_PACKET && milter_negotiated(&m, packet, &why) && edit_init(&e, span_str(header), 14, 1 << 18)) {
		while (milter_next(&in, &packet) == MILTER_PACKET)
			for (unsigned at = 0; at < MILTER_EVENTS; at++) {
				struct milter_reply r;

				if (!milter_take(&m, (enum milter_event)at, packet, &r, &why))
					continue;
				milter_put_text(&text, &r);
				change(&e, &lines, &body, &r);
			}
		edit_lines_end(&lines, &body);
		check_header(&e);
		if (buf_ok(&body))
			check_body(buf_span(&body));
		for (const struct field *f = edit_next(&e, NULL); f; f = edit_next(&e, f))
			check_event(&m, f);
		edit_free(&e);
	}
	buf_free(&body);
	buf_free(&text);
	milter_free(&m);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	/* a copy, so that what reads behind it is seen */
	char *copy = malloc(size + 1);

	if (!copy)
		return 0;
	memcpy(copy, data, size);
	as_milter(span_of(copy, size));
	free(copy);
	return 0;
}
