/* SPDX-License-Identifier: ISC
 *
 * forwardlist: what a forward file says: items as in aliases, separated by commas
 * and lines; # begins a comment line.  No file is touched here.
 *
 * An address is mail sent on; the recipient's own one, or \name, is a copy kept;
 * /dev/null alone is mail thrown away.  Whatever else there is is not done, said, and a
 * copy kept, so that nobody loses mail by a mistake.
 */
#ifndef DELIVERD_FORWARDLIST_H
#define DELIVERD_FORWARDLIST_H

#include "base/buf.h"

enum { FORWARDLIST_TEXT = 64 * 1024 }; /* of a file */

struct forwardlist {
	struct buf to; /* canonical addresses, each once, LF between them: at most FORWARDS_MOST, and B_FORWARDS octets */
	bool kept;     /* in the mailbox, too; or there alone */
};

/* Whose it is, and who hears what of it cannot be done. */
struct forwardlist_reader {
	struct span own;        /* the recipient's address */
	struct span delimiters; /* recipient_delimiter: own without an extension is own, too */
	void (*on_bad)(void *arg, unsigned line, struct span item, const char *why);
	void *arg;
};

void forwardlist_init(struct forwardlist *list); /* no file: kept */
void forwardlist_free(struct forwardlist *list);
/* text: at most FORWARDLIST_TEXT.  False: out of memory. */
bool forwardlist_parse(struct forwardlist *list, struct span text, const struct forwardlist_reader *reader);

#endif
