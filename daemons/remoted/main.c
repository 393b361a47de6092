/* SPDX-License-Identifier: ISC
 *
 * remoted: the SMTP and LMTP client.
 */
#include "daemons/remoted/remoted.h"
#include "sys/memory.h"

enum { KEEP = 4 * 1024 * 1024 };

int
main(int argc, char **argv)
{
	memory_keep(KEEP);
	return service_main(&remoted_ops, argc, argv);
}
