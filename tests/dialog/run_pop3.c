/* SPDX-License-Identifier: ISC
 *
 * Runs the POP3 dialogs: pop3d's login core, then mailboxd's session. The
 * directives are described in imap/README.
 */
#include "daemons/pop3d/pop3_login.h"
#include "mailbox_script.h"

struct login *
mailbox_login_new(void)
{
	return pop3_login_new();
}

bool
mailbox_is_pop3(void)
{
	return true;
}

int
main(int argc, char **argv)
{
	struct dialog_core core = mailbox_dialog("pop3");

	return dialog_main(&core, argc, argv);
}
