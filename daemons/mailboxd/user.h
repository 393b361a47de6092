/* SPDX-License-Identifier: ISC
 *
 * user: the one user this process serves: the store, the settings that
 * sessions need, and the list of sessions.
 */
#ifndef MAILBOXD_USER_H
#define MAILBOXD_USER_H

#include "daemons/mailboxd/broker.h"
#include "daemons/mailboxd/session.h"
#include "store/mailbox.h"

struct link;

struct user {
	struct loop *loop;
	struct store *store;   /* owned */
	struct span name;      /* user@domain, for texts and logs */
	struct span hostname;  /* for greetings */
	struct list sessions;  /* struct session.node */
	unsigned nsessions;
	struct timer quiet;    /* fires when no client has said anything for a while */
	int64_t imap_idle_ms;  /* autologout, RFC 3501 5.4: at least 30 minutes */
	int64_t pop3_idle_ms;  /* RFC 1939 3: at least 10 minutes */
	int64_t keepalive_ms;  /* a word to idling clients this often */
	int64_t progress_ms;   /* a word in long commands this often (RFC 9585); 0: at each slice */
	uint64_t message_limit; /* of an appended message; 0: BOUND_MESSAGE */
	uint64_t at_once;      /* messages in one command's set (RFC 9738); 0: any number */
	bool quotas;           /* may set everybody's (RFC 9208 4.1.3) */
	const struct broker *broker; /* NULL: there are no other users */
	bool (*leave)(struct user *user, uint64_t front, int fd, struct span pending); /* takes fd */
	struct link *link;     /* the broker's */
	unsigned pop3_login_delay; /* seconds, for CAPA */
	bool textbook_replies; /* POP3 texts as the textbooks print them */
};

static inline uint64_t
user_message_limit(const struct user *user)
{
	return user->message_limit ? user->message_limit : BOUND_MESSAGE;
}

#endif
