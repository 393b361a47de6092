/* SPDX-License-Identifier: ISC
 *
 * What must be there before the first daemon: directories and their owners,
 * listening sockets.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "daemons/suited/suite.h"
#include "ipc/control.h"
#include "log/log.h"
#include "net/netaddr.h"

static const struct {
	size_t option; /* offset of a struct span in struct conf */
	const char *below, *user;
	mode_t mode;
} directories[] = {
#define DIRECTORY(option, below, user, mode, what) { offsetof(struct conf, option), below, #user, mode },
#include "daemons/maild/processes.def"
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
	mode_t mode;
} controls[] = {
#define CONTROL(channel, server, mode) { #channel, #server, mode },
#include "daemons/maild/processes.def"
};

bool
setup_users(struct suite *s, struct fail *why)
{
	struct ipc_root_settle settle = { .prefix = s->conf->daemon_user_prefix, .mail = s->conf->virtual_mailbox_user };

	return ask(s, IPC_root_settle, &settle, NULL, why);
}

bool
setup_directories(struct suite *s, struct fail *why)
{
	bool ok = true;

	for (size_t i = 0; ok && i < sizeof(directories) / sizeof(directories[0]); i++) {
		const struct span *base = (const struct span *)(const void *)((const char *)s->conf + directories[i].option);
		struct ipc_root_directory directory = { .user = span_str(directories[i].user), .mode = directories[i].mode };
		char path[B_PATH];

		(void)snprintf(path, sizeof(path), "%s%s%s", base->p, directories[i].below[0] ? "/" : "", directories[i].below);
		directory.path = span_str(path);
		ok = ask(s, IPC_root_directory, &directory, NULL, why);
	}
	return ok;
}

/* The row of a socket that is wanted: kept, whichever listener had its address, or a new one to be opened (fd -1). */
static struct socket_row *
keep_socket(struct suite *s, const char *name, const char *address, const char *process, struct fail *why)
{
	struct socket_row *row;

	for (unsigned i = 0; i < s->nsockets; i++)
		if (strcmp(s->sockets[i].address, address) == 0) {
			row = &s->sockets[i];
			row->fresh = true;
			row->process = process;
			(void)snprintf(row->name, sizeof(row->name), "%s", name);
			return row;
		}
	if (s->nsockets == SUITE_LISTENERS) {
		(void)fail_set(why, FAIL_LIMIT, 0, "more than %d listening sockets", SUITE_LISTENERS);
		return NULL;
	}
	row = &s->sockets[s->nsockets++];
	*row = (struct socket_row){ .process = process, .fresh = true, .fd = -1 };
	(void)snprintf(row->name, sizeof(row->name), "%s", name);
	(void)snprintf(row->address, sizeof(row->address), "%s", address);
	return row;
}

/* One that could not be opened is wanted no more. */
static bool
kept(struct suite *s, struct socket_row *row, int fd)
{
	row->fd = fd;
	if (fd < 0)
		s->nsockets--;
	return fd >= 0;
}

static bool
keep_address(struct suite *s, const struct conf_listener *block, const char *text, const void *sa, size_t len, const char *process, struct fail *why)
{
	struct ipc_root_listen listen = { .address = span_of(sa, len), .backlog = (uint32_t)block->backlog, .mode = (uint32_t)strtoul(block->mode.p, NULL, 8) };
	struct socket_row *row = keep_socket(s, block->name.p, text, process, why);
	int fd = -1;

	if (!row || row->fd >= 0)
		return row != NULL;
	return kept(s, row, ask(s, IPC_root_listen, &listen, &fd, why) ? fd : -1);
}

static bool
keep_control(struct suite *s, const char *channel, const char *process, mode_t mode, struct fail *why)
{
	struct socket_row *row;
	char path[B_PATH];

	(void)control_path(path, s->conf->run_directory, channel);
	row = keep_socket(s, channel, path, process, why);
	if (!row || row->fd >= 0)
		return row != NULL;
	row->control = true;
	return kept(s, row, ask_control(s, path, mode, why));
}

/* "*" is two sockets, one for each family that inet_protocols allows. */
static bool
keep_listener(struct suite *s, const struct conf_listener *block, const char *process, struct fail *why)
{
	const struct conf_addr *at = &block->address;
	struct netaddr any4;
	char text[B_PATH];

	if (!(at->any && s->conf->inet_protocols == CONF_INET_IPV4) && !keep_address(s, block, at->text.p, &at->sa, at->len, process, why)) {
		if (!at->any || s->conf->inet_protocols == CONF_INET_IPV6)
			return false;
		log_put(LOG_degraded, "listener %s: no IPv6: %s", block->name.p, why->text);
	}
	if (!at->any || s->conf->inet_protocols == CONF_INET_IPV6)
		return true;
	(void)netaddr_parse(SPAN("0.0.0.0"), ntohs(((const struct sockaddr_in6 *)(const void *)&at->sa)->sin6_port), &any4);
	(void)snprintf(text, sizeof(text), "ipv4 %s", at->text.p);
	return keep_address(s, block, text, &any4.u, any4.len, process, why);
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
	unsigned stay = 0;
	bool ok = true;

	for (unsigned i = 0; i < s->nsockets; i++)
		s->sockets[i].fresh = false;
	for (size_t i = 0; ok && i < s->conf->nlisteners; i++)
		ok = keep_listener(s, &s->conf->listeners[i], server_of(s->conf->listeners[i].service), why);
	for (size_t i = 0; ok && i < sizeof(controls) / sizeof(controls[0]); i++)
		ok = keep_control(s, controls[i].channel, controls[i].process, controls[i].mode, why);
	for (unsigned i = 0; ok && i < s->nsockets; i++) {
		if (s->sockets[i].fresh)
			s->sockets[stay++] = s->sockets[i];
		else
			(void)close(s->sockets[i].fd);
	}
	if (ok)
		s->nsockets = stay;
	return ok;
}
