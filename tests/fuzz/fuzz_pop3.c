/* SPDX-License-Identifier: ISC
 *
 * POP3 whole: the front's login core, then a session on a real store.  A
 * first byte "L" begins before login; "F" names a folder, as far as the first LF.
 */
#include "daemons/mailboxd/pop3.h"
#include "daemons/pop3d/pop3_login.h"
#include "mailbox_rig.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct span bytes = span_of(data, size), folder = SPAN_NONE;
	struct user *user = rig_user();
	struct session *s;
	struct fail why;
	bool in = true;

	if (size && data[0] == 'L')
		bytes = rig_login(pop3_login_new(), span_from(bytes, 1), &in);
	if (size && data[0] == 'F') {
		folder = span_cut(&bytes, '\n');
		folder = span_from(folder, 1);
	}
	if (in && (s = pop3_new(user, folder, &why)))
		rig_session(user, s, bytes);
	return 0;
}
