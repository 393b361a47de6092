/* SPDX-License-Identifier: ISC
 *
 * suite: the running set of daemons: started, wired by processes.def,
 * restarted when they die, reloaded, stopped.  suited reads no network byte
 * and opens nothing itself: what needs root it asks of maild.
 *
 *   main.c   its life: from the configuration to the walls
 *   ask.c    questions to maild that are waited for
 *   setup.c  directories and sockets
 *   suite.c  processes and their wires
 *   reload.c another configuration while it runs
 *   admin.c  mailctl's requests
 *   survey.c  how far all their limits are used, and what they count
 *   start.c  who ends before all serve
 *   peers.c  for whom a program worked when it crashed
 *   mend.c   channels that were closed for what a sibling said
 */
#ifndef SUITED_SUITE_H
#define SUITED_SUITE_H

#include "base/arena.h"
#include "ipc/channel_sync.h"
#include "net/listener.h"
#include "service/launch.h"
#include "sys/box.h"
#include "sys/child.h"

enum { SUITE_PROCESSES = 256, SUITE_LISTENERS = 128, STOP_GRACE_MS = 20000 };

struct process_row {
	const char *name;
	unsigned see; /* CONF_* */
	bool cores;
	unsigned promises; /* PROMISE_* */
	unsigned files, memory, cpu;
	bool peers;
};

struct process {
	struct suite *suite;
	const struct process_row *row;
	unsigned instance, instances;
	char label[16];
	struct channel *ctl; /* NULL while it is down */
	uint64_t id;         /* to maild, another at each start */
	bool alive;          /* asked for, and its end was not heard of */
	pid_t pid;           /* 0: not known yet */
	bool ready;
	bool crashed; /* its last one did */
	char walls[128]; /* its words on which stand */
	unsigned restarts, hasty; /* hasty: ends soon after start, in a row */
	int64_t since_ms, since_wall_ms;
	struct timer restart;
	struct box_page *box; /* of PEERS: whom it works for */
	uint64_t survey_id; /* it was asked; 0: it was not, or has answered */
};

enum survey_of { SURVEY_LIMITS, SURVEY_COUNTERS };

/* What a program is to think of a peer, by userd's word. */
struct peer {
	struct list node;
	const struct process_row *row;
	struct box_name name;
	enum box_level level;
};

/* A crash while a program worked for a peer, until userd says that it is counted: userd may be away, or end with it. */
struct crash {
	struct list node;
	const struct process_row *row;
	struct box_name name;
	uint64_t id, about;
	char why[64];
	struct buf input;
};

/* A channel that one of both has closed, because the other broke its rules: they get another. */
struct broken {
	struct list node;
	struct process *client, *server;
	const char *channel;
};

_Static_assert((int)CONF_LISTENER_NAME_MAX < (int)B_NAME, "a socket's name holds a listener's");

/* A listening socket, kept open over restarts and reloads. */
struct socket_row {
	char name[B_NAME];
	char address[B_PATH];
	const char *process;
	bool control, fresh; /* fresh: wanted by the configuration in force */
	int fd;
};

struct suite {
	struct loop *loop;
	struct channel *root;      /* to maild: programs and what becomes of them */
	struct channel_sync *asks; /* to maild: what is waited for; NULL: none yet, or an answer did not come */
	char config_path[B_PATH];
	struct arena arena; /* of conf */
	const struct conf *conf;
	bool unprivileged, serving, stopping;
	char walls[128]; /* its own, in words */
	int64_t since_wall_ms;
	int terminal; /* where failures of the start are told; -1 once all serve */
	int status;   /* of exit */
	unsigned cores, generation, nprocesses, nsockets;
	uint64_t next_id;
	struct process processes[SUITE_PROCESSES];
	struct socket_row sockets[SUITE_LISTENERS];
	struct child_signals signals;
	struct timer stop_limit, start_limit;
	struct list peers; /* struct peer, in the order of their coming */
	unsigned npeers;
	struct list crashes; /* struct crash, the oldest first */
	unsigned ncrashes;
	uint64_t last_crash;
	struct list broken; /* struct broken */
	struct timer mend;
	struct listener admin;         /* the control socket suite_admin */
	struct admin_request *stopper; /* who waits for the end */
	struct {
		enum survey_of of;
		struct admin_request *asker; /* NULL: nobody */
		uint64_t request, id;
		unsigned pending;
		struct timer patience;
	} survey;
};

