/* SPDX-License-Identifier: ISC
 *
 * verifyd: messages before the site's filters. Opens the connections that smtpd may
 * not, and reads the foreign bytes that come over them.
 */
#include "verifyd.h"

int
main(int argc, char **argv)
{
	return service_main(&verifyd_ops, argc, argv);
}
