/* SPDX-License-Identifier: ISC
 *
 * notify: what a session asked to be told at any time (RFC 5465): of other
 * mailboxes by STATUS and LIST, of the selected one by the usual responses,
 * with a FETCH for what arrives.
 *
 * A mailbox of which messages are told is held open by a view of its own; the
 * store's notices then come as for a selected one.
 */
#ifndef MAILBOXD_NOTIFY_H
#define MAILBOXD_NOTIFY_H

#include "daemons/mailboxd/fetch.h"
#include "daemons/mailboxd/filter.h"

enum { /* events */
	NOTIFY_NEW = 1,
	NOTIFY_EXPUNGE = 2,
	NOTIFY_FLAGS = 4,
	NOTIFY_NAME = 8,
	NOTIFY_SUBSCRIPTION = 16,
	NOTIFY_METADATA = 32,
	NOTIFY_SERVER_METADATA = 64,
	NOTIFY_MESSAGES = NOTIFY_NEW | NOTIFY_EXPUNGE | NOTIFY_FLAGS,
};

struct notify_group {
	struct notify_group *next;
	struct filter *filter;
	unsigned events;
};

struct notify {
	struct arena arena; /* of what is asked for */
	struct notify_group *groups;
	unsigned selected;          /* events of the selected mailbox */
	bool delayed;               /* expunges wait for a command (RFC 5465 6.1.2) */
	struct fetch_item *items;   /* to be fetched of what arrives there; NULL: nothing */
	struct list watches;        /* mailboxes that are held open */
	unsigned nwatches;
	bool changed;               /* one of them has something to tell */
	bool lost;                  /* one of them cannot be told of any more */
};

struct notify *notify_new(void); /* NULL: no memory */
void notify_free(struct notify **n);
/* Opens some of the mailboxes that n, filled but not yet the session's, is about.
 * *more: not all of them are open.  False: too much is asked for. */
bool notify_open(struct imap *s, struct notify *n, bool *more, struct fail *why);
/* n takes the place of what the session had. */
void notify_start(struct imap *s, struct notify *n, bool status);
/* The STATUS responses that are due. */
void notify_say(struct imap *s);
enum notify_change { NOTIFY_CREATED, NOTIFY_DELETED, NOTIFY_RENAMED, NOTIFY_SUBSCRIBED };
/* Other sessions of the user learn what from did; old: of a rename. */
void notify_folder(struct imap *from, enum notify_change change, struct span name, struct span old);
bool notify_wants_metadata(const struct imap *s, struct span folder);
/* A folder and its inferiors must not be held open by anybody's notifications,
 * until notify_again() or notify_folder(). */
void notify_leave(struct imap *from, struct span name);
void notify_again(struct imap *from);

#endif
