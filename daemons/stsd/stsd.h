/* SPDX-License-Identifier: ISC
 *
 * stsd: the MTA-STS policies of other domains (RFC 8461), looked up, fetched
 * and kept for remoted.
 */
#ifndef STSD_STSD_H
#define STSD_STSD_H

#include "service/service.h"

extern const struct service_ops stsd_ops;

#endif
