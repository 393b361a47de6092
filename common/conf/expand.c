/* SPDX-License-Identifier: ISC */
#include "conf/expand.h"

#include "base/cursor.h"

enum { EXPANDED_MAX = 1024 * 1024 };

static bool
name_char(char c)
{
	return ascii_alnum(c) || c == '_';
}

static bool
take_name(struct cursor *c, struct span *name)
{
	if (cursor_char(c, '{')) {
		*name = cursor_while(c, name_char);
		return cursor_char(c, '}') && name->n > 0;
	}
	if (cursor_char(c, '(')) {
		*name = cursor_while(c, name_char);
		return cursor_char(c, ')') && name->n > 0;
	}
	*name = cursor_while(c, name_char);
	return name->n > 0;
}

/* Inside quotes a value's own quotes must not end them. */
static void
insert(struct buf *out, struct span value, bool quoted)
{
	for (size_t i = 0; i < value.n; i++) {
		if (quoted && (value.p[i] == '"' || value.p[i] == '\\'))
			buf_putc(out, '\\');
		buf_putc(out, value.p[i]);
	}
}

bool
conf_expand(struct span raw, conf_lookup *lookup, void *arg, struct buf *out, struct fail *why)
{
	struct cursor c = cursor_of(raw);
	struct span name, value;
	bool quoted = false;

	while (!cursor_end(&c) && buf_len(out) < EXPANDED_MAX) {
		char ch = (char)cursor_u8(&c);

		if (ch != '$') {
			buf_putc(out, ch);
			if (ch == '"')
				quoted = !quoted;
			else if (ch == '\\' && quoted && !cursor_end(&c))
				buf_putc(out, (char)cursor_u8(&c));
		} else if (cursor_char(&c, '$')) {
			buf_putc(out, '$');
		} else if (!take_name(&c, &name)) {
			return fail_set(why, FAIL_PERM, 0,
			    "behind $ must be the name of an option; the $ itself is written $$");
		} else if (!lookup(arg, name, &value, why)) {
			return false;
		} else {
			insert(out, value, quoted);
		}
	}
	if (!cursor_end(&c) || !buf_ok(out))
		return fail_set(why, FAIL_LIMIT, 0, "the value becomes too long");
	return true;
}
