/* SPDX-License-Identifier: ISC
 *
 * oauth: what a client says within OAUTHBEARER (RFC 7628 3.1) and XOAUTH2 (Google's
 * and Microsoft's older form of it), taken apart. Whether the token is good is for
 * others to say; what comes out has only characters that RFC 6750 2.1 allows.
 */
#ifndef NET_OAUTH_H
#define NET_OAUTH_H

#include "base/buf.h"
#include "base/fail.h"

enum { OAUTH_TOKEN_MAX = 8192 };

/* token points into the message; user into names, which must have room already. Both may be empty: who has no token
 * asks which one is wanted (RFC 7628 4.3). */
struct oauth_first {
	struct span user, token;
};

bool oauth_parse_bearer(struct span message, struct buf *names, struct oauth_first *out, struct fail *why);
bool oauth_parse_xoauth2(struct span message, struct buf *names, struct oauth_first *out, struct fail *why);

#endif
