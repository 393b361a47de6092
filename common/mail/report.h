/* SPDX-License-Identifier: ISC
 *
 * report: builds delivery status notifications: multipart/report (RFC 6522) with
 * a text for humans, message/delivery-status (RFC 3464, RFC 6533) and the
 * original or its header.  Pure: everything comes in, bytes come out.
 */
#ifndef MAIL_REPORT_H
#define MAIL_REPORT_H

#include "base/buf.h"
#include "base/fail.h"

/* action of RFC 3464 2.3.3, and the subject */
#define REPORT_ACTIONS(X)                                                                     \
	X(FAILED, "failed", "Undelivered Mail Returned to Sender")                             \
	X(DELAYED, "delayed", "Delayed Mail (still being tried)")                              \
	X(DELIVERED, "delivered", "Successful Mail Delivery Report")                           \
	X(RELAYED, "relayed", "Mail Relayed Report")                                           \
	X(EXPANDED, "expanded", "Mail Delivered to a List Report")

enum report_action {
#define X(name, word, subject) REPORT_##name,
	REPORT_ACTIONS(X)
#undef X
	REPORT_ACTION_COUNT
};

struct report_recipient {
	enum report_action action;
	struct span final;      /* address of the envelope, its case kept */
	struct span original;   /* ORCPT as given: "rfc822;a+2Bx@b"; empty: none was, and none is told (RFC 3461 6.3 (d)) */
	struct span code;       /* "5.1.1"; empty: from status */
	unsigned status;        /* row of status.def, for the sentence and the code */
	struct span remote_mta; /* name of the host it was about to be sent to; empty: none */
	struct span reply;      /* that host's reply, possibly several lines, when it begins with a reply code; else our own reason */
	int64_t last_attempt;   /* 0: unknown, and not told (RFC 3464 2.3.7) */
	int64_t retry_until;    /* delayed: when we give up; 0: unknown */
	struct span log_id;     /* Final-Log-ID; empty: none */
};

struct report {
	struct span reporting_mta;   /* our name */
	struct span received_from;   /* Received-From-MTA name; empty: none */
	struct span from;            /* MAILER-DAEMON address */
	struct span to;              /* the original's reverse-path */
	struct span envelope_id;     /* ENVID decoded; empty: none */
	struct span queue_id;        /* ours, told to the human */
	struct span unique;          /* makes Message-ID and boundary unique: letters, digits, . and - */
	int64_t arrival;             /* of the original; 0: unknown */
	int64_t deliver_by;          /* the time its sender set (RFC 2852); 0: none */
	int64_t now;
	int zone;                    /* minutes east, for the dates */
	bool full;                   /* the whole original rather than its header (RET=FULL on failures) */
	bool utf8;                   /* the receiver takes SMTPUTF8: RFC 6533 types, addresses as they are */
	bool original_utf8;          /* the original needs SMTPUTF8 */
	bool original_8bit;          /* the original has bytes beyond ASCII */
	const struct report_recipient *recipients;
	size_t nrecipients;
	const struct span *original; /* the original's bytes in order, from its first header line */
	size_t noriginal;
};

/* Appends the message (CRLF, not dot-stuffed). False: too many recipients, none, or out failed. */
bool report_build(const struct report *r, struct buf *out, struct fail *why);

#endif
