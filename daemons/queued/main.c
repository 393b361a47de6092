/* SPDX-License-Identifier: ISC */
#include "daemons/queued/queued.h"
#include "sys/memory.h"

enum { KEEP = 1024 * 1024 /* what is larger is mapped, and grows without being copied: 3 ms for the index of a segment */ };

int
main(int argc, char **argv)
{
	memory_keep(KEEP);
	memory_join();
	return service_main(&queued_ops, argc, argv);
}
