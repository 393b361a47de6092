/* SPDX-License-Identifier: ISC
 *
 * remoted: the SMTP and LMTP client.
 */
#include "daemons/remoted/remoted.h"

int
main(int argc, char **argv)
{
	return service_main(&remoted_ops, argc, argv);
}
