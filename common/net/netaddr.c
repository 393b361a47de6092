/* SPDX-License-Identifier: ISC */
#include "net/netaddr.h"

#include <arpa/inet.h>
#include <string.h>

static const uint8_t mapped[12] = { 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff };

bool
netaddr_of(const void *sockaddr, size_t len, struct netaddr *out)
{
	sa_family_t family = AF_UNSPEC;
	size_t most = sizeof(out->u.un);

	*out = (struct netaddr){ 0 };
	if (len >= sizeof(family))
		memcpy(&family, sockaddr, sizeof(family));
	if ((family == AF_INET && len < sizeof(out->u.in4)) || (family == AF_INET6 && len < sizeof(out->u.in6)))
		return false;
	if (family == AF_INET)
		most = sizeof(out->u.in4);
	else if (family == AF_INET6)
		most = sizeof(out->u.in6);
	else if (family != AF_UNIX)
		return false;
	if (len > most)
		len = most;
	memcpy(&out->u, sockaddr, len);
	out->len = (socklen_t)len;
	return true;
}

bool
netaddr_parse(struct span text, uint16_t port, struct netaddr *out)
{
	char cstr[INET6_ADDRSTRLEN];

	*out = (struct netaddr){ 0 };
	if (!span_cstr(text, cstr, sizeof(cstr)))
		return false;
	if (inet_pton(AF_INET, cstr, &out->u.in4.sin_addr) == 1) {
		out->u.in4.sin_family = AF_INET;
		out->u.in4.sin_port = htons(port);
		out->len = sizeof(out->u.in4);
		return true;
	}
	if (inet_pton(AF_INET6, cstr, &out->u.in6.sin6_addr) == 1) {
		out->u.in6.sin6_family = AF_INET6;
		out->u.in6.sin6_port = htons(port);
		out->len = sizeof(out->u.in6);
		return true;
	}
	*out = (struct netaddr){ 0 };
	return false;
}

bool
netaddr_unix(struct span path, struct netaddr *out)
{
	*out = (struct netaddr){ 0 };
	if (path.n == 0 || !span_cstr(path, out->u.un.sun_path, sizeof(out->u.un.sun_path)))
		return false;
	out->u.un.sun_family = AF_UNIX;
	out->len = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + path.n + 1);
	return true;
}

static struct span
unix_path(const struct netaddr *a)
{
	size_t head = offsetof(struct sockaddr_un, sun_path);
	size_t n = a->len > head ? a->len - head : 0;

	return span_of(a->u.un.sun_path, strnlen(a->u.un.sun_path, n));
}

/* The address in text and whether it is IPv6; an IPv4-mapped one is not. */
static bool
ip_text(const struct netaddr *a, char text[INET6_ADDRSTRLEN])
{
	const uint8_t *bytes = a->u.in6.sin6_addr.s6_addr;

	text[0] = '\0';
	if (netaddr_family(a) == AF_INET) {
		(void)inet_ntop(AF_INET, &a->u.in4.sin_addr, text, INET6_ADDRSTRLEN);
		return false;
	}
	if (memcmp(bytes, mapped, sizeof(mapped)) == 0) {
		(void)inet_ntop(AF_INET, bytes + sizeof(mapped), text, INET6_ADDRSTRLEN);
		return false;
	}
	(void)inet_ntop(AF_INET6, bytes, text, INET6_ADDRSTRLEN);
	return true;
}

void
netaddr_put(struct buf *out, const struct netaddr *a)
{
	char text[INET6_ADDRSTRLEN];

	if (netaddr_family(a) == AF_INET || netaddr_family(a) == AF_INET6) {
		(void)ip_text(a, text);
		buf_puts(out, text);
	} else {
		buf_puts(out, netaddr_family(a) == AF_UNIX ? "local" : "unknown");
	}
}

void
netaddr_put_port(struct buf *out, const struct netaddr *a)
{
	char text[INET6_ADDRSTRLEN];

	if (netaddr_family(a) == AF_UNIX) {
		struct span path = unix_path(a);

		buf_puts(out, "unix:");
		for (size_t i = 0; i < path.n; i++)
			buf_putc(out, (unsigned char)path.p[i] < ' ' || path.p[i] == 0x7f ? '?' : path.p[i]);
		return;
	}
	if (netaddr_family(a) == AF_UNSPEC) {
		buf_puts(out, "unknown");
		return;
	}
	buf_printf(out, ip_text(a, text) ? "[%s]:%u" : "%s:%u", text, (unsigned)netaddr_port(a));
}

void
netaddr_put_literal(struct buf *out, const struct netaddr *a)
{
	char text[INET6_ADDRSTRLEN];

	if (netaddr_family(a) == AF_INET || netaddr_family(a) == AF_INET6)
		buf_printf(out, ip_text(a, text) ? "[IPv6:%s]" : "[%s]", text);
	else
		buf_puts(out, "localhost");
}

