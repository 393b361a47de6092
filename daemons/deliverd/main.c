/* SPDX-License-Identifier: ISC
 *
 * deliverd: writes messages into one owner's Maildirs.
 */
#include "daemons/deliverd/deliverd.h"

int
main(int argc, char **argv)
{
	return service_main(&deliverd_ops, argc, argv);
}
