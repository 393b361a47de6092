/* SPDX-License-Identifier: ISC
 *
 * smtpd: receives mail by SMTP, submission and LMTP. Parses foreign bytes and
 * so holds nothing: no key, no table, no spool; it asks its siblings.
 */
#include "smtpd.h"
#include "sys/memory.h"

enum { KEEP = 4 * 1024 * 1024 };

int
main(int argc, char **argv)
{
	memory_keep(KEEP);
	return service_main(&smtpd_ops, argc, argv);
}
