/* SPDX-License-Identifier: ISC
 *
 * Each field is its number, its length (16 bits) and its lines.
 */
#include "daemons/mailboxd/keptfield.h"

#include "base/cursor.h"
#include "mail/header.h"

enum { HEAD = 3 };

static const struct span names[] = {
#define KEPT_FIELD(name) SPAN_INIT(name),
#include "daemons/mailboxd/keptfield.def"
#undef KEPT_FIELD
};

enum { NAMES = sizeof(names) / sizeof(names[0]) };
_Static_assert(NAMES <= 64, "a bit for each");
_Static_assert(KEPTFIELD_MAX <= UINT16_MAX, "a length");

static unsigned
number_of(struct span name)
{
	unsigned i = 0;

	while (i < NAMES && !span_caseeq(names[i], name))
		i++;
	return i;
}

uint64_t
keptfield_bit(struct span name)
{
	unsigned i = number_of(name);

	return i < NAMES ? 1ull << i : 0;
}

bool
keptfield_take(struct span header, struct buf *out)
{
	struct header_walk w = header_walk(header);
	size_t begin = buf_len(out);
	struct header_field f;

	while (header_next(&w, &f)) {
		unsigned i = number_of(f.name);

		if (i == NAMES)
			continue;
		if (buf_len(out) - begin + HEAD + f.whole.n > KEPTFIELD_MAX)
			return false;
		buf_putc(out, (char)i);
		buf_putc(out, (char)(f.whole.n & 0xff));
		buf_putc(out, (char)(f.whole.n >> 8));
		buf_put(out, f.whole);
	}
	return buf_ok(out);
}

void
keptfield_put(struct span kept, uint64_t bits, struct buf *out)
{
	struct cursor c = cursor_of(kept);

	while (!cursor_end(&c)) {
		unsigned i = cursor_u8(&c), low = cursor_u8(&c), high = cursor_u8(&c);
		struct span lines = cursor_bytes(&c, low | high << 8);

		if (!c.ok)
			return;
		if (i < NAMES && bits >> i & 1)
			buf_put(out, lines);
	}
}
