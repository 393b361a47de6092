/* SPDX-License-Identifier: ISC
 *
 * fingerprint: the SHA-256 of a certificate or public key as people and tables write it: AB:CD:...
 */
#ifndef NET_FINGERPRINT_H
#define NET_FINGERPRINT_H

#include <stdint.h>

#include "base/span.h"

enum { FINGERPRINT = 32, FINGERPRINT_TEXT = 3 * FINGERPRINT };

struct span fingerprint_text(const uint8_t digest[FINGERPRINT], char text[FINGERPRINT_TEXT]);

#endif
