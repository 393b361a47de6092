/* SPDX-License-Identifier: ISC
 *
 * stand_in: stands beside a maild that is attacked, in the place of suited: passes the
 * root channel on to the rig, whose socket is "rig" in this folder, and ends when the rig
 * lets go of it.
 */
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

enum { CHANNEL = 3 };

int
main(void)
{
	struct sockaddr_un at = { .sun_family = AF_UNIX, .sun_path = "rig" };
	union {
		struct cmsghdr align;
		char bytes[CMSG_SPACE(sizeof(int))];
	} control = { .align = { .cmsg_len = CMSG_LEN(sizeof(int)), .cmsg_level = SOL_SOCKET, .cmsg_type = SCM_RIGHTS } };
	char byte = 0;
	struct iovec iov = { &byte, 1 };
	struct msghdr msg = { .msg_iov = &iov, .msg_iovlen = 1, .msg_control = control.bytes, .msg_controllen = sizeof(control.bytes) };
	int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);

	memcpy(CMSG_DATA(&control.align), &(int){ CHANNEL }, sizeof(int));
	if (fd < 0 || connect(fd, (struct sockaddr *)&at, sizeof(at)) < 0 || sendmsg(fd, &msg, 0) != 1)
		return 1;
	(void)close(CHANNEL);
	while (read(fd, &byte, 1) > 0)
		continue;
	return 0;
}