static struct span
into_array(const struct netaddr *a, char text[NETADDR_TEXT], void (*put)(struct buf *, const struct netaddr *))
{
	struct buf b;
	struct span s;

	buf_init(&b, NETADDR_TEXT - 1);
	put(&b, a);
	s = buf_span(&b);
	if (s.n)
		memcpy(text, s.p, s.n);
	text[s.n] = '\0';
	s.p = text;
	buf_free(&b);
	return s;
}

struct span
netaddr_text(const struct netaddr *a, char text[NETADDR_TEXT])
{
	return into_array(a, text, netaddr_put);
}

struct span
netaddr_text_port(const struct netaddr *a, char text[NETADDR_TEXT])
{
	return into_array(a, text, netaddr_put_port);
}

uint16_t
netaddr_port(const struct netaddr *a)
{
	if (netaddr_family(a) == AF_INET)
		return ntohs(a->u.in4.sin_port);
	return netaddr_family(a) == AF_INET6 ? ntohs(a->u.in6.sin6_port) : 0;
}

void
netaddr_set_port(struct netaddr *a, uint16_t port)
{
	if (netaddr_family(a) == AF_INET)
		a->u.in4.sin_port = htons(port);
	else if (netaddr_family(a) == AF_INET6)
		a->u.in6.sin6_port = htons(port);
}

bool
netaddr_bytes(const struct netaddr *a, uint8_t out[16])
{
	memset(out, 0, 16);
	if (netaddr_family(a) == AF_INET) {
		memcpy(out, mapped, sizeof(mapped));
		memcpy(out + sizeof(mapped), &a->u.in4.sin_addr, 4);
		return true;
	}
	if (netaddr_family(a) != AF_INET6)
		return false;
	memcpy(out, &a->u.in6.sin6_addr, 16);
	return true;
}

bool
netaddr_eq(const struct netaddr *a, const struct netaddr *b)
{
	uint8_t one[16], two[16];

	if (netaddr_family(a) == AF_UNIX && netaddr_family(b) == AF_UNIX)
		return span_eq(unix_path(a), unix_path(b));
	return netaddr_bytes(a, one) && netaddr_bytes(b, two) && memcmp(one, two, 16) == 0 && netaddr_port(a) == netaddr_port(b);
}

bool
netaddr_loopback(const struct netaddr *a)
{
	uint8_t bytes[16];

	if (netaddr_family(a) == AF_UNIX)
		return true;
	if (!netaddr_bytes(a, bytes))
		return false;
	if (memcmp(bytes, mapped, sizeof(mapped)) == 0)
		return bytes[12] == 127;
	return memcmp(bytes, &in6addr_loopback, 16) == 0;
}

bool
netaddr_mask(uint8_t bytes[16], unsigned bits)
{
	bool changed = false;

	for (unsigned i = 0; i < 16; i++) {
		unsigned keep = bits > i * 8 ? bits - i * 8 : 0;
		uint8_t byte = (uint8_t)(keep >= 8 ? bytes[i] : bytes[i] & (0xff00u >> keep));

		changed = changed || byte != bytes[i];
		bytes[i] = byte;
	}
	return changed;
}

void
netaddr_network(const struct netaddr *a, unsigned bits4, unsigned bits6, uint8_t out[16])
{
	if (netaddr_bytes(a, out))
		(void)netaddr_mask(out, memcmp(out, mapped, sizeof(mapped)) == 0 ? 96 + bits4 : bits6);
}

bool
hostport_split(struct span text, struct span *host, uint16_t *port, bool *bracketed)
{
	bool inside = text.n > 0 && text.p[0] == '[';
	struct span rest;
	size_t colon;
	uint64_t number;

	if (bracketed)
		*bracketed = inside;
	if (inside) {
		size_t end = span_chr(text, ']');

		if (end == SIZE_MAX)
			return false;
		*host = span_sub(text, 1, end - 1);
		rest = span_from(text, end + 1);
		if (rest.n && rest.p[0] != ':')
			return false;
		colon = rest.n ? 0 : SIZE_MAX;
	} else {
		rest = text;
		colon = span_chr(text, ':');
		if (colon != span_rchr(text, ':')) /* a bare IPv6 address */
			colon = SIZE_MAX;
		*host = span_sub(text, 0, colon);
	}
	if (host->n == 0 || span_chr(*host, ' ') != SIZE_MAX)
		return false;
	if (colon == SIZE_MAX)
		return true;
	if (!span_u64(span_from(rest, colon + 1), 65535, &number) || number == 0)
		return false;
	*port = (uint16_t)number;
	return true;
}
