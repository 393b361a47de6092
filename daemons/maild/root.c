/* SPDX-License-Identifier: ISC */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "daemons/maild/maild.h"
#include "ipc/control.h"
#include "log/log.h"
#include "log/target.h"
#include "net/listener.h"
#include "sys/syscalls.h"

static const struct {
	const char *name;
	bool owned; /* runs as a mailbox's owner */
} rows[ROWS] = {
#define PROCESS(name, ...) { #name, false },
#define OWNED(name, ...) { #name, true },
#include "daemons/maild/processes.def"
};

static enum maild_row
row_of(struct span name)
{
	unsigned row = 0;

	while (row < ROWS && !span_eq(name, span_str(rows[row].name)))
		row++;
	return (enum maild_row)row;
}

static bool
done(struct channel *c, uint64_t id, bool ok, const struct fail *why)
{
	return ipc_send_root_done(c, &(struct ipc_root_done){ .id = id, .ok = ok, .why = ok ? SPAN_NONE : fail_text(why) });
}

static bool
give(struct channel *c, uint64_t id, int fd, const struct fail *why)
{
	return fd < 0 ? done(c, id, false, why) : ipc_send_root_given(c, &(struct ipc_root_given){ .id = id }, fd);
}

static struct maild *
asked_by_suited(struct channel *c)
{
	const struct client *client = channel_owner(c);

	return client->all ? client->maild : NULL;
}

static bool
on_root_settle(struct channel *c, const struct ipc_root_settle *q)
{
	struct maild *m = asked_by_suited(c);
	struct fail why;
	bool ok = true;

	if (!m)
		return false;
	for (unsigned i = 0; ok && !m->unprivileged && !m->locked && i < ROWS; i++) {
		char user[B_NAME * 2];

		if (rows[i].owned)
			(void)snprintf(user, sizeof(user), "%.*s", SPAN_ARG(q->mail));
		else
			(void)snprintf(user, sizeof(user), "%.*s%s", SPAN_ARG(q->prefix), rows[i].name);
		ok = priv_lookup(user, &m->ids[i], &why);
	}
	return done(c, q->id, ok, &why);
}

/* Each part above it belongs to root. */
static bool
make_path(const char *path, struct fail *why)
{
	char part[B_PATH];

	for (const char *slash = strchr(path + 1, '/'); slash; slash = strchr(slash + 1, '/'))
		if (span_cstr(span_of(path, (size_t)(slash - path)), part, sizeof(part)) && mkdir(part, 0755) < 0 && errno != EEXIST)
			return fail_errno(why, 0, "make directory %s", part);
	return true;
}

/* Of a suited that came after the first: what was set up stays as it is. */
static bool
is_directory(const char *path, struct fail *why)
{
	struct stat st;

	return (lstat(path, &st) == 0 && S_ISDIR(st.st_mode)) || fail_set(why, FAIL_PERM, 0, "%s: a new directory needs stop and start", path);
}

/* The directory itself is opened first, so that no link can stand in its place.  Mailboxes may be below one that root has for others, too, as /home:
 * whoever had that could put others in their places.  Open to others is none that was made here and not given away any more. */
static bool
make_directory(const char *path, mode_t mode, const struct priv_identity *id, bool unprivileged, struct fail *why)
{
	struct stat st;
	int fd;
	bool ok;

	if (!make_path(path, why) || (mkdir(path, 0700) < 0 && errno != EEXIST && !fail_errno(why, 0, "make directory %s", path)))
		return false;
	fd = open(path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	ok = fd >= 0 && fstat(fd, &st) == 0 && ((id->uid != 0 && mode & S_IXOTH && st.st_uid == 0 && st.st_mode & S_IRWXO) ||
	    ((unprivileged || fchown(fd, id->uid, id->gid) == 0) && fchmod(fd, mode) == 0));
	(void)(ok || fail_errno(why, 0, "directory %s", path));
	(void)close(fd);
	return ok;
}

static bool
on_root_directory(struct channel *c, const struct ipc_root_directory *q)
{
	struct maild *m = asked_by_suited(c);
	enum maild_row row = row_of(q->user);
	struct priv_identity id = { 0 };
	char path[B_PATH + 1];
	struct fail why;

	if (!m || !span_cstr(q->path, path, sizeof(path)) || path[0] != '/' || (row == ROWS && !span_eq(q->user, SPAN("root"))))
		return false;
	if (row != ROWS)
		id = m->ids[row];
	return done(c, q->id, m->locked ? is_directory(path, &why) : make_directory(path, (mode_t)q->mode, &id, m->unprivileged, &why), &why);
}

/* One suite an instance: the lock lives as long as maild. */
static bool
lock_pid_file(const char *directory, struct fail *why)
{
	char path[B_PATH * 2], pid[16];
	int fd, n;

	(void)snprintf(path, sizeof(path), "%s/maild.pid", directory);
	fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0644);
	if (fd < 0)
		return fail_errno(why, 0, "%s", path);
	if (flock(fd, LOCK_EX | LOCK_NB) < 0)
		return fail_set(why, FAIL_PERM, 0, "already running (%s is locked)", path);
	n = snprintf(pid, sizeof(pid), "%d\n", (int)getpid());
	if (ftruncate(fd, 0) < 0 || write(fd, pid, (size_t)n) != n)
		return fail_errno(why, 0, "%s", path);
	return true;
}

