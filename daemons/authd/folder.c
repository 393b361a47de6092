/* SPDX-License-Identifier: ISC */
#include "daemons/authd/folder.h"

bool
folder_split(struct span login, struct span delimiters, struct buf *user, struct span *folder)
{
	struct span head, tail;
	size_t at;

	for (at = 0; at < login.n && span_chr(delimiters, login.p[at]) == SIZE_MAX; at++)
		continue;
	if (at == login.n)
		return false;
	head = span_sub(login, 0, at);
	tail = span_from(login, at + 1);
	buf_put(user, head);
	at = span_chr(head, '@') == SIZE_MAX ? span_rchr(tail, '@') : SIZE_MAX;
	if (at != SIZE_MAX)
		buf_put(user, span_from(tail, at));
	*folder = span_sub(tail, 0, at);
	return buf_ok(user);
}
