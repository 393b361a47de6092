/* SPDX-License-Identifier: ISC
 *
 * signer: a front's link to keyd: fetches the certificate chains that keyd
 * has keys for, makes the TLS server context of them, and has
 * handshakes signed, during which everybody else goes on. Or a client's link, which
 * keeps the chains to show them at other hosts.
 *
 * Chains are waited for, so that the first client has TLS and each has what keyd has now: until keyd has been slow
 * once.  From then on they are fetched beside everything else, and those of before serve meanwhile.
 *
 * In the front's struct service_channel: for `certs` ops stays NULL and on_open is
 * signer_attach_certs(); for `sign` ops is &signer_channel_ops and on_open
 * signer_attach_sign().
 */
#ifndef NET_SIGNER_H
#define NET_SIGNER_H

#include "base/fail.h"
#include "ipc/channel.h"
#include "net/tls.h"

struct signer;

extern const struct channel_ops signer_channel_ops;

/* only13: TLS 1.3 alone is spoken (smtpd_tls_protocols). ticket_ms: how often keyd changes the keys of session
 * tickets (smtpd_tls_session_cache_timeout). NULL: no memory. */
struct signer *signer_new(bool only13, int64_t ticket_ms);
/* Of a client: signer_context() has nothing, signer_lend() has. */
struct signer *signer_new_client(void);
/* Contexts that connections still use go on to need it: free it last. */
void signer_free(struct signer **signer);
/* Fresh channels, client side; at the start and whenever keyd was restarted. Taken. */
void signer_attach_certs(struct signer *signer, struct channel *c); /* becomes a channel_sync */
void signer_attach_sign(struct signer *signer, struct channel *c);
/* The context in force, to be asked for at each use and not kept: the signer's.
 * NULL when there is no certificate (do not offer TLS then) or keyd is away;
 * costs nothing but when keyd has loaded other keys, then at most 3 s once. */
struct tls_server *signer_context(struct signer *signer, struct fail *why);
/* The chains are asked for again before the next use: the configuration has changed, or the files. Without it the next
 * handshake would still show the old ones, for keyd says only with a signature that it has others. */
void signer_reload(struct signer *signer);
/* Lets client show the chain of that file, as keyd has it now, by the name of the path. False: there is none. */
bool signer_lend(struct signer *signer, struct tls_client *client, struct span path, struct fail *why);

#endif
