/* SPDX-License-Identifier: ISC
 *
 * launch: how suited and userd have a daemon started by maild, and rule it: its
 * configuration, its ctl channel, its wires.
 */
#ifndef SERVICE_LAUNCH_H
#define SERVICE_LAUNCH_H

#include "conf/conf.h"
#include "ipc/messages.h"
#include "sys/sandbox.h"

/* A sealed memfd with what `see` may see of the configuration; -1 and *why. */
int launch_config(const struct conf *conf, unsigned see, struct fail *why);

/* A row of daemons/reach.def. */
struct launch_reach {
	const char *program;
	unsigned rights; /* REACH_* */
	struct {
		enum { REACH_AT, REACH_SETTING, REACH_PORT, REACH_NAMED } kind;
		size_t setting;    /* offset in struct conf */
		const char *below; /* of it; a whole path (AT); "": any port */
	} what;
};

/* A row as the message that tells the program of it; false: it is not this program's, or there is nothing to tell.
 * path keeps its text. */
bool launch_reach(const struct launch_reach *row, const struct conf *conf, const char *program, char path[B_PATH], struct ipc_ctl_reach *m);

struct launch {
	struct channel *root; /* to maild */
	uint64_t id;          /* of the child, on that channel */
	const char *name;     /* program */
	const char *label;    /* argv[1] */
	unsigned instance, instances;
	bool unprivileged;
	unsigned promises; /* PROMISE_* */
	unsigned files, memory, cpu; /* of processes.def */
	const struct launch_reach *reach; /* all rows of reach.def */
	size_t nreach;
	const struct conf *conf; /* what their settings are */
	uint32_t uid, gid; /* of a mailbox's owner, 0 for the common mailbox user */
	int config;        /* from launch_config(); not closed here */
};

/* Asks maild for it and sends boot. The ctl channel is the caller's; what became of
 * the child is told on the root channel (spawned, ended). NULL and *why: it was not even asked for. */
struct channel *launch_daemon(struct loop *loop, const struct launch *what, const struct channel_ops *ops, void *owner, struct fail *why);

struct launch_end {
	struct channel *ctl;
	const char *name;
	unsigned instance;
	bool crashed; /* the process before this one did; the other side is told */
};

/* Sends each side one end of a new pair for the channel, mended: in place of one that is broken; false: no descriptors or a side is closed. */
bool launch_wire(const struct launch_end *client, const struct launch_end *server, const char *channel, bool mended, struct fail *why);

#endif
