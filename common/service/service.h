/* SPDX-License-Identifier: ISC
 *
 * service: the skeleton of every daemon but maild and suited.  A daemon is a struct
 * service_ops handed to service_main(); its ruler (suited, or userd for mailboxd and
 * deliverd) rules it through the ctl channel on descriptor 3.
 *
 * Order of calls: on_boot (configuration known, nothing else), then for each
 * thing handed over on_open / on_listener / on_file, then on_start (inside
 * the sandbox).  Peers that die come back later through on_open.  A reload is
 * on_reload, listeners and files anew, then on_start again.
 */
#ifndef SERVICE_SERVICE_H
#define SERVICE_SERVICE_H

#include "base/arena.h"
#include "base/buf.h"
#include "conf/conf.h"
#include "ipc/messages.h"
#include "log/log.h"
#include "sys/limits.h"
#include "sys/loop.h"
#include "sys/sandbox.h"

struct service {
	struct loop *loop;
	const struct conf *conf; /* in force; what this daemon may see of it */
	const char *name;        /* program = user = log tag */
	unsigned instance, instances;
	unsigned generation; /* of the configuration */
	bool unprivileged;   /* the whole suite runs under one ordinary user */
	bool stopping;
	bool peer_crashed;   /* within on_open: the peer's predecessor has */
	bool probing;        /* only the walls are tried: nothing will start */
	struct channel *ruler; /* ctl, to whoever rules it */
	struct list siblings;  /* handed.c: who is at the end of which channel */
	void *state; /* the daemon's own; set in on_boot */
};

/* One kind of channel this daemon speaks.  ops->on_closed must channel_free(). */
struct service_channel {
	const struct ipc_channel *type;
	enum channel_side side;
	const struct channel_ops *ops;
	/* A channel to this peer is open; its owner is the struct service until
	 * channel_set_owner(); where there is no memory for it, channel_give_up().
	 * For a control socket the peer is "control" and instance its uid. */
	void (*on_open)(struct service *s, struct channel *c, struct span peer, unsigned instance);
};

struct service_ops {
	const char *name;
	enum conf_daemon see; /* which options it parses: its bit */
	bool gathers;         /* sys/scheduling.h: its work is many small steps of sessions that do not wait for each other */
	const struct service_channel *channels;
	size_t nchannels;
	bool (*on_boot)(struct service *s, struct fail *why);
	/* A socket to accept from, for the listener block of that name; the callee's.
	 * NULL if this daemon has no listeners (control sockets are accepted by the skeleton). */
	void (*on_listener)(struct service *s, const struct conf_listener *block, int fd);
	/* A file opened by the parent; the callee's. May be NULL. "log" is handled by the skeleton. */
	void (*on_file)(struct service *s, struct span purpose, struct span path, int fd);
	/* walls are its rows of daemons/reach.def; it may name paths where a row says NAMED, and narrow the rest.
	 * Called just before on_start. May be NULL. */
	void (*on_sandbox)(struct service *s, struct sandbox *walls);
	/* Of a program that is no service, and is one only for mailctl doctor: its own walls. NULL: they are as its rows say. */
	bool (*raise_walls)(struct service *s, struct sandbox_report *report, struct fail *why);
	bool (*on_start)(struct service *s, struct fail *why);
	/* It is a template: get ready what its copies share, say what they and it may reach; in each
	 * copy on_boot follows with s->state as it is.  NULL: it makes no copies. */
	void (*on_template)(struct service *s, struct sandbox *walls);
	/* s->conf is the new configuration, `old` lives until this returns. Close listeners: they come anew. May be NULL. */
	void (*on_reload)(struct service *s, const struct conf *old);
	void (*on_log)(struct service *s); /* the log is another file: may be NULL */
	/* Finish what is being written, then service_exit(). NULL: exit at once. */
	void (*on_stop)(struct service *s);
	/* Its loop has ended; it may be turned once more for what is under way. May be NULL. */
	void (*on_end)(struct service *s);
	/* Another program has crashed while it worked for a peer; false: a violation. NULL: nobody tells it (of userd alone). */
	bool (*on_crash)(struct service *s, const struct ipc_ctl_crash *m);
	/* What it counts, for `mailctl status --counters`: name=value words. May be NULL. */
	void (*on_state)(struct service *s, struct buf *out);
};

/* The whole life of a daemon; returns the exit status for main(). */
int service_main(const struct service_ops *ops, int argc, char **argv);
/* Behind walls that it raised itself after on_start: its ruler is told which stand now. */
void service_walls(struct service *s, const struct sandbox_report *report);
void service_exit(struct service *s); /* leaves the loop; main() returns 0 */

/* The directory of this daemon below data_directory, NUL-terminated, in buf of size B_PATH. */
const char *service_data_path(const struct service *s, char *path);

#endif
