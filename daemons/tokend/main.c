/* SPDX-License-Identifier: ISC
 *
 * tokend: asks the issuer of OAuth tokens whether one is good.
 */
#include "daemons/tokend/tokend.h"

int
main(int argc, char **argv)
{
	return service_main(&tokend_ops, argc, argv);
}
