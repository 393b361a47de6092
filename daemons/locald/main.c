/* SPDX-License-Identifier: ISC
 *
 * locald: final delivery into Maildirs.
 */
#include "daemons/locald/locald.h"

int
main(int argc, char **argv)
{
	return service_main(&locald_ops, argc, argv);
}
