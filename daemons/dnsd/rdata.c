/* SPDX-License-Identifier: ISC */
#include "daemons/dnsd/rdata.h"

#include <arpa/inet.h>
#include <stdio.h>
#include <string.h>

static bool
name_byte(char c)
{
	return ascii_alnum(c) || c == '-' || c == '_';
}

bool
rdata_name(struct span *in, char text[RDATA_NAME], struct span *name)
{
	size_t n = 0;

	for (;;) {
		size_t label;

		if (in->n == 0)
			return false;
		label = (unsigned char)in->p[0];
		*in = span_from(*in, 1);
		if (label == 0)
			break;
		if (label > 63 || label > in->n || n + label + 1 >= RDATA_NAME - 2)
			return false;
		if (n)
			text[n++] = '.';
		for (size_t i = 0; i < label; i++) {
			if (!name_byte(in->p[i]))
				return false;
			text[n++] = ascii_lower(in->p[i]);
		}
		*in = span_from(*in, label);
	}
	text[n] = '\0';
	*name = span_of(text, n);
	return true;
}

static bool
take_name(struct span wire, struct arena *arena, bool root, struct rdata *out)
{
	char text[RDATA_NAME];
	struct span name;

	if (!rdata_name(&wire, text, &name) || wire.n || (!name.n && !root))
		return false;
	out->name = arena_dup(arena, name);
	return !name.n || out->name.p;
}

static bool
take_data(struct span data, struct arena *arena, struct rdata *out)
{
	out->data = arena_dup(arena, data);
	return out->data.p != NULL;
}

/* RFC 1035 3.3.14: character strings, joined as their readers want them (RFC 7208 3.3). */
static bool
take_text(struct span wire, struct arena *arena, struct rdata *out)
{
	char text[RDATA_DATA];
	size_t n = 0;

	while (wire.n) {
		size_t len = (unsigned char)wire.p[0];

		if (len > wire.n - 1 || n + len > sizeof(text))
			return false;
		memcpy(text + n, wire.p + 1, len);
		n += len;
		wire = span_from(wire, len + 1);
	}
	out->data = n ? arena_dup(arena, span_of(text, n)) : SPAN("");
	return out->data.p != NULL;
}

bool
rdata_parse(enum dns_type type, struct span wire, struct arena *arena, struct rdata *out)
{
	*out = (struct rdata){ .type = (uint8_t)type };
	switch (type) {
	case DNS_MX:
		if (wire.n < 3)
			return false;
		out->preference = (uint16_t)((unsigned char)wire.p[0] << 8 | (unsigned char)wire.p[1]);
		return take_name(span_from(wire, 2), arena, true, out);
	case DNS_PTR:
	case DNS_CNAME:
		return take_name(wire, arena, false, out);
	case DNS_ADDR:
		return (wire.n == 4 || wire.n == 16) && take_data(wire, arena, out);
	case DNS_TXT:
		return take_text(wire, arena, out);
	case DNS_TLSA: /* RFC 6698 2.1: usage, selector, matching type, data */
		return wire.n > 3 && wire.n <= RDATA_DATA && take_data(wire, arena, out);
	}
	return false;
}

bool
rdata_reverse(struct span address, char text[RDATA_NAME])
{
	unsigned char a[16];
	char cstr[64];
	size_t n = 0;

	if (!span_cstr(address, cstr, sizeof(cstr)))
		return false;
	if (inet_pton(AF_INET, cstr, a) == 1) {
		(void)snprintf(text, RDATA_NAME, "%u.%u.%u.%u.in-addr.arpa", a[3], a[2], a[1], a[0]);
		return true;
	}
	if (inet_pton(AF_INET6, cstr, a) != 1)
		return false;
	for (size_t i = 16; i-- > 0;) {
		text[n++] = "0123456789abcdef"[a[i] & 15];
		text[n++] = '.';
		text[n++] = "0123456789abcdef"[a[i] >> 4];
		text[n++] = '.';
	}
	memcpy(text + n, "ip6.arpa", sizeof("ip6.arpa"));
	return true;
}
