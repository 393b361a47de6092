/* SPDX-License-Identifier: ISC
 *
 * tokend: asks the issuer of OAuth tokens whether one is good (RFC 7662), for authd,
 * which has no network.
 */
#ifndef TOKEND_TOKEND_H
#define TOKEND_TOKEND_H

#include "service/service.h"

extern const struct service_ops tokend_ops;

#endif
