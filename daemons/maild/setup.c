/* SPDX-License-Identifier: ISC
 *
 * What must be there before the first daemon: directories and their owners,
 * listening sockets.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "daemons/maild/suite.h"
#include "ipc/control.h"
#include "log/log.h"
#include "net/listener.h"

enum { WHO_ROOT, WHO_MAIL, WHO_NAME };

struct owner {
	int who;
	const char *name;
};

static const struct {
	size_t option; /* offset of a struct span in struct conf */
	const char *below;
	struct owner owner;
	mode_t mode;
	const char *what;
} directories[] = {
#define ROOT { WHO_ROOT, "root" }
#define MAIL { WHO_MAIL, "mail" }
#define NAME(process) { WHO_NAME, #process }
#define DIRECTORY(option, below, user, mode, what) { offsetof(struct conf, option), below, user, mode, what },
#include "daemons/maild/processes.def"
#undef ROOT
#undef MAIL
#undef NAME
};

static const struct {
	enum conf_word service;
	const char *process;
} servers[] = {
#define SERVE(service, process) { service, #process },
#include "daemons/maild/processes.def"
};

static const struct {
	const char *channel, *process;
} controls[] = {
#define CONTROL(channel, server) { #channel, #server },
#include "daemons/maild/processes.def"
};

static bool
make_path(const char *path, struct fail *why)
{
	char part[B_PATH];

	for (const char *slash = strchr(path + 1, '/'); slash; slash = strchr(slash + 1, '/'))
		if (span_cstr(span_of(path, (size_t)(slash - path)), part, sizeof(part)) && mkdir(part, 0755) < 0 && errno != EEXIST)
			return fail_errno(why, 0, "make directory %s", part);
	return true;
}

static bool
find_owner(const struct conf *conf, const struct owner *owner, struct priv_identity *id, struct fail *why)
{
	char user[B_NAME];

	if (owner->who == WHO_ROOT)
		return true;
	if (owner->who == WHO_MAIL)
		(void)snprintf(user, sizeof(user), "%s", conf->virtual_mailbox_user.p);
	else
		(void)snprintf(user, sizeof(user), "%s%s", conf->daemon_user_prefix.p, owner->name);
	return priv_lookup(user, id, why);
}

