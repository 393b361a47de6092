/* SPDX-License-Identifier: ISC */
#include "sys/gather.h"

#include <sched.h>

bool
gather_work(void)
{
	const struct sched_param none = { .sched_priority = 0 };
	int now = sched_getscheduler(0);

	if (now != SCHED_OTHER)
		return now >= 0;
	return sched_setscheduler(0, SCHED_BATCH, &none) == 0;
}
