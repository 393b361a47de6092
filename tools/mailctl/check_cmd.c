/* SPDX-License-Identifier: ISC
 *
 * check: every error of the configuration at once, then what would fail at
 * run time: users, directories, programs, certificates and keys, other files, ports, tables, next hops.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "daemons/remoted/hop.h"
#include "daemons/routed/way.h"
#include "net/netaddr.h"
#include "sys/priv.h"
#include "tools/mailctl/check.h"
#include "tools/mailctl/processes.h"

static void
put_place(const struct check *c, const struct check_option *o)
{
	unsigned line, column;

	if (conf_where(c->conf, o->table, o->block, o->name, &line, &column))
		(void)fprintf(c->to, "%s:%u:%u: ", c->file, line, column);
	(void)fprintf(c->to, "%s = %s: ", o->name, o->value.p);
}

void
check_problem(struct check *c, const char *fmt, ...)
{
	va_list ap;

	c->problems++;
	va_start(ap, fmt);
	(void)vfprintf(c->to, fmt, ap);
	va_end(ap);
	(void)fputc('\n', c->to);
}

void
check_problem_of(struct check *c, const struct check_option *option, const char *fmt, ...)
{
	va_list ap;

	c->problems++;
	put_place(c, option);
	va_start(ap, fmt);
	(void)vfprintf(c->to, fmt, ap);
	va_end(ap);
	(void)fputc('\n', c->to);
}

void
check_note_of(struct check *c, const struct check_option *option, const char *text)
{
	(void)fputs("note: ", c->to);
	put_place(c, option);
	(void)fprintf(c->to, "%s\n", text);
}

static void
check_user(struct check *c, const char *user)
{
	struct priv_identity id;
	struct fail why = { .text = "" };

	if (!priv_lookup(user, &id, &why))
		check_problem(c, "%s (make it with: useradd --system --no-create-home --shell /usr/sbin/nologin %s)",
		    why.text, user);
	else if (id.uid == 0)
		check_problem(c, "user %s is root; it must not be", user);
}

static void
check_processes(struct check *c)
{
	char text[B_PATH];

	for (size_t i = 0; i < PROCESSES; i++) {
		(void)snprintf(text, sizeof(text), "%s/%s", c->conf->daemon_directory.p, processes[i].name);
		if (access(text, X_OK) < 0)
			check_problem(c, "program %s: %s (daemon_directory)", text, strerror(errno));
		(void)snprintf(text, sizeof(text), "%s%s", c->conf->daemon_user_prefix.p, processes[i].name);
		if (!processes[i].owned && !c->unprivileged)
			check_user(c, text);
	}
	if (!c->unprivileged)
		check_user(c, c->conf->virtual_mailbox_user.p);
}

/* The nearest ancestor that exists must be writable, or the directory itself. */
static void
check_directory(struct check *c, const char *option, struct span path)
{
	char at[B_PATH];
	char *slash;

	struct check_option o = { .name = option, .value = path };

	if (path.p[0] != '/') {
		check_problem_of(c, &o, "not an absolute path");
		return;
	}
	(void)snprintf(at, sizeof(at), "%s", path.p);
	while (access(at, F_OK) < 0 && (slash = strrchr(at, '/')) && slash != at)
		*slash = '\0';
	if (access(at, W_OK) < 0)
		check_problem_of(c, &o, "%s: %s", at, strerror(errno));
}

/* Mail for users who were added with another base waits. */
static void
check_mailboxes(struct check *c)
{
	const struct check_option o = { .name = "virtual_mailbox_base", .value = c->conf->virtual_mailbox_base };
	struct stat st;

	check_directory(c, o.name, o.value);
	if (!c->unprivileged && stat(o.value.p, &st) == 0 && st.st_uid == 0 && st.st_mode & S_IRWXO)
		check_note_of(c, &o, "it belongs to root, so each mailbox in it is to be made by \"mailctl user add\"");
}

