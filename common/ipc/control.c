/* SPDX-License-Identifier: ISC */
#include "ipc/control.h"

#include <stdio.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "sys/passrights.h"

const char *
control_path(char *path, struct span run_directory, const char *channel)
{
	(void)snprintf(path, B_PATH, "%.*s/%s", SPAN_ARG(run_directory), channel);
	return path;
}

int
control_listen(const char *path, mode_t mode, struct fail *why)
{
	struct sockaddr_un at = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	mode_t mask = umask(0777 & ~mode);
	struct stat st;
	bool ok;

	/* A name left over by a program that is gone; nothing but a socket is removed. */
	if (lstat(path, &st) == 0 && S_ISSOCK(st.st_mode))
		(void)unlink(path);
	/* Nobody hands over descriptors here (sys/passrights.h). */
	(void)setsockopt(fd, SOL_SOCKET, SO_PASSRIGHTS, &(int){ 0 }, sizeof(int));
	ok = fd >= 0 && span_cstr(span_str(path), at.sun_path, sizeof(at.sun_path)) &&
	    bind(fd, (struct sockaddr *)&at, sizeof(at)) == 0 && listen(fd, 64) == 0;
	if (!ok)
		(void)fail_errno(why, 0, "control socket %s", path);
	(void)umask(mask);
	if (ok)
		return fd;
	if (fd >= 0)
		(void)close(fd);
	return -1;
}
