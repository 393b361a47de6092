/* SPDX-License-Identifier: ISC
 *
 * relaycert: whether the holder of a client's certificate may send to anywhere
 * (relay_clientcerts).
 */
#ifndef ROUTED_RELAYCERT_H
#define ROUTED_RELAYCERT_H

#include "routed.h"

/* Sets *may where the tables have the certificate or its key. False: it cannot be known now. */
bool relaycert_ask(struct routed *d, const struct ipc_rcpt_ask *m, bool *may);

#endif
