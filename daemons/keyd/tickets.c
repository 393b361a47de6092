/* SPDX-License-Identifier: ISC */
#include "daemons/keyd/tickets.h"

#include <openssl/evp.h>
#include <openssl/rand.h>
#include <string.h>

#include "ipc/bounds.h"

enum { BLOCK = 64 }; /* of SHA-512 */

bool
tickets_init(struct tickets *t, struct fail *why)
{
	return RAND_priv_bytes(t->secret, sizeof(t->secret)) > 0 || fail_set(why, FAIL_TEMP, 0, "no randomness");
}

/* HKDF-Expand (RFC 5869 2.3), with kind and period as its info. */
bool
tickets_key(const struct tickets *t, struct span kind, uint64_t period, unsigned char key[TICKETS_KEY])
{
	unsigned char block[BLOCK], message[BLOCK + B_NAME + sizeof(period) + 1];
	size_t have = 0, used = 0, got = 0;
	bool ok = kind.n <= B_NAME;

	for (unsigned char i = 1; ok && have < TICKETS_KEY; i++) {
		memcpy(message, block, used);
		memcpy(message + used, kind.p, kind.n);
		memcpy(message + used + kind.n, &period, sizeof(period));
		message[used + kind.n + sizeof(period)] = i;
		ok = EVP_Q_mac(NULL, "HMAC", NULL, "SHA512", NULL, t->secret, sizeof(t->secret), message, used + kind.n + sizeof(period) + 1, block, sizeof(block), &got) &&
		    got == BLOCK;
		used = BLOCK;
		memcpy(key + have, block, TICKETS_KEY - have < BLOCK ? TICKETS_KEY - have : BLOCK);
		have += TICKETS_KEY - have < BLOCK ? TICKETS_KEY - have : BLOCK;
	}
	explicit_bzero(block, sizeof(block));
	explicit_bzero(message, sizeof(message));
	return ok;
}

void
tickets_wipe(struct tickets *t)
{
	explicit_bzero(t, sizeof(*t));
}
