/* SPDX-License-Identifier: ISC
 *
 * routed: address to decision.
 */
#include "routed.h"

int
main(int argc, char **argv)
{
	return service_main(&routed_ops, argc, argv);
}
