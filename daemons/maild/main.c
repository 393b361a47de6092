/* SPDX-License-Identifier: ISC
 *
 * maild: the parent.  Started by mailctl or the service manager as
 *   maild [-c FILE] [-f] [-u USER]
 *     -f  stay in the foreground
 *     -u  who reads the configuration (pp-suited)
 */
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "daemons/maild/maild.h"
#include "log/log.h"

enum { PATIENCE_MS = 20000, AGAIN_MS = 100, EXIT_USAGE = 64 };

static void
raise_file_limit(void)
{
	struct rlimit limit;

	if (getrlimit(RLIMIT_NOFILE, &limit) == 0 && limit.rlim_cur < limit.rlim_max) {
		limit.rlim_cur = limit.rlim_max;
		(void)setrlimit(RLIMIT_NOFILE, &limit);
	}
}

/* suited decides everything; it hears the signals that maild gets. */
static void
on_signal(struct child_signals *signals, int signal)
{
	struct maild *m = OWNER_OF(signals, struct maild, signals);

	m->stopped |= signal != SIGHUP;
	if (m->suited)
		(void)kill(m->suited, signal);
}

/* Those that did not end with suited, who held their ctl channels. */
static void
on_patience(struct timer *t)
{
	struct maild *m = OWNER_OF(t, struct maild, patience);

	LIST_EACH(&m->wards, it)
		(void)kill(OWNER_OF(it, struct ward, node)->pid, SIGKILL);
}

static void
ward_end(struct ward *w, int status)
{
	char text[64];

	child_status_text(status, text, sizeof(text));
	if (w->client)
		(void)ipc_send_root_ended(w->client->channel, &(struct ipc_root_ended){ .id = w->id, .pid = (uint32_t)w->pid, .crashed = child_crashed(status), .why = span_str(text) });
	list_remove(&w->node);
	free(w);
}

static void
on_exit_of(struct child_reaper *r, pid_t pid, int status)
{
	struct maild *m = OWNER_OF(r, struct maild, reaper);

	if (pid == m->suited) {
		m->suited = 0;
		m->killed = WIFSIGNALED(status) && m->locked;
		m->status = WIFEXITED(status) ? WEXITSTATUS(status) : EXIT_FAILURE;
		(void)timer_set(&m->patience, PATIENCE_MS);
	}
	LIST_EACH(&m->wards, it)
		if (OWNER_OF(it, struct ward, node)->pid == pid)
			ward_end(OWNER_OF(it, struct ward, node), status);
	if (m->suited || !list_empty(&m->wards))
		return;
	timer_stop(&m->patience);
	if (!m->killed || m->stopped || !timer_set(&m->again, AGAIN_MS))
		loop_stop(m->loop);
}

/* The programs stand beside this one. */
static bool
find_programs(struct maild *m, struct fail *why)
{
	ssize_t n = readlink("/proc/self/exe", m->programs, sizeof(m->programs) - 1);
	char *slash;

	if (n <= 0)
		return fail_errno(why, 0, "/proc/self/exe");
	m->programs[n] = '\0';
	if ((slash = strrchr(m->programs, '/')))
		*slash = '\0';
	return slash != NULL;
}

static bool
start_suited(struct maild *m, struct fail *why)
{
	struct ipc_root_boot boot = { .path = span_str(m->config), .unprivileged = m->unprivileged };
	struct priv_identity id = { 0 };
	struct channel *c;
	int file = open(m->config, O_RDONLY | O_CLOEXEC | O_NONBLOCK), fds[2];

	if (file < 0)
		return fail_errno(why, 0, "%s", m->config);
	if (!m->unprivileged && !priv_lookup(m->user, &id, why))
		return false;
	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, fds) < 0)
		return fail_errno(why, 0, "socketpair");
	if (!root_serve(m, fds[0], true, &c) || !ipc_send_root_boot(c, &boot, file))
		return fail_set(why, FAIL_TEMP, 0, "no memory");
	m->suited = root_start(m, ROW_suited, m->config, &id, fds[1], why);
	(void)close(fds[1]);
	return m->suited > 0;
}

static void
on_again(struct timer *t)
{
	struct maild *m = OWNER_OF(t, struct maild, again);
	struct fail why = { .text = "the suite is to stop" };

	log_put(LOG_child, "suited was killed: the suite is started anew");
	if (m->stopped || !start_suited(m, &why)) {
		log_put(LOG_failure, "suited: %s", why.text);
		loop_stop(m->loop);
	}
}

static bool
begin(struct maild *m, bool foreground, struct fail *why)
{
	(void)umask(022);
	if (!foreground && !child_daemonize(&m->ready_pipe, why))
		return false;
	raise_file_limit();
	m->loop = loop_new();
	if (!m->loop)
		return fail_errno(why, 0, "event loop");
	log_open("maild", STDERR_FILENO, m->loop);
	timer_init(&m->patience, m->loop, on_patience);
	timer_init(&m->again, m->loop, on_again);
	return find_programs(m, why) && child_reaper_start(&m->reaper, m->loop, on_exit_of, why) &&
	    child_signals_start(&m->signals, m->loop, on_signal, why) && start_suited(m, why);
}

int
main(int argc, char **argv)
{
	static struct maild m = { .log = -1, .ready_pipe = -1, .config = SYSCONFDIR "/pillarpost.conf", .user = "pp-suited" };
	struct fail why = { .text = "" };
	bool foreground = false;
	int opt;

	while ((opt = getopt(argc, argv, "c:fu:")) != -1)
		switch (opt) {
		case 'c':
			m.config = optarg;
			break;
		case 'f':
			foreground = true;
			break;
		case 'u':
			m.user = optarg;
			break;
		default:
			(void)fprintf(stderr, "usage: maild [-c FILE] [-f] [-u USER]\n");
			return EXIT_USAGE;
		}
	m.unprivileged = geteuid() != 0;
	list_init(&m.wards);
	if (begin(&m, foreground, &why)) {
		loop_run(m.loop);
	} else {
		(void)fprintf(stderr, "maild: %s\n", why.text);
		m.status = EXIT_FAILURE;
	}
	log_flush();
	if (m.ready_pipe >= 0)
		(void)!write(m.ready_pipe, &(unsigned char){ (unsigned char)m.status }, 1);
	return m.status;
}
