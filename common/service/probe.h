/* SPDX-License-Identifier: ISC
 *
 * probe: forbidden acts (probe.def), tried where a daemon would work: in its
 * program, as its user, behind its walls. Never while it works.
 */
#ifndef SERVICE_PROBE_H
#define SERVICE_PROBE_H

#include "ipc/messages.h"
#include "sys/sandbox.h"

enum probe_result { PROBE_DENIED, PROBE_ALLOWED, PROBE_JOB };

enum probe_attempt {
#define ATTEMPT(name, bare, promise, program, what) PROBE_##name,
#include "service/probe.def"
	PROBE_ATTEMPTS
};

struct probe {
	const struct ipc_ctl_probe *what; /* paths, and where to begin */
	const char *program;
	unsigned promises;
	bool tcp_bind; /* may take TCP ports */
	int parent;    /* another process */
	int bare[PROBE_ATTEMPTS]; /* errno of what was tried without walls; 0: it worked */
};

/* argv[1] of a program that is no service (suited, and mailctl in maild's place), when its walls are to be tried. */
#define PROBE_LABEL "--doctor"

const char *probe_text(enum probe_attempt at);
/* Whether it is what this program is for. */
bool probe_is_job(const char *program, unsigned promises, enum probe_attempt at);
/* Before the walls: what the user alone is denied. */
void probe_bare(struct probe *p);
/* Behind them, from what->from on: each is told over ctl before the next, which may be the last. */
void probe_all(const struct probe *p, struct channel *ctl);

#endif
