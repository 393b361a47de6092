/* SPDX-License-Identifier: ISC */
#include "service/walls.h"

#include <string.h>

void
walls_limit(struct walls *w, const struct ipc_ctl_boot *m)
{
	w->granted.files = m->files;
	w->granted.memory = m->memory;
	w->granted.cpu = m->cpu;
}

static bool
grant_port(struct sandbox *granted, const struct ipc_ctl_reach *m)
{
	size_t i = 0;

	granted->tcp_connect = granted->tcp_connect || m->rights & REACH_CONNECT;
	granted->tcp_bind = granted->tcp_bind || m->rights & REACH_BIND;
	if (!m->port)
		return true;
	while (i < SANDBOX_PORTS && granted->ports[i])
		i++;
	if (i == SANDBOX_PORTS)
		return false;
	granted->ports[i] = m->port;
	return true;
}

static bool
grant_path(const char **list, struct span path)
{
	size_t i = 0;

	while (i < SANDBOX_PATHS && list[i])
		i++;
	return i < SANDBOX_PATHS && (list[i] = strndup(path.p, path.n));
}

bool
walls_grant(struct walls *w, const struct ipc_ctl_reach *m)
{
	if (m->rights & (REACH_CONNECT | REACH_BIND))
		return grant_port(&w->granted, m);
	if (m->path.n)
		return grant_path(m->rights & REACH_WRITE ? w->granted.write : w->granted.read, m->path);
	w->named |= m->rights;
	return true;
}

struct sandbox
walls_within(const struct walls *w, struct sandbox found)
{
	if (!(w->named & REACH_READ))
		memcpy(found.read, w->granted.read, sizeof(found.read));
	if (!(w->named & REACH_WRITE)) {
		memcpy(found.write, w->granted.write, sizeof(found.write));
		found.files_open = false;
	}
	found.tcp_connect = found.tcp_connect && w->granted.tcp_connect;
	found.tcp_bind = found.tcp_bind && w->granted.tcp_bind;
	return found;
}
