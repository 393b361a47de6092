/* SPDX-License-Identifier: ISC */
#include "mail/domain.h"

#include <arpa/inet.h>
#include <idn2.h>
#include <string.h>
#include <sys/socket.h>

#include "mail/charset.h"
#include "mail/limits.h"

static bool
label_byte(char c)
{
	return ascii_alnum(c) || c == '-' || c == '_' || ((unsigned char)c & 0x80);
}

static bool
label_valid(struct span label)
{
	if (label.n == 0 || label.n > LIMIT_DOMAIN_LABEL || label.p[0] == '-' || label.p[label.n - 1] == '-')
		return false;
	for (size_t i = 0; i < label.n; i++)
		if (!label_byte(label.p[i]))
			return false;
	return true;
}

bool
domain_valid(struct span s, bool utf8)
{
	struct span rest = s;

	if (s.n == 0 || s.n > LIMIT_DOMAIN || s.p[s.n - 1] == '.')
		return false;
	if (utf8_has_8bit(s) && (!utf8 || !utf8_valid(s)))
		return false;
	while (rest.n)
		if (!label_valid(span_cut(&rest, '.')))
			return false;
	return true;
}

/* Keeps it in lower case, if it is a valid domain in ASCII. */
static bool
keep(const char *text, char out[DOMAIN_SIZE], struct span *result)
{
	struct span s = span_str(text);

	if (!domain_valid(s, false))
		return false;
	for (size_t i = 0; i < s.n; i++)
		out[i] = ascii_lower(s.p[i]);
	out[s.n] = '\0';
	*result = span_of(out, s.n);
	return true;
}

bool
domain_to_ascii(struct span s, char out[DOMAIN_SIZE], struct span *result)
{
	char in[DOMAIN_SIZE], *ascii = NULL;
	bool ok;

	if (!domain_valid(s, true) || !span_cstr(s, in, sizeof(in)))
		return false;
	if (!utf8_has_8bit(s))
		return keep(in, out, result);
	if (idn2_to_ascii_8z(in, &ascii, IDN2_NONTRANSITIONAL | IDN2_NFC_INPUT) != IDN2_OK)
		return false;
	ok = keep(ascii, out, result);
	idn2_free(ascii);
	return ok;
}

bool
domain_within(struct span s, struct span parent)
{
	return span_caseeq(s, parent) ||
	    (s.n > parent.n && span_caseends(s, parent) && s.p[s.n - parent.n - 1] == '.');
}

bool
domain_literal(struct span s, struct domain_literal *out)
{
	char text[INET6_ADDRSTRLEN];
	struct span inner;

	if (s.n < 3 || s.p[0] != '[' || s.p[s.n - 1] != ']')
		return false;
	inner = span_sub(s, 1, s.n - 2);
	out->family = AF_INET;
	if (span_casestarts(inner, SPAN("IPv6:"))) {
		out->family = AF_INET6;
		inner = span_from(inner, 5);
	}
	return span_cstr(inner, text, sizeof(text)) && inet_pton(out->family, text, out->bytes) == 1;
}
