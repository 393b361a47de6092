/* SPDX-License-Identifier: ISC */
#include "net/shun.h"

#include <sys/socket.h>
#include <unistd.h>

#include "sys/box.h"

bool
shun_host(struct loop *loop, const struct netaddr *to)
{
	const struct box *b = *loop_box(loop);
	uint8_t bytes[16];

	return b && b->peers.count && netaddr_bytes(to, bytes) && box_level(b, box_name(bytes)) == BOX_SHUNNED;
}

bool
shun_client(struct loop *loop, int fd, const struct netaddr *peer, struct span text)
{
	if (!shun_host(loop, peer))
		return false;
	if (text.n)
		(void)send(fd, text.p, text.n, MSG_DONTWAIT | MSG_NOSIGNAL);
	(void)close(fd);
	return true;
}
