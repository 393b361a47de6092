/* SPDX-License-Identifier: ISC
 *
 * ipnet: whether an IP address is in a network, both as 16 bytes, IPv4 mapped into IPv6 (RFC 4291 2.5.5.2).
 */
#ifndef BASE_IPNET_H
#define BASE_IPNET_H

#include <stdbool.h>
#include <stdint.h>

bool ipnet_is_ipv4(const uint8_t addr[16]);
/* bits: 0..128 of the mapped form. IPv4 is in no network of IPv6, however large: "::/0" is all of IPv6 alone. */
bool ipnet_has(const uint8_t net[16], unsigned bits, const uint8_t addr[16]);

#endif
