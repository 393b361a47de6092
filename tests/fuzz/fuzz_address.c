/* SPDX-License-Identifier: ISC */
#include <stdlib.h>
#include <string.h>

#include "mail/address.h"
#include "mail/domain.h"

/* What is accepted is a fixed point, and holds nothing that could be more than an address. */
static void
check(const struct address *a, unsigned flags)
{
	struct address again;
	char raw[ADDRESS_SIZE];
	struct span local = address_local_raw(a, raw), user, detail;

	if (a->n == 0)
		return;
	if (!address_parse(&again, address_text(a), flags | ADDRESS_LONG_LOCAL, NULL) || !address_eq(a, &again))
		abort();
	for (size_t i = 0; i < a->n; i++)
		if ((unsigned char)a->text[i] < ' ' || a->text[i] == 0x7f || (!(flags & ADDRESS_UTF8) && a->text[i] & 0x80))
			abort();
	if (local.n == 0 || strlen(a->text) != a->n)
		abort();
	(void)address_subaddress(local, SPAN("+-"), &user, &detail);
	if (!address_make(&again, local, address_domain(a), flags | ADDRESS_LONG_LOCAL, NULL) || !address_eq(a, &again))
		abort();
}

/* The form that is compared is a fixed point. */
static void
check_domain(struct span in)
{
	char one[DOMAIN_SIZE], other[DOMAIN_SIZE];
	struct span ascii, again;
	struct domain_literal literal;

	(void)domain_literal(in, &literal);
	if (!domain_to_ascii(in, one, &ascii))
		return;
	if (!domain_valid(ascii, false) || !domain_to_ascii(ascii, other, &again) || !span_eq(ascii, again))
		abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct address a;
	size_t used;
	unsigned flags;

	if (size == 0)
		return 0;
	flags = data[0] & 31;
	if (address_parse(&a, span_of(data + 1, size - 1), flags, NULL))
		check(&a, flags);
	if (address_parse_path(&a, span_of(data + 1, size - 1), flags, &used, NULL)) {
		if (used > size - 1)
			abort();
		check(&a, flags);
	}
	check_domain(span_of(data + 1, size - 1));
	return 0;
}
