/* SPDX-License-Identifier: ISC
 *
 * launch: how a parent (maild, userd) starts a daemon and rules it: program,
 * identity, configuration, ctl channel.
 */
#ifndef SERVICE_LAUNCH_H
#define SERVICE_LAUNCH_H

#include "conf/conf.h"
#include "ipc/messages.h"
#include "sys/child.h"

/* A sealed memfd with what `see` may see of the configuration; -1 and *why. */
int launch_config(const struct conf *conf, unsigned see, struct fail *why);

struct launch {
	const char *directory; /* of programs */
	const char *name;      /* program */
	const char *label;     /* argv[1] */
	unsigned instance, instances;
	bool unprivileged;
	unsigned promises; /* PROMISE_* */
	const struct priv_identity *become; /* NULL: stay */
	int config;                         /* from launch_config(); not closed here */
	int log;                            /* the log's descriptor; not closed here */
};

/* Starts it and sends boot. The ctl channel is the caller's, pid the child's;
 * NULL and *why when it could not be started. */
struct channel *launch_daemon(struct loop *loop, const struct launch *what, const struct channel_ops *ops, void *owner, pid_t *pid, struct fail *why);

/* Sends each side one end of a new pair for the channel; false: no descriptors or a side is closed. */
bool launch_wire(struct channel *client_ctl, const char *client, unsigned client_instance,
    struct channel *server_ctl, const char *server, unsigned server_instance, const char *channel, struct fail *why);

#endif
