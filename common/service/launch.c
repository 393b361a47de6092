/* SPDX-License-Identifier: ISC */
#include "service/launch.h"

#include <fcntl.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

int
launch_config(const struct conf *conf, unsigned see, struct fail *why)
{
	struct buf text;
	int fd = memfd_create("pillarpost.conf", MFD_CLOEXEC | MFD_ALLOW_SEALING);
	bool ok;

	buf_init(&text, CONF_FILE_MAX);
	conf_canonical(conf, see, &text);
	ok = fd >= 0 && buf_ok(&text) && write(fd, buf_span(&text).p, buf_len(&text)) == (ssize_t)buf_len(&text) &&
	    fcntl(fd, F_ADD_SEALS, F_SEAL_WRITE | F_SEAL_GROW | F_SEAL_SHRINK | F_SEAL_SEAL) == 0;
	buf_free(&text);
	if (ok)
		return fd;
	(void)fail_errno(why, 0, "hand over the configuration");
	if (fd >= 0)
		(void)close(fd);
	return -1;
}

static bool
make_pair(int fds[2], struct fail *why)
{
	return socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, fds) == 0 || fail_errno(why, 0, "socketpair");
}

struct channel *
launch_daemon(struct loop *loop, const struct launch *what, const struct channel_ops *ops, void *owner, pid_t *pid, struct fail *why)
{
	struct ipc_ctl_boot boot = { .name = span_str(what->name), .instance = what->instance, .instances = what->instances,
		.unprivileged = what->unprivileged, .promises = what->promises };
	char program[B_PATH];
	struct child_spec spec = { .program = program, .name = what->name, .label = what->label, .become = what->become, .log = what->log };
	struct channel *ctl;
	int fds[2], config;

	(void)snprintf(program, sizeof(program), "%s/%s", what->directory, what->name);
	if (access(program, X_OK) < 0) {
		(void)fail_errno(why, 0, "%s", program);
		return NULL;
	}
	if (!make_pair(fds, why))
		return NULL;
	spec.ctl = fds[1];
	*pid = child_start(&spec, why);
	(void)close(fds[1]);
	if (*pid < 0) {
		(void)close(fds[0]);
		return NULL;
	}
	ctl = channel_new(loop, fds[0], &ipc_channel_ctl, CHANNEL_CLIENT, ops, owner);
	config = fcntl(what->config, F_DUPFD_CLOEXEC, 0);
	if (!ctl || config < 0 || !ipc_send_ctl_boot(ctl, &boot, config)) {
		(void)fail_errno(why, 0, "boot %s", what->name);
		channel_free(&ctl); /* the child ends with its ctl channel */
	}
	return ctl;
}

bool
launch_wire(struct channel *client_ctl, const char *client, unsigned client_instance, struct channel *server_ctl, const char *server,
    unsigned server_instance, const char *channel, struct fail *why)
{
	struct ipc_ctl_peer to_client = { .channel = span_str(channel), .client = true, .name = span_str(server), .instance = server_instance };
	struct ipc_ctl_peer to_server = { .channel = span_str(channel), .client = false, .name = span_str(client), .instance = client_instance };
	bool sent_client, sent_server;
	int fds[2];

	if (!make_pair(fds, why))
		return false;
	sent_client = ipc_send_ctl_peer(client_ctl, &to_client, fds[0]);
	sent_server = ipc_send_ctl_peer(server_ctl, &to_server, fds[1]);
	return (sent_client && sent_server) || fail_set(why, FAIL_TEMP, 0, "channel %s between %s and %s: a side is closed", channel, client, server);
}
