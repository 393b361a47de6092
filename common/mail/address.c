/* SPDX-License-Identifier: ISC */
#include "mail/address.h"

#include <string.h>

#include "mail/charset.h"
#include "mail/limits.h"
#include "mail/status.h"

static bool
refuse(struct address *a, struct fail *why, const char *what)
{
	*a = (struct address){ .n = 0 };
	return fail_set(why, FAIL_PERM, STATUS_BAD_SYNTAX_RECIPIENT, "bad address: %s", what);
}

/* RFC 5322 3.2.3, with UTF-8 by RFC 6531 3.3. */
static bool
atom_byte(char c)
{
	return ascii_alnum(c) || ((unsigned char)c & 0x80) || (c && strchr("!#$%&'*+-/=?^_`{|}~", c));
}

/* RFC 5321 4.1.2: Dot-string */
static bool
dot_string(struct span s)
{
	if (s.n == 0 || s.p[0] == '.' || s.p[s.n - 1] == '.')
		return false;
	for (size_t i = 0; i < s.n; i++)
		if (!atom_byte(s.p[i]) && !(s.p[i] == '.' && s.p[i - 1] != '.'))
			return false;
	return true;
}

/* What may stand in a quoted local part at all (qtextSMTP and quoted-pairSMTP). */
static bool
quotable(struct span raw)
{
	for (size_t i = 0; i < raw.n; i++)
		if (!ascii_print(raw.p[i]) && !((unsigned char)raw.p[i] & 0x80))
			return false;
	return raw.n > 0;
}

/* Length of the local part at the front of s as written; its meaning goes to raw. 0: there is none. */
static size_t
scan_local(struct span s, char raw[ADDRESS_SIZE], size_t *raw_n)
{
	size_t n = 0, at = 1;

	*raw_n = 0;
	if (s.n == 0 || s.p[0] != '"') {
		while (n < s.n && n < ADDRESS_SIZE && (atom_byte(s.p[n]) || s.p[n] == '.'))
			n++;
		if (n == ADDRESS_SIZE || !dot_string(span_sub(s, 0, n)))
			return 0;
		memcpy(raw, s.p, n);
		*raw_n = n;
		return n;
	}
	for (; at < s.n && s.p[at] != '"'; at++) {
		if (s.p[at] == '\\' && (++at == s.n || !ascii_print(s.p[at])))
			return 0;
		if (*raw_n == ADDRESS_SIZE)
			return 0;
		raw[(*raw_n)++] = s.p[at];
	}
	if (at >= s.n || !quotable(span_of(raw, *raw_n)))
		return 0;
	return at + 1;
}

static bool
put(struct address *a, struct span s)
{
	if (s.n >= (size_t)(ADDRESS_SIZE - a->n))
		return false;
	memcpy(a->text + a->n, s.p, s.n);
	a->n = (uint16_t)(a->n + s.n);
	a->text[a->n] = '\0';
	return true;
}

/* The canonical local part: quoted only where it must be, and then only '"' and '\\' escaped. */
static bool
put_local(struct address *a, struct span raw)
{
	bool ok;

	if (dot_string(raw)) {
		ok = put(a, raw);
	} else {
		ok = put(a, SPAN("\""));
		for (size_t i = 0; i < raw.n && ok; i++) {
			if (raw.p[i] == '"' || raw.p[i] == '\\')
				ok = put(a, SPAN("\\"));
			ok = ok && put(a, span_sub(raw, i, 1));
		}
		ok = ok && put(a, SPAN("\""));
	}
	a->local_n = a->n;
	a->utf8 = utf8_has_8bit(raw);
	return ok;
}

static bool
put_domain(struct address *a, struct span domain, unsigned flags)
{
	char canonical[DOMAIN_SIZE];
	struct domain_literal literal;
	struct span s = domain;

	a->has_domain = true;
	if (!put(a, SPAN("@")))
		return false;
	if (domain.n && domain.p[0] == '[') {
		a->literal = true;
		if (domain.n >= sizeof(canonical) || !domain_literal(domain, &literal))
			return false;
		for (size_t i = 0; i < domain.n; i++)
			canonical[i] = ascii_lower(domain.p[i]);
		s = span_of(canonical, domain.n);
		return put(a, s);
	}
	return domain_valid(domain, (flags & ADDRESS_UTF8) != 0) && domain_to_ascii(domain, canonical, &s) && put(a, s);
}

/* From a proven local part and a domain that still is to be proven; has_domain false for none. */
static bool
compose(struct address *a, struct span raw, bool has_domain, struct span domain, unsigned flags, struct fail *why)
{
	*a = (struct address){ .n = 0 };
	if (utf8_has_8bit(raw) && (!(flags & ADDRESS_UTF8) || !utf8_valid(raw)))
		return refuse(a, why, "local part beyond ASCII");
	if (!put_local(a, raw) || (!(flags & ADDRESS_LONG_LOCAL) && a->local_n > LIMIT_LOCAL_PART))
		return refuse(a, why, "local part too long");
	if (!has_domain) {
		if (flags & ADDRESS_NO_DOMAIN || (flags & ADDRESS_POSTMASTER && span_caseeq(raw, SPAN("postmaster"))))
			return true;
		return refuse(a, why, "domain missing");
	}
	if (!put_domain(a, domain, flags))
		return refuse(a, why, "domain not valid");
	if (a->n > LIMIT_PATH - 2)
		return refuse(a, why, "too long");
	return true;
}

