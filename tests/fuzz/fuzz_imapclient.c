/* SPDX-License-Identifier: ISC
 *
 * imapclient: what a server of somebody else answers, and its items.
 */
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "tools/mailctl/imapclient.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static bool
on_octets(void *arg, struct span octets, struct fail *why)
{
	(void)why;
	*(size_t *)arg += octets.n;
	return true;
}

static void
items(struct span text, struct arena *mem, unsigned depth)
{
	struct span value;
	bool list;

	while (imapclient_item(&text, mem, &value, &list)) {

		if (list && depth < 4)
			items(value, mem, depth + 1);
		if (text.n && text.p[0] == ')') /* as a caller would not: go on behind it */
			text = span_from(text, 1);
	}
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct imapclient c = { .fd = -1, .tag = 1, .on_octets = on_octets };
	struct fail why;
	size_t octets = 0;
	int fds[2];

	if (size > 60000 || socketpair(AF_UNIX, SOCK_STREAM, 0, fds) < 0)
		return 0;
	if (size && write(fds[1], data, size) != (ssize_t)size)
		size = 0;
	(void)close(fds[1]);
	c.fd = fds[0];
	c.arg = &octets;
	buf_init(&c.in, IMAPCLIENT_LINE_MAX);
	buf_init(&c.text, IMAPCLIENT_LINE_MAX);
	while (imapclient_read(&c, &why) != IMAPCLIENT_FAILED) {
		struct arena mem;

		arena_init(&mem, 1 << 20);
		items(buf_span(&c.text), &mem, 0);
		arena_free(&mem);
	}
	if (octets > size)
		__builtin_trap();
	imapclient_close(&c);
	return 0;
}
