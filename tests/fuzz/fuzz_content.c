/* SPDX-License-Identifier: ISC */
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "mail/content.h"
#include "mail/limits.h"

/* The rules in their plainest form, to hold the fast ones against: where does it end, and is it clean? */
static size_t
plain_end(struct span in, bool *clean, struct buf *out)
{
	bool start = true; /* of a line */

	*clean = true;
	for (size_t i = 0; i < in.n; i++) {
		char c = in.p[i];

		if (start && c == '.') {
			if (span_starts(span_from(in, i), SPAN(".\r\n")))
				return i + 3;
			start = false;
			if (span_starts(span_from(in, i + 1), SPAN("\r\n")))
				abort();
			continue;
		}
		if (c == '\r' && i + 1 < in.n && in.p[i + 1] == '\n') {
			buf_puts(out, "\r\n");
			start = true;
			i++;
			continue;
		}
		*clean = *clean && c != '\r' && c != '\n' && c != '\0';
		start = false;
		buf_putc(out, c);
	}
	return SIZE_MAX;
}

/* What is wrong does not depend on how it was cut. */
static void
check_cuts(struct span all, size_t piece)
{
	static const struct content_limits limits = { .line = 40, .size = 400, .hops = 3, .header = 200 };
	unsigned status[2];

	for (int i = 0; i < 2; i++) {
		struct content c;
		struct span in = SPAN_NONE, run;
		size_t have = 0;
		enum content_step step = CONTENT_MORE;

		content_init(&c, &limits);
		while (step != CONTENT_END && have < all.n) {
			size_t from = have - in.n;

			have = i && all.n - have > piece ? have + piece : i ? all.n : have + 1;
			in = span_sub(all, from, have - from);
			while ((step = content_next(&c, &in, &run)) != CONTENT_MORE && step != CONTENT_END)
				continue;
		}
		status[i] = c.status;
	}
	if (status[0] != status[1])
		abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const struct content_limits limits = { .line = 1 << 20 };
	struct span all = span_of(data + 1, size - 1), in, run;
	size_t piece, have = 0, done = 0, end;
	struct content c;
	struct buf want, got;
	bool clean, ended = false;

	if (size < 2)
		return 0;
	piece = data[0] ? data[0] : 1000;
	buf_init(&want, 1 << 20);
	buf_init(&got, 1 << 20);
	end = plain_end(all, &clean, &want);
	content_init(&c, &limits);
	while (!ended && have < all.n) {
		enum content_step step;

		have = have + piece > all.n ? all.n : have + piece;
		in = span_of(all.p + done, have - done);
		while ((step = content_next(&c, &in, &run)) != CONTENT_MORE) {
			if (step == CONTENT_RUN)
				buf_put(&got, run);
			if (step == CONTENT_END) {
				ended = true;
				break;
			}
		}
		done = have - in.n;
		if (!ended && in.n > LIMIT_FIELD_NAME + 4)
			abort();
	}
	if (ended != (end != SIZE_MAX) || (ended && done != end))
		abort();
	if (ended && clean != (c.status == 0))
		abort();
	if (ended && clean && !span_eq(buf_span(&got), buf_span(&want)))
		abort();
	if (ended && clean) { /* and back again */
		struct stuff s;

		stuff_init(&s);
		buf_reset(&want);
		for (size_t at = 0; at < buf_len(&got); at += piece) {
			in = span_sub(buf_span(&got), at, piece);
			if (stuff_plain(&s, in)) {
				buf_put(&want, in);
				continue;
			}
			while (stuff_next(&s, &in, &run))
				buf_put(&want, run);
		}
		buf_put(&want, stuff_tail(&s));
		buf_reset(&got);
		if (plain_end(buf_span(&want), &clean, &got) != buf_len(&want) || !clean)
			abort();
	}
	check_cuts(all, piece);
	buf_free(&want);
	buf_free(&got);
	return 0;
}
