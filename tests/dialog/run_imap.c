/* SPDX-License-Identifier: ISC
 *
 * Runs the IMAP dialogs: imapd's login core, then mailboxd's session. The
 * directives are described in imap/README.
 */
#include "daemons/imapd/imap_login.h"
#include "mailbox_script.h"

struct login *
mailbox_login_new(void)
{
	return imap_login_new();
}

bool
mailbox_is_pop3(void)
{
	return false;
}

int
main(int argc, char **argv)
{
	struct dialog_core core = mailbox_dialog("imap");

	return dialog_main(&core, argc, argv);
}
