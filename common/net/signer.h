/* SPDX-License-Identifier: ISC
 *
 * signer: a front's link to keyd: fetches the certificate chains that keyd
 * has keys for, makes the TLS server context of them, and has handshakes
 * signed. Waits for keyd within a handshake, bounded.
 *
 * In the front's struct service_channel ops stays NULL and on_open is
 *     signer_attach(state->signer, c);
 */
#ifndef NET_SIGNER_H
#define NET_SIGNER_H

#include "base/fail.h"
#include "ipc/channel.h"
#include "net/tls.h"

struct signer;

/* only13: TLS 1.3 alone is spoken (smtpd_tls_protocols). NULL: no memory. */
struct signer *signer_new(bool only13);
/* Contexts that connections still use go on to need it: free it last. */
void signer_free(struct signer **signer);
/* A fresh sign channel, client side; at the start and whenever keyd was
 * restarted. Taken: it becomes a channel_sync. */
void signer_attach(struct signer *signer, struct channel *c);
/* The context in force, to be asked for at each use and not kept: the signer's.
 * NULL when there is no certificate (do not offer TLS then) or keyd is away;
 * costs nothing but when keyd has loaded other keys. */
struct tls_server *signer_context(struct signer *signer, struct fail *why);

#endif
