/* SPDX-License-Identifier: ISC
 *
 * stsd: fetches the MTA-STS policies of other domains and keeps them.
 */
#include "daemons/stsd/stsd.h"

int
main(int argc, char **argv)
{
	return service_main(&stsd_ops, argc, argv);
}
