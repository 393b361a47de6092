/* SPDX-License-Identifier: ISC
 *
 * Both ends of a TLS connection over a socketpair, with keys that only the signer has.
 */
#ifndef TLS_PAIR_H
#define TLS_PAIR_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

#include "tests/unit/tls_fixture.h"

struct pair {
	int fd[2];
	struct tls_conn *server, *client;
};

void pair_open(struct pair *p, struct tls_server *server, struct tls_client *client, const struct tls_want *want);
void pair_close(struct pair *p);
/* Both handshakes; false: one of them failed. */
bool shake(struct pair *p, struct fail *why);

/* A server with f's key. */
struct tls_server *server_of(struct fixture *f);
/* f's certificate as a file to trust, which the caller removes; the name is good until the next call. */
char *write_ca(const struct fixture *f);

/* A server with two keys, and who asks it. */
struct two {
	struct fixture key[2];
	struct tls_signer signer;
	struct tls_client *client;
	struct tls_server *server;
};

void two_open(struct two *two, const char *kind0, const char *name0, const char *kind1, const char *name1);
/* The server takes the certificate of this key. */
bool two_add(struct two *two, size_t which);
void two_close(struct two *two);

#endif