/* The mailbox at the front of s: local part, @, all bytes of a domain. */
static bool
scan_mailbox(struct address *a, struct span s, unsigned flags, size_t *used, struct fail *why)
{
	char raw[ADDRESS_SIZE];
	size_t raw_n, n = scan_local(s, raw, &raw_n), from;

	if (n == 0)
		return refuse(a, why, "local part not valid");
	if (n > LIMIT_LOCAL_PART && !(flags & ADDRESS_LONG_LOCAL))
		return refuse(a, why, "local part too long");
	if (n == s.n || s.p[n] != '@') {
		*used = n;
		return compose(a, span_of(raw, raw_n), false, SPAN_NONE, flags, why);
	}
	from = ++n;
	while (n < s.n && n - from <= LIMIT_DOMAIN && s.p[n] != '>' && (unsigned char)s.p[n] > ' ')
		n++;
	*used = n;
	return compose(a, span_of(raw, raw_n), true, span_sub(s, from, n - from), flags, why);
}

bool
address_parse(struct address *a, struct span s, unsigned flags, struct fail *why)
{
	size_t used;

	*a = (struct address){ .n = 0 };
	if (s.n == 0)
		return flags & ADDRESS_NULL ? true : refuse(a, why, "empty");
	if (!scan_mailbox(a, s, flags, &used, why))
		return false;
	return used == s.n ? true : refuse(a, why, "something behind it");
}

/* RFC 5321 4.1.2: A-d-l ":", accepted and ignored (RFC 5321 F.2). SIZE_MAX: malformed. */
static size_t
scan_route(struct span s)
{
	size_t end;
	struct span rest;

	if (s.n == 0 || s.p[0] != '@')
		return 0;
	end = span_chr(span_sub(s, 0, LIMIT_SOURCE_ROUTE), ':');
	if (end == SIZE_MAX)
		return SIZE_MAX;
	rest = span_sub(s, 0, end);
	do {
		struct span hop = span_cut(&rest, ',');

		if (hop.n < 2 || hop.p[0] != '@' || !domain_valid(span_from(hop, 1), true))
			return SIZE_MAX;
	} while (rest.p);
	return end + 1;
}

bool
address_parse_path(struct address *a, struct span s, unsigned flags, size_t *used, struct fail *why)
{
	size_t n = 1, route;

	*used = 0;
	if (s.n < 2 || s.p[0] != '<')
		return refuse(a, why, "no angle bracket");
	if (s.p[1] == '>') {
		*used = 2;
		*a = (struct address){ .n = 0 };
		return flags & ADDRESS_NULL ? true : refuse(a, why, "empty");
	}
	route = scan_route(span_from(s, n));
	if (route == SIZE_MAX)
		return refuse(a, why, "source route not valid");
	n += route;
	if (!scan_mailbox(a, span_from(s, n), flags, used, why))
		return false;
	n += *used;
	if (n >= s.n || s.p[n] != '>')
		return refuse(a, why, "no closing angle bracket");
	*used = n + 1;
	return true;
}

bool
address_make(struct address *a, struct span local_raw, struct span domain, unsigned flags, struct fail *why)
{
	if (!quotable(local_raw))
		return refuse(a, why, "local part not valid");
	return compose(a, local_raw, domain.n > 0, domain, flags, why);
}

struct span
address_local_raw(const struct address *a, char out[ADDRESS_SIZE])
{
	size_t n;

	if (a->n == 0)
		return SPAN_NONE;
	(void)scan_local(address_local(a), out, &n);
	return span_of(out, n);
}

bool
address_subaddress(struct span raw, struct span delimiters, struct span *user, struct span *detail)
{
	*user = raw;
	*detail = SPAN_NONE;
	for (size_t i = 1; i + 1 < raw.n; i++) {
		if (span_chr(delimiters, raw.p[i]) == SIZE_MAX)
			continue;
		*user = span_sub(raw, 0, i);
		*detail = span_from(raw, i + 1);
		return true;
	}
	return false;
}

void
xtext_encode(struct buf *out, struct span raw)
{
	for (size_t i = 0; i < raw.n; i++) {
		unsigned char c = (unsigned char)raw.p[i];

		if (c < '!' || c > '~' || c == '+' || c == '=')
			buf_printf(out, "+%02X", c);
		else
			buf_putc(out, (char)c);
	}
}

static int
upper_hex(char c)
{
	return ascii_digit(c) ? c - '0' : c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

bool
xtext_decode(struct buf *out, struct span text)
{
	for (size_t i = 0; i < text.n; i++) {
		int high, low;

		if (text.p[i] < '!' || text.p[i] > '~' || text.p[i] == '=')
			return false;
		if (text.p[i] != '+') {
			buf_putc(out, text.p[i]);
			continue;
		}
		high = i + 2 < text.n ? upper_hex(text.p[i + 1]) : -1;
		low = i + 2 < text.n ? upper_hex(text.p[i + 2]) : -1;
		if (high < 0 || low < 0)
			return false;
		buf_putc(out, (char)(high << 4 | low));
		i += 2;
	}
	return buf_ok(out);
}
