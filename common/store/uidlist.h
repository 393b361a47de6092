/* SPDX-License-Identifier: ISC
 *
 * uidlist: reads what Dovecot keeps beside a Maildir, so that a folder can be
 * taken over with its UIDs, UIDVALIDITY, POP3 UIDLs and keywords unchanged.
 * Pure parsers over the files' text; nothing is ever written in these formats but
 * keywords, which other readers of the Maildir need for the letters in file names.
 */
#ifndef STORE_UIDLIST_H
#define STORE_UIDLIST_H

#include "base/buf.h"

enum { UIDLIST_FILE_MAX = 512 * 1024 * 1024, KEYWORDS_FILE_MAX = 65536 };

struct uidlist_entry {
	uint32_t uid;
	struct span base; /* of the file's name */
	struct span uidl; /* POP3 UIDL where it is a special one, else empty */
};

struct uidlist {
	uint32_t uidvalidity, uidnext;
	struct span rest; /* what uidlist_next() reads */
	uint32_t last;
};

/* dovecot-uidlist, versions 1 and 3. False: not such a file. */
bool uidlist_open(struct uidlist *l, struct span text);
/* The next entry with ascending UID; malformed lines are skipped. */
bool uidlist_next(struct uidlist *l, struct uidlist_entry *out);

/* dovecot-keywords: "<number> <name>" lines; number 0 is letter 'a'. */
bool keywords_next(struct span *rest, unsigned *number, struct span *name);

#endif
