/* SPDX-License-Identifier: ISC */
#include "mail/addresses.h"

#include "ipc/bounds.h"

static bool
one_ok(struct span address)
{
	for (size_t i = 0; i < address.n; i++)
		if ((unsigned char)address.p[i] < ' ' || address.p[i] == 0x7f)
			return false;
	return address.n > 0 && address.n <= B_LONG_ADDRESS;
}

bool
addresses_ok(struct span list, char between, size_t most)
{
	if (list.n == 0)
		return true;
	for (size_t n = 0; list.p; n++)
		if (n == most || !one_ok(span_cut(&list, between)))
			return false;
	return true;
}