static bool
on_root_lock(struct channel *c, const struct ipc_root_lock *q)
{
	struct maild *m = asked_by_suited(c);
	struct sandbox_report report;
	char path[B_PATH + 1];
	struct fail why;
	bool on;

	if (!m || !span_cstr(q->path, path, sizeof(path)))
		return false;
	m->locked = m->locked || (lock_pid_file(path, &why) && maild_walls(m->unprivileged, &report, &why) && syscalls_limit(PROMISE_CHILDREN, &on, &why));
	return done(c, q->id, m->locked, &why);
}

static bool
on_root_listen(struct channel *c, const struct ipc_root_listen *q)
{
	struct sockaddr_storage sa = { 0 };
	char path[B_PATH + 1];
	struct netaddr at;
	struct fail why;
	int fd;

	if (!asked_by_suited(c) || !span_cstr(q->path, path, sizeof(path)))
		return false;
	if (path[0])
		return give(c, q->id, control_listen(path, q->mode == 0666 ? 0666 : 0600, &why), &why);
	memcpy(&sa, q->address.p, q->address.n < sizeof(sa) ? q->address.n : sizeof(sa));
	if (!netaddr_of(&sa, (socklen_t)q->address.n, &at))
		return false;
	fd = listener_bind(&at, (int)q->backlog, &why);
	if (fd >= 0 && netaddr_family(&at) == AF_UNIX && chmod(at.u.un.sun_path, (mode_t)q->mode) < 0)
		log_put(LOG_degraded, "mode of %s: %s", at.u.un.sun_path, strerror(errno));
	return give(c, q->id, fd, &why);
}

static bool
on_root_open(struct channel *c, const struct ipc_root_open *q)
{
	struct maild *m = asked_by_suited(c);
	char path[B_PATH + 1];
	struct fail why;
	int fd;

	if (!m || !span_cstr(q->path, path, sizeof(path)))
		return false;
	if (q->log && !m->locked)
		memcpy(m->log_name, path, sizeof(path));
	fd = q->log ? log_target_open(m->log_name, &why) : open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
	if (fd < 0 && !q->log)
		(void)fail_errno(&why, 0, "%s", path);
	if (fd >= 0 && q->log) {
		(void)close(m->log);
		m->log = fcntl(fd, F_DUPFD_CLOEXEC, STDERR_FILENO + 1);
		log_open("maild", m->log, m->loop);
	}
	return give(c, q->id, fd, &why);
}

static bool
on_root_lend(struct channel *c, const struct ipc_root_lend *q, int fd)
{
	struct maild *m = asked_by_suited(c);
	struct channel *lent;

	if (m)
		return root_serve(m, fd, q->all, &lent);
	(void)close(fd);
	return false;
}

pid_t
root_start(struct maild *m, enum maild_row row, const char *label, const struct priv_identity *id, int ctl, struct fail *why)
{
	char program[B_PATH * 2];
	struct child_spec spec = { .program = program, .name = rows[row].name, .label = label, .become = m->unprivileged ? NULL : id,
		.busy = !rows[row].owned, .ctl = ctl, .log = m->log >= 0 ? m->log : STDERR_FILENO };

	(void)snprintf(program, sizeof(program), "%s/%s", m->programs, spec.name);
	if (!m->unprivileged && (id->uid == 0 || id->gid == 0 || id->caps))
		return (void)fail_set(why, FAIL_PERM, 0, "%s may not run as root", spec.name), -1;
	if (access(program, X_OK) < 0)
		return (void)fail_errno(why, 0, "%s", program), -1;
	return child_start(&spec, why);
}

