/* SPDX-License-Identifier: ISC */
#include "base/ipnet.h"

#include <string.h>

static const uint8_t mapped[12] = { 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff };

bool
ipnet_is_ipv4(const uint8_t addr[16])
{
	return memcmp(addr, mapped, sizeof(mapped)) == 0;
}

bool
ipnet_has(const uint8_t net[16], unsigned bits, const uint8_t addr[16])
{
	unsigned whole = bits / 8, rest = bits % 8;

	if (bits < 8 * sizeof(mapped) && ipnet_is_ipv4(addr))
		return false;
	return memcmp(net, addr, whole) == 0 && (rest == 0 || ((net[whole] ^ addr[whole]) >> (8 - rest)) == 0);
}