/* The directory itself is opened first, so that no link can stand in its place. */
static bool
make_directory(const char *path, mode_t mode, const struct priv_identity *id, bool unprivileged, struct fail *why)
{
	int fd;
	bool ok;

	if (!make_path(path, why))
		return false;
	if (mkdir(path, mode) < 0 && errno != EEXIST)
		return fail_errno(why, 0, "make directory %s", path);
	fd = open(path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	ok = fd >= 0 && fchmod(fd, mode) == 0 && (unprivileged || fchown(fd, id->uid, id->gid) == 0);
	if (!ok)
		(void)fail_errno(why, 0, "directory %s", path);
	if (fd >= 0)
		(void)close(fd);
	return ok;
}

bool
setup_directories(const struct conf *conf, bool unprivileged, struct fail *why)
{
	(void)umask(022);
	for (size_t i = 0; i < sizeof(directories) / sizeof(directories[0]); i++) {
		const struct span *base = (const struct span *)(const void *)((const char *)conf + directories[i].option);
		struct priv_identity id = { 0 };
		char path[B_PATH];

		(void)snprintf(path, sizeof(path), "%s%s%s", base->p, directories[i].below[0] ? "/" : "", directories[i].below);
		if (!unprivileged && !find_owner(conf, &directories[i].owner, &id, why))
			return false;
		if (!make_directory(path, directories[i].mode, &id, unprivileged, why))
			return false;
	}
	return true;
}

bool
setup_identity(const struct conf *conf, const struct process_row *row, struct priv_identity *id, struct fail *why)
{
	struct owner owner = { row->root ? WHO_ROOT : WHO_NAME, row->name };

	*id = (struct priv_identity){ .caps = row->caps };
	return find_owner(conf, &owner, id, why);
}

static int
open_address(const struct conf_listener *block, const struct conf_addr *address, struct fail *why)
{
	struct netaddr at;
	int fd;

	if (!netaddr_of(&address->sa, address->len, &at))
		return (void)fail_set(why, FAIL_PERM, 0, "listener %s: no address", block->name.p), -1;
	fd = listener_bind(&at, (int)block->backlog, why);
	if (fd >= 0 && netaddr_family(&at) == AF_UNIX && chmod(address->un.sun_path, (mode_t)strtoul(block->mode.p, NULL, 8)) < 0)
		log_put(LOG_degraded, "listener %s: mode of %s: %s", block->name.p, address->un.sun_path, strerror(errno));
	return fd;
}

static bool
keep_socket(struct suite *s, const char *name, const char *address, const char *process, bool control, int (*opener)(const void *, struct fail *),
    const void *arg, struct fail *why)
{
	struct socket_row *row;

	for (unsigned i = 0; i < s->nsockets; i++)
		if (strcmp(s->sockets[i].name, name) == 0 && strcmp(s->sockets[i].address, address) == 0)
			return s->sockets[i].fresh = true;
	if (s->nsockets == SUITE_LISTENERS)
		return fail_set(why, FAIL_LIMIT, 0, "more than %d listening sockets", SUITE_LISTENERS);
	row = &s->sockets[s->nsockets];
	*row = (struct socket_row){ .process = process, .control = control, .fresh = true };
	(void)snprintf(row->name, sizeof(row->name), "%s", name);
	(void)snprintf(row->address, sizeof(row->address), "%s", address);
	row->fd = opener(arg, why);
	if (row->fd < 0)
		return false;
	s->nsockets++;
	return true;
}

struct wanted_address {
	const struct conf_listener *block;
	struct conf_addr address;
};

static int
address_opener(const void *arg, struct fail *why)
{
	const struct wanted_address *w = arg;

	return open_address(w->block, &w->address, why);
}

static int
control_opener(const void *arg, struct fail *why)
{
	return control_listen(arg, why);
}

/* "*" is two sockets, one for each family that inet_protocols allows. */
static bool
keep_listener(struct suite *s, const struct conf_listener *block, const char *process, struct fail *why)
{
	struct wanted_address w = { block, block->address };
	bool any = block->address.any;
	struct netaddr any4;
	char text[B_PATH];

	(void)snprintf(text, sizeof(text), "%s", block->address.text.p);
	if (!(any && s->conf->inet_protocols == CONF_INET_IPV4) && !keep_socket(s, block->name.p, text, process, false, address_opener, &w, why)) {
		if (!any || s->conf->inet_protocols == CONF_INET_IPV6)
			return false;
		log_put(LOG_degraded, "listener %s: no IPv6: %s", block->name.p, why->text);
	}
	if (!any || s->conf->inet_protocols == CONF_INET_IPV6)
		return true;
	(void)netaddr_parse(SPAN("0.0.0.0"), ntohs(((const struct sockaddr_in6 *)(const void *)&block->address.sa)->sin6_port), &any4);
	memcpy(&w.address.sa, &any4.u, any4.len);
	w.address.len = any4.len;
	(void)snprintf(text, sizeof(text), "ipv4 %s", block->address.text.p);
	return keep_socket(s, block->name.p, text, process, false, address_opener, &w, why);
}

static const char *
server_of(enum conf_word service)
{
	for (size_t i = 0; i < sizeof(servers) / sizeof(servers[0]); i++)
		if (servers[i].service == service)
			return servers[i].process;
	return NULL;
}

bool
setup_sockets(struct suite *s, struct fail *why)
{
	unsigned kept = 0;
	bool ok = true;

	for (unsigned i = 0; i < s->nsockets; i++)
		s->sockets[i].fresh = false;
	for (size_t i = 0; ok && i < s->conf->nlisteners; i++)
		ok = keep_listener(s, &s->conf->listeners[i], server_of(s->conf->listeners[i].service), why);
	for (size_t i = 0; ok && i < sizeof(controls) / sizeof(controls[0]); i++) {
		char path[B_PATH];

		(void)control_path(path, s->conf->run_directory, controls[i].channel);
		ok = keep_socket(s, controls[i].channel, path, controls[i].process, true, control_opener, path, why);
	}
	for (unsigned i = 0; ok && i < s->nsockets; i++) {
		if (s->sockets[i].fresh)
			s->sockets[kept++] = s->sockets[i];
		else
			(void)close(s->sockets[i].fd);
	}
	if (ok)
		s->nsockets = kept;
	return ok;
}