/* A mailbox that belonged to a daemon of the suite would open that daemon's files. */
static bool
find_identity(const struct maild *m, enum maild_row row, const struct ipc_root_spawn *q, struct priv_identity *id, struct fail *why)
{
	*id = m->ids[row];
	if (!rows[row].owned || q->uid == 0)
		return true;
	*id = (struct priv_identity){ .uid = q->uid, .gid = q->gid };
	for (unsigned i = 0; i < ROWS; i++)
		if (!rows[i].owned && (m->ids[i].uid == id->uid || m->ids[i].gid == id->gid))
			return fail_set(why, FAIL_PERM, 0, "a mailbox may not belong to %s", rows[i].name);
	return true;
}

static bool
on_root_spawn(struct channel *c, const struct ipc_root_spawn *q, int fd)
{
	struct client *client = channel_owner(c);
	struct maild *m = client->maild;
	enum maild_row row = row_of(q->program);
	struct ward *w = row == ROWS || row == ROW_suited || rows[row].owned == client->all ? NULL : calloc(1, sizeof(*w));
	struct fail why = { .text = "there is no such program to start" };
	struct priv_identity id;
	char label[B_ADDRESS + 1];
	pid_t pid = -1;

	if (w && span_cstr(q->label, label, sizeof(label)) && find_identity(m, row, q, &id, &why))
		pid = root_start(m, row, label, &id, fd, &why);
	(void)close(fd);
	if (pid < 0) {
		free(w);
		return ipc_send_root_ended(c, &(struct ipc_root_ended){ .id = q->id, .why = fail_text(&why) });
	}
	*w = (struct ward){ .client = client, .id = q->id, .pid = pid };
	list_push(&m->wards, &w->node);
	return ipc_send_root_spawned(c, &(struct ipc_root_spawned){ .id = q->id, .pid = (uint32_t)pid });
}

static bool
on_root_kill(struct channel *c, const struct ipc_root_kill *q)
{
	struct client *client = channel_owner(c);

	LIST_EACH(&client->maild->wards, it) {
		struct ward *w = OWNER_OF(it, struct ward, node);

		if (w->client == client && w->id == q->id)
			(void)kill(w->pid, SIGKILL);
	}
	return true;
}

/* In the background: whoever reads what the start had to say waits for its end. */
static bool
on_root_serving(struct channel *c, const struct ipc_root_serving *q)
{
	struct maild *m = asked_by_suited(c);
	int null = open("/dev/null", O_RDWR | O_CLOEXEC);

	(void)q;
	if (m && m->ready_pipe >= 0) {
		if (write(m->ready_pipe, "", 1) < 0)
			log_put(LOG_failure, "nobody waited for the start");
		(void)close(m->ready_pipe);
		m->ready_pipe = -1;
		(void)dup2(null, STDOUT_FILENO);
		(void)dup2(null, STDERR_FILENO);
	}
	if (null >= 0)
		(void)close(null);
	return m != NULL;
}

#define DISPATCH_DEF "ipc/root.def"
#define DISPATCH_SIDE SERVER
#include "ipc/dispatch.h"

/* Its programs end when it does: it held their ctl channels. */
static void
on_closed(struct channel *c, const struct fail *why)
{
	struct client *client = channel_owner(c);

	(void)why;
	LIST_EACH(&client->maild->wards, it) {
		struct ward *w = OWNER_OF(it, struct ward, node);

		if (w->client == client)
			w->client = NULL;
	}
	channel_free(&client->channel);
	free(client);
}

static const struct channel_ops ops = { dispatch_root, on_closed, NULL };

bool
root_serve(struct maild *m, int fd, bool all, struct channel **c)
{
	struct client *client = calloc(1, sizeof(*client));

	if (client) {
		*client = (struct client){ .maild = m, .all = all };
		client->channel = *c = channel_new(m->loop, fd, &ipc_channel_root, CHANNEL_SERVER, &ops, client);
	} else {
		(void)close(fd);
	}
	if (client && !client->channel) {
		free(client);
		client = NULL;
	}
	return client != NULL;
}