static void
check_listener(struct check *c, const struct conf_listener *l)
{
	const struct sockaddr *sa = (const struct sockaddr *)&l->address.sa;
	struct check_option o = { "address", l->address.text, CONF_TABLE_LISTENER, (size_t)(l - c->conf->listeners) };
	int fd, one = 1;

	if (c->running || sa->sa_family == AF_UNIX)
		return; /* the suite has its ports; a stale UNIX socket is replaced */
	fd = socket(sa->sa_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (fd < 0 && l->address.any)
		return; /* no IPv6 here; IPv4 alone will be used */
	(void)setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
	if (fd < 0 || bind(fd, sa, l->address.len) < 0 || listen(fd, 1) < 0)
		check_problem_of(c, &o, "listener %s: %s", l->name.p, strerror(errno));
	if (fd >= 0)
		(void)close(fd);
}

/* As remoted will take it apart. */
static void
check_next_hop(struct check *c, const struct check_option *o, bool lmtp)
{
	char text[512];
	struct hop hop;

	(void)snprintf(text, sizeof(text), "%s%.*s", lmtp ? "lmtp:" : "", SPAN_ARG(o->value));
	if (o->value.n > 0 && !hop_parse(span_str(text), (uint16_t)c->conf->smtp_tcp_port, &hop, NULL))
		check_problem_of(c, o, "no next hop: that is a domain, [host], either with :port%s", lmtp ? ", or unix:/path" : "");
}

static void
check_next_hops(struct check *c)
{
	const struct conf *conf = c->conf;

	check_next_hop(c, &(struct check_option){ .name = "relayhost", .value = conf->relayhost }, false);
	for (size_t i = 0; i < conf->smtp_fallback_relay.n; i++)
		check_next_hop(c, &(struct check_option){ .name = "smtp_fallback_relay", .value = conf->smtp_fallback_relay.items[i] }, false);
	for (size_t i = 0; i < conf->nroutes; i++) {
		const struct conf_route *r = &conf->routes[i];

		if (r->transport == CONF_TRANSPORT_SMTP || r->transport == CONF_TRANSPORT_LMTP)
			check_next_hop(c, &(struct check_option){ "nexthop", r->nexthop, CONF_TABLE_ROUTE, i }, r->transport == CONF_TRANSPORT_LMTP);
	}
}

static void
check_transport(struct check *c, const struct check_option *o)
{
	struct fail why = { .text = "" };
	struct way way;

	if (o->value.n > 0 && !way_parse(o->value, &way, &why))
		check_problem_of(c, o, "%s", why.text);
}

/* Files that are read at the start or later, of those that the configuration names: a daemon does without one that it cannot read. */
static void
check_files(struct check *c)
{
	const struct conf *conf = c->conf;
	const struct {
		const char *option;
		struct span path;
		const char *reader;
	} files[] = {
		{ "smtp_tls_CAfile", conf->smtp_tls_CAfile, "remoted" },
		{ "smtp_tls_mta_sts_CAfile", conf->smtp_tls_mta_sts_CAfile, "stsd" },
		{ "auth_oauth2_CAfile", conf->auth_oauth2_CAfile, "tokend" },
		{ "auth_oauth2_client_secret_file", conf->auth_oauth2_client_secret_file, NULL },
		{ "dns_trust_anchor", conf->dns_trust_anchor, "dnsd" },
	};

	for (size_t i = 0; i < sizeof(files) / sizeof(files[0]); i++) {
		const struct check_option o = { .name = files[i].option, .value = files[i].path };
		unsigned line, column;

		if (!o.value.n || !conf_where(conf, CONF_TABLE_OPTIONS, 0, o.name, &line, &column))
			continue;
		if (check_readable(c, &o, o.value.p, files[i].reader) && access(o.value.p, R_OK) < 0)
			check_problem_of(c, &o, "%s", strerror(errno));
	}
}

static bool
suite_runs(const struct conf *conf)
{
	char path[B_PATH];
	int fd;
	bool runs;

	(void)snprintf(path, sizeof(path), "%s/maild.pid", conf->run_directory.p);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	runs = fd >= 0 && flock(fd, LOCK_SH | LOCK_NB) < 0;
	if (fd >= 0)
		(void)close(fd);
	return runs;
}

static void
check_all(struct check *c)
{
	const struct conf *conf = c->conf;

	check_processes(c);
	check_directory(c, "queue_directory", conf->queue_directory);
	check_directory(c, "data_directory", conf->data_directory);
	check_directory(c, "run_directory", conf->run_directory);
	check_mailboxes(c);
	check_certificates(c);
	check_tables(c);
	check_files(c);
	check_next_hops(c);
	check_transport(c, &(struct check_option){ .name = "mailbox_transport", .value = conf->mailbox_transport });
	check_transport(c, &(struct check_option){ .name = "virtual_transport", .value = conf->virtual_transport });
	for (size_t i = 0; i < conf->nlisteners; i++)
		check_listener(c, &conf->listeners[i]);
}

int
check_cmd(struct mailctl *m)
{
	struct check c = { .file = m->config_path, .to = stdout, .unprivileged = geteuid() != 0 };

	c.conf = conf_load_or_tell(m->config_path, &m->arena, stdout);
	if (!c.conf)
		return EX_CONFIG_;
	c.running = suite_runs(c.conf);
	check_all(&c);
	if (c.unprivileged)
		(void)printf("note: not root: every process will run as uid %u, and ports below 1024 are out of reach\n", (unsigned)geteuid());
	if (c.problems)
		(void)printf("%u problem%s\n", c.problems, c.problems == 1 ? "" : "s");
	else
		(void)printf("%s: no errors\n", m->config_path);
	return c.problems ? EX_FAILED : 0;
}
