/* SPDX-License-Identifier: ISC
 *
 * The one part of listeners that root does: nothing else of them is linked into maild.
 */
#include "net/listener.h"

#include <netinet/tcp.h>
#include <sys/stat.h>
#include <unistd.h>

#include "sys/passrights.h"

static bool
prepare(int fd, const struct netaddr *at)
{
	int one = 1;

	if (netaddr_family(at) == AF_UNIX) {
		struct stat st;

		/* A name left over by a program that is gone; nothing but a socket is removed. */
		if (lstat(at->u.un.sun_path, &st) == 0 && S_ISSOCK(st.st_mode))
			(void)unlink(at->u.un.sun_path);
		/* Nobody hands over descriptors here (sys/passrights.h). */
		(void)setsockopt(fd, SOL_SOCKET, SO_PASSRIGHTS, &(int){ 0 }, sizeof(int));
		return true;
	}
	if (setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one)) < 0)
		return false;
	/* Accepted sockets inherit this: streams coalesce their output themselves. */
	(void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
	return netaddr_family(at) != AF_INET6 || setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &one, sizeof(one)) == 0;
}

int
listener_bind(const struct netaddr *at, int backlog, struct fail *why)
{
	int fd = socket(netaddr_family(at), SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	char text[NETADDR_TEXT];

	if (fd >= 0 && prepare(fd, at) && bind(fd, &at->u.sa, at->len) == 0 && listen(fd, backlog) == 0)
		return fd;
	(void)fail_errno(why, 0, "listening on %.*s", SPAN_ARG(netaddr_text_port(at, text)));
	if (fd >= 0)
		(void)close(fd);
	return -1;
}
