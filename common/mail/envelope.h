/* SPDX-License-Identifier: ISC
 *
 * envelope: the fields of IMAP's ENVELOPE (RFC 3501 7.4.2) from a header.
 */
#ifndef MAIL_ENVELOPE_H
#define MAIL_ENVELOPE_H

#include "mail/addrlist.h"

struct envelope {
	struct span date, subject; /* raw, unfolded; p == NULL if the field is not there */
	struct addrlist from, to, cc, bcc;
	struct addrlist sender, reply_to; /* as in the header; see envelope_sender() */
	struct span in_reply_to, message_id;
};

/* Of several fields of one name, addresses are joined and of the rest the first counts. Text is in the arena or the
 * header itself. False only when the arena is exhausted. */
bool envelope_parse(struct envelope *e, struct span header, struct arena *arena);

/* With RFC 3501's default: From where the field is missing or empty. */
static inline const struct addrlist *
envelope_sender(const struct envelope *e)
{
	return e->sender.count ? &e->sender : &e->from;
}
static inline const struct addrlist *
envelope_reply_to(const struct envelope *e)
{
	return e->reply_to.count ? &e->reply_to : &e->from;
}

/* Takes one field into *e if it is one of the envelope's: for callers that walk the header themselves. */
struct header_field;
bool envelope_take(struct envelope *e, const struct header_field *f, struct arena *arena);

#endif
