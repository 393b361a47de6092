/* SPDX-License-Identifier: ISC
 *
 * auth: logging in at a peer (RFC 4954): the client's half of SCRAM-SHA-256-PLUS,
 * SCRAM-SHA-256, PLAIN and LOGIN, in that order. A password goes over the wire only where nobody
 * listens: with TLS, or on this host. Between client.c and auth.c alone.
 */
#ifndef REMOTED_AUTH_H
#define REMOTED_AUTH_H

#include "base/span.h"

struct client;
struct reply;

/* Mechanisms; rows are in order of preference. bit, name */
#define AUTH_MECHANISMS(X)                          \
	X(SCRAM_SHA_256_PLUS, "SCRAM-SHA-256-PLUS") \
	X(SCRAM_SHA_256, "SCRAM-SHA-256")           \
	X(PLAIN, "PLAIN")                           \
	X(LOGIN, "LOGIN")
enum auth_bit {
#define X(name, text) AUTH_BIT_##name,
	AUTH_MECHANISMS(X)
#undef X
	AUTH_MECHANISM_COUNT
};
enum { AUTH_ALL = (1 << AUTH_MECHANISM_COUNT) - 1, AUTH_SCRAM = 1 << AUTH_BIT_SCRAM_SHA_256_PLUS | 1 << AUTH_BIT_SCRAM_SHA_256 };

/* Set of bits that a list of names, with blanks or '=' between, has. */
unsigned auth_mechanisms(struct span list);
/* Begins; the session ends where it cannot be done. */
void auth_begin(struct client *c);
/* A reply in the state auth. */
void auth_on_reply(struct client *c);
/* Forgets secrets. */
void auth_end(struct client *c);

#endif
