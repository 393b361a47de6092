/* SPDX-License-Identifier: ISC
 *
 * abroad: commands about other users' mailboxes ("Other Users/bob/Projects"),
 * which their owners' mailboxd carry out for us as for a guest (guest.h): the
 * command goes there as it came, and what is said there comes back to the
 * client so far as it is a response that such a command may have. Nothing of
 * another user's mail is looked at here, and no descriptor of it is had.
 */
#ifndef MAILBOXD_ABROAD_H
#define MAILBOXD_ABROAD_H

#include "daemons/mailboxd/imap.h"

/* Whether the command, named but not yet walked, is for another user's mailboxd; then
 * its step is set, or its reply (false in *goes). */
bool abroad_takes(struct cmd *c, bool *goes);
/* LIST: what other users show of what these patterns match, then the end of the command. */
enum cmd_result abroad_list(struct cmd *c, const struct span *patterns, size_t n);
/* Is the name one of these? */
bool abroad_name(const struct imap *s, struct span name);
/* No other user's mailboxd is being talked to, nor will be before the next command. */
bool abroad_at_home(const struct imap *s);
void abroad_free(struct abroad **a);

#endif
