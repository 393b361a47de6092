/* SPDX-License-Identifier: ISC
 *
 * pieces: the texts that a search for a text looks into, one after the other:
 * each header field as it is written, each text part; decoded, in UTF-8, HTML without its
 * tags, folded (fold.h).  A needle is found where one of them has it as a whole.
 * The search index is made of the same.
 */
#ifndef MAILBOXD_PIECES_H
#define MAILBOXD_PIECES_H

#include "base/buf.h"
#include "mail/mime.h"
#include "store/mailbox.h"

enum { PIECE_MAX = 64 << 20 }; /* octets; a longer one is not looked into */

struct pieces {
	struct buf decoded, utf8, folded; /* what they are made in */
	bool (*each)(void *arg, struct span piece); /* true: stop */
	void *arg;
};

void pieces_init(struct pieces *p, bool (*each)(void *arg, struct span piece), void *arg);
void pieces_free(struct pieces *p);
/* True when each() said so. */
bool pieces_header(struct pieces *p, struct span header);
/* The parts, and the headers of attached messages. */
bool pieces_body(struct pieces *p, struct span message, const struct mime_part *root);

/* For the search index (store_set_search()). */
bool pieces_sign(struct content *c, struct signature_maker *into);

#endif
