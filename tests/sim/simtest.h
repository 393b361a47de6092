/* SPDX-License-Identifier: ISC
 *
 * simtest: the frame of a file of tests that each run in a sim of their own.
 * The file says in begin() what that has before its queue opens.
 */
#ifndef SIM_SIMTEST_H
#define SIM_SIMTEST_H

#include <stdarg.h>
#include <setjmp.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "sim/sim.h"

#define SECOND 1000LL
#define MINUTE (60 * SECOND)
#define HOUR (60 * MINUTE)
#define DAY (24 * HOUR)

static struct sim sim;

static void begin(void);

static int
setup(void **state)
{
	(void)state;
	sim_init(&sim);
	begin();
	sim_open(&sim);
	return 0;
}

static int
teardown(void **state)
{
	(void)state;
	sim_free(&sim);
	return 0;
}

static size_t
queued(void)
{
	return queue_stats(sim.queue).messages;
}

#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

#endif
