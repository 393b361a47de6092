/* SPDX-License-Identifier: ISC */
#include "log/target.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "sys/sandbox.h"

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

struct opening {
	const char *name;
	int fd, error;
};

/* A thread of its own: the walls are its own, the descriptor is the process's. */
static void *
open_within_walls(void *arg)
{
	struct opening *o = arg;

	sandbox_append_only();
	o->fd = open(o->name, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0640);
	o->error = errno;
	return NULL;
}

int
log_target_open(const char *name, struct fail *why)
{
	struct opening o = { .name = name, .fd = -1 };
	pthread_t thread;

	if (strcmp(name, "syslog") == 0)
		return open_syslog(why);
	o.error = pthread_create(&thread, NULL, open_within_walls, &o);
	if (o.error == 0)
		(void)pthread_join(thread, NULL);
	errno = o.error;
	if (o.fd < 0)
		(void)fail_errno(why, 0, "maillog_file %s", name);
	return o.fd;
}
