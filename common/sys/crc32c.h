/* SPDX-License-Identifier: ISC
 *
 * crc32c: the Castagnoli checksum (RFC 3720 appendix B.4), by the processor's
 * instruction where there is one.
 */
#ifndef SYS_CRC32C_H
#define SYS_CRC32C_H

#include "base/span.h"

/* Continues from a former result; start with 0. */
uint32_t crc32c(uint32_t crc, struct span s);
/* The same from tables alone, for the test that compares both. */
uint32_t crc32c_portable(uint32_t crc, struct span s);

#endif
