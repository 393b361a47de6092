/* SPDX-License-Identifier: ISC
 *
 * IMAP whole: the front's login core, then a session on a real store, with a
 * second one that has the same mailbox open.  A first byte "L" begins before login.
 */
#include "daemons/imapd/imap_login.h"
#include "daemons/mailboxd/imap.h"
#include "mailbox_rig.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct span bytes = span_of(data, size);
	struct user *user = rig_user();
	bool in = true;

	if (size && data[0] == 'L')
		bytes = rig_login(imap_login_new(), span_from(bytes, 1), &in);
	if (in) {
		struct session *other = imap_new(user, SPAN(""), true), *s = imap_new(user, SPAN("tag"), true);

		buf_put(&other->in, SPAN("x SELECT INBOX\r\ny IDLE\r\n"));
		session_run(other);
		rig_session(user, s, bytes);
		rig_session(user, other, SPAN("DONE\r\nz NOOP\r\n"));
	}
	return 0;
}
