/* SPDX-License-Identifier: ISC
 *
 * dnsd: validating resolver over libunbound; answers as structs.
 */
#include "daemons/dnsd/dnsd.h"

int
main(int argc, char **argv)
{
	return service_main(&dnsd_ops, argc, argv);
}
