/* SPDX-License-Identifier: ISC
 *
 * smtpd: receives mail by SMTP, submission and LMTP. Parses foreign bytes and
 * so holds nothing: no key, no table, no spool; it asks its siblings.
 */
#include "smtpd.h"

int
main(int argc, char **argv)
{
	return service_main(&smtpd_ops, argc, argv);
}
