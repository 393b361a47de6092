/* SPDX-License-Identifier: ISC
 *
 * processes: the programs of daemons/maild/processes.def, by name.
 */
#ifndef MAILCTL_PROCESSES_H
#define MAILCTL_PROCESSES_H

#include <stdbool.h>

static const struct {
	const char *name;
	bool owned; /* runs as a mailbox's owner, has no user of its own */
} processes[] = {
#define PROCESS(name, bit, count, promises, files, memory, cpu, peers, job) { #name, false },
#define OWNED(name, bit, promises, files, memory, cpu, job) { #name, true },
#include "daemons/maild/processes.def"
};
enum { PROCESSES = sizeof(processes) / sizeof(processes[0]) };

#endif
