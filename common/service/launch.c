/* SPDX-License-Identifier: ISC */
#include "service/launch.h"

#include <fcntl.h>
#include <stdio.h>
#include <string.h>
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

bool
launch_reach(const struct launch_reach *row, const struct conf *conf, const char *program, char path[B_PATH], struct ipc_ctl_reach *m)
{
	const char *setting = (const char *)conf + row->what.setting;
	struct span base = SPAN_NONE;

	if (strcmp(row->program, program) != 0)
		return false;
	*m = (struct ipc_ctl_reach){ .rights = row->rights };
	if (row->what.kind == REACH_PORT)
		m->port = (uint32_t)*(const uint64_t *)(const void *)setting;
	if (row->what.kind == REACH_SETTING)
		base = *(const struct span *)(const void *)setting;
	if (row->what.kind == REACH_SETTING && base.n == 0)
		return false;
	(void)snprintf(path, B_PATH, "%.*s%s", SPAN_ARG(base), row->what.below);
	m->path = span_str(path);
	return true;
}

static bool
tell_reach(struct channel *ctl, const struct launch *what)
{
	struct ipc_ctl_reach m;
	char path[B_PATH];

	for (size_t i = 0; i < what->nreach; i++)
		if (launch_reach(&what->reach[i], what->conf, what->name, path, &m) && !ipc_send_ctl_reach(ctl, &m))
			return false;
	return true;
}

struct channel *
launch_daemon(struct loop *loop, const struct launch *what, const struct channel_ops *ops, void *owner, struct fail *why)
{
	struct ipc_ctl_boot boot = { .name = span_str(what->name), .instance = what->instance, .instances = what->instances,
		.unprivileged = what->unprivileged, .promises = what->promises, .files = what->files, .memory = what->memory, .cpu = what->cpu };
	struct ipc_root_spawn spawn = { .id = what->id, .program = span_str(what->name), .label = span_str(what->label), .uid = what->uid, .gid = what->gid };
	struct channel *ctl;
	int fds[2], config;

	if (!make_pair(fds, why))
		return NULL;
	ctl = channel_new(loop, fds[0], &ipc_channel_ctl, CHANNEL_CLIENT, ops, owner);
	config = ctl ? fcntl(what->config, F_DUPFD_CLOEXEC, 0) : -1;
	if (config >= 0 && ipc_send_ctl_boot(ctl, &boot, config) && tell_reach(ctl, what)) {
		if (ipc_send_root_spawn(what->root, &spawn, fds[1]))
			return ctl;
	} else {
		(void)close(fds[1]);
	}
	(void)fail_errno(why, 0, "boot %s", what->name);
	channel_free(&ctl);
	return NULL;
}

bool
launch_wire(const struct launch_end *client, const struct launch_end *server, const char *channel, bool mended, struct fail *why)
{
	struct ipc_ctl_peer to_client = { .channel = span_str(channel), .client = true, .name = span_str(server->name), .instance = server->instance,
		.crashed = server->crashed, .mended = mended };
	struct ipc_ctl_peer to_server = { .channel = span_str(channel), .client = false, .name = span_str(client->name), .instance = client->instance,
		.crashed = client->crashed, .mended = mended };
	bool sent_client, sent_server;
	int fds[2];

	if (!make_pair(fds, why))
		return false;
	sent_client = ipc_send_ctl_peer(client->ctl, &to_client, fds[0]);
	sent_server = ipc_send_ctl_peer(server->ctl, &to_server, fds[1]);
	return (sent_client && sent_server) ||
	    fail_set(why, FAIL_TEMP, 0, "channel %s between %s and %s: a side is closed", channel, client->name, server->name);
}