/* ask.c: a request of the root channel and its answer: a descriptor in *fd (-1: none) or done. */
bool ask(struct suite *s, unsigned type, const void *m, int *fd, struct fail *why);
int ask_file(struct suite *s, struct span path, bool log, struct fail *why);
int ask_control(struct suite *s, const char *path, mode_t mode, struct fail *why);

/* setup.c: users and directories, then the sockets. */
bool setup_users(struct suite *s, struct fail *why);
bool setup_directories(struct suite *s, struct fail *why);
/* Opens what the configuration wants and is not open yet, closes the rest. */
bool setup_sockets(struct suite *s, struct fail *why);

/* suite.c */
extern const struct channel_ops suite_root_ops;
const struct process_row *suite_own_row(void);
bool suite_listen(struct suite *s, struct fail *why); /* to signals; before the walls */
bool suite_start(struct suite *s, struct fail *why);
bool suite_open_log(struct suite *s, struct fail *why);
void suite_hand_over(struct process *p); /* listeners, files, start: at the start and at each reload */
void suite_stop(struct suite *s);
/* If both are there. False: no descriptors are to be had. */
bool suite_wire(struct process *client, struct process *server, const char *channel, bool mended);
/* The name of that row of processes.def; NULL: there is none. */
const char *suite_channel(struct span channel, const struct process *client, const struct process *server);
/* The start has failed: says so where it was asked for, and ends. */
void suite_fail(struct suite *s, int status, const char *text);
/* main.c: the configuration is in *fd. */
void suite_begin(struct suite *s, int fd);

/* reload.c: false: the configuration in force stays, of some processes or of all, and the log has every error; errors may be NULL.
 * later: the options that take effect at the next start only, as conf_reload_fd() has them. */
bool reload(struct suite *s, struct buf *later, struct conf_errors *errors, struct fail *why);
void reload_by_signal(struct suite *s);

/* start.c */
void start_begin(struct suite *s); /* all have been started: who does not serve some minutes later fails it */
bool start_lost(struct process *p, struct span how); /* it has ended; true: once too often, the start has failed */

/* peers.c */
void peers_arm(struct process *p); /* it begins: its page, and whom not to serve; userd: what it has to count */
void peers_ended(struct process *p, bool crashed, struct span why);
bool on_ctl_blame(struct channel *c, const struct ipc_ctl_blame *m);

/* mend.c */
void mend_init(struct suite *s);
bool mend_later(struct process *client, struct process *server, const char *channel); /* both get another; false: they will already */
bool on_ctl_broken(struct channel *c, const struct ipc_ctl_broken *m);

/* survey.c. One asker at a time; rows go to the channel. False: a violation. */
bool survey_begin(struct suite *s, enum survey_of of, struct admin_request *asker, uint64_t request); /* false: somebody else is asking */
bool survey_limit(struct process *p, const struct ipc_ctl_limit *m);
bool survey_counters(struct process *p, const struct ipc_ctl_state *m);
bool survey_done(struct process *p, uint64_t id);
void survey_forget(struct suite *s, const struct admin_request *asker); /* it is gone */

/* admin.c: mailctl's requests. */
struct admin_request {
	struct suite *suite;
	struct channel *channel;
	uint64_t stop_id;
};
bool admin_open(struct suite *s, struct fail *why);
void admin_stopped(struct suite *s); /* the last daemon is gone */

#endif
