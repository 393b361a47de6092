/* SPDX-License-Identifier: ISC */
#include "sys/scheduling.h"

#include <linux/sched.h>
#include <linux/sched/types.h>
#include <sys/syscall.h>
#include <unistd.h>

enum { SLICE_NS = 400 * 1000 }; /* a long turn of the loop */

void
scheduling_of_daemon(bool gathers)
{
	struct sched_attr attr = { .size = sizeof(attr) };

	if (syscall(SYS_sched_getattr, 0, &attr, sizeof(attr), 0) != 0 || attr.sched_policy != SCHED_NORMAL)
		return;
	attr.sched_policy = gathers ? SCHED_BATCH : SCHED_NORMAL;
	attr.sched_runtime = SLICE_NS;
	(void)syscall(SYS_sched_setattr, 0, &attr, 0);
}
