/* SPDX-License-Identifier: ISC
 *
 * Runs dialogs against smtpd's core. The directives are described in smtpd/README.
 */
#include "smtpd_script.h"

int
main(int argc, char **argv)
{
	return dialog_main(&smtpd_dialog, argc, argv);
}
