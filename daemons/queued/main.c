/* SPDX-License-Identifier: ISC */
#include "daemons/queued/queued.h"

int
main(int argc, char **argv)
{
	return service_main(&queued_ops, argc, argv);
}
