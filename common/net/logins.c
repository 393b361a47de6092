/* SPDX-License-Identifier: ISC */
#include "net/logins.h"

bool
logins_put(struct buf *logins, struct span nexthop, struct span login)
{
	size_t colon = span_chr(login, ':');

	if (colon == SIZE_MAX || colon == 0 || span_chr(login, '\n') != SIZE_MAX)
		return false;
	buf_put(logins, nexthop);
	buf_putc(logins, ' ');
	buf_put(logins, login);
	buf_putc(logins, '\n');
	return true;
}

struct span
logins_get(struct span logins, struct span nexthop)
{
	while (logins.n) {
		struct span line = span_cut(&logins, '\n');

		if (nexthop.n && line.n > nexthop.n && span_starts(line, nexthop) && line.p[nexthop.n] == ' ')
			return span_from(line, nexthop.n + 1);
	}
	return SPAN_NONE;
}
