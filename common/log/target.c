/* SPDX-License-Identifier: ISC */
#include "log/target.h"

#include <fcntl.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

static int
open_syslog(struct fail *why)
{
	struct sockaddr_un to = { .sun_family = AF_UNIX, .sun_path = "/dev/log" };
	int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);

	if (fd >= 0 && connect(fd, (struct sockaddr *)&to, sizeof(to)) == 0)
		return fd;
	(void)fail_errno(why, 0, "maillog_file = syslog: %s", to.sun_path);
	if (fd >= 0)
		(void)close(fd);
	return -1;
}

int
log_target_open(const char *name, struct fail *why)
{
	int fd;

	if (strcmp(name, "syslog") == 0)
		return open_syslog(why);
	fd = open(name, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0640);
	if (fd < 0)
		(void)fail_errno(why, 0, "maillog_file %s", name);
	return fd;
}
