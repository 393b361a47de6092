/* SPDX-License-Identifier: ISC
 *
 * dnsd: serves the dns channel from the resolver.
 */
#ifndef DNSD_DNSD_H
#define DNSD_DNSD_H

#include "service/service.h"

extern const struct service_ops dnsd_ops;

#endif
