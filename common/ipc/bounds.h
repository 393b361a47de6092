/* SPDX-License-Identifier: ISC
 *
 * The bounds that the channel tables share.  A TEXT is one line.
 */
#ifndef IPC_BOUNDS_H
#define IPC_BOUNDS_H

enum {
	IPC_PACKET_MAX = 65536, /* one send */
	IPC_DATA_MAX = 61440,   /* content bytes in one message */
	B_NAME = 64,            /* process, channel, listener, service, mechanism names */
	B_HOST = 255,           /* RFC 1035 2.3.4 */
	B_PEER = 320,           /* "host[address]:port" */
	B_ADDRESS = 320,        /* RFC 5321 4.5.3.1: 64 + 1 + 255 */
	B_LONG_ADDRESS = 640,   /* an ORCPT in xtext (RFC 3461 4.2: 500), a rewritten address */
	B_NEXTHOP = 512,
	B_PATH = 1024,
	B_REPLY = 2048, /* a peer's or our reply text, lines joined by blanks */
	B_TICKET = 16,
	B_SCRAM = 2048, /* a message of SCRAM, or what of it is told */
	B_NONCE = 256,
	B_KEY = 32,     /* a key or a proof made with SHA-256 */
	B_TOKEN = 8192, /* an OAuth token */
	B_FILTER = 16384,       /* an expression of queue/filter.h */
	B_LOGIN = 1400, /* user:password */
	B_LOGINS = 16384, /* net/logins.h */
	B_VIA = 4096,      /* addresses that a message was forwarded by, tabs between them */
	B_FORWARDS = 16384, /* addresses that a forward file names, LF between them */
	FORWARDS_MOST = 100, /* so many */
	B_POLICY = 16384, /* of a TLS policy: MTA-STS has a pattern for each MX host */
};

/* tlspolicy_answer.result */
enum tlspolicy_result { TLSPOLICY_FOUND, TLSPOLICY_NONE, TLSPOLICY_FAILED };

/* callout_answer.outcome */
enum callout_outcome { CALLOUT_TAKES, CALLOUT_LATER, CALLOUT_REFUSES };

/* What is wanted of the addresses that callouts were made for: FIELD(route_admin, verify, verb). */
enum verify_verb { VERIFY_SHOW, VERIFY_ASK, VERIFY_LIST, VERIFY_FORGET, VERIFY_COUNT };

/* token_answer.result */
enum token_result { TOKEN_GOOD, TOKEN_BAD, TOKEN_SCOPE, TOKEN_UNKNOWN };

/* What is to be done about a time by which to deliver (RFC 2852 4); NOTIFY or RETURN, and TRACE with either. */
enum by_mode { BY_NOTIFY = 1, BY_RETURN = 2, BY_TRACE = 4 };

/* What a question to routed is about: FIELD(rcpt, ask, about). */
enum rcpt_about { RCPT_FURTHER, RCPT_FIRST, RCPT_VRFY, RCPT_CONNECTION };

/* What comes behind a piece of content: FIELD(filter, piece, state). */
enum filter_piece { FILTER_PIECE_NEXT, FILTER_PIECE_MORE, FILTER_PIECE_LAST, FILTER_PIECE_LOST };

#endif
