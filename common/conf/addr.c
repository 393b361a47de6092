/* SPDX-License-Identifier: ISC
 *
 * Addresses in the configuration: listeners and networks.
 */
#include <arpa/inet.h>
#include <netinet/in.h>
#include <string.h>

#include "base/ipnet.h"
#include "conf/value.h"

static void
map_ipv4(const void *four, uint8_t out[16])
{
	memset(out, 0, 16);
	out[10] = out[11] = 0xff;
	memcpy(out + 12, four, 4);
}

bool
conf_addr_bytes(const struct sockaddr *sa, uint8_t out[16])
{
	struct sockaddr_in in4;
	struct sockaddr_in6 in6;

	if (sa->sa_family == AF_INET) {
		memcpy(&in4, sa, sizeof(in4));
		map_ipv4(&in4.sin_addr, out);
		return true;
	}
	if (sa->sa_family == AF_INET6) {
		memcpy(&in6, sa, sizeof(in6));
		memcpy(out, &in6.sin6_addr, 16);
		return true;
	}
	return false;
}

static bool
address_bytes(struct span s, uint8_t out[16], bool *four)
{
	char text[64];
	struct in_addr in4;

	if (s.n > 1 && s.p[0] == '[' && s.p[s.n - 1] == ']')
		s = span_sub(s, 1, s.n - 2);
	if (!span_cstr(s, text, sizeof(text)))
		return false;
	*four = inet_pton(AF_INET, text, &in4) == 1;
	if (*four)
		map_ipv4(&in4, out);
	return *four || inet_pton(AF_INET6, text, out) == 1;
}

static bool
host_bits_clear(const struct conf_net *net)
{
	for (unsigned bit = net->bits; bit < 128; bit++)
		if (net->addr[bit / 8] & (0x80 >> (bit % 8)))
			return false;
	return true;
}

bool
conf_value_net(struct span s, struct conf_net *net)
{
	size_t slash;
	uint64_t bits;
	bool four;

	*net = (struct conf_net){ 0 };
	if (s.n > 0 && s.p[0] == '!') {
		net->negate = true;
		s = span_from(s, 1);
	}
	slash = span_rchr(s, '/');
	if (!address_bytes(span_sub(s, 0, slash), net->addr, &four))
		return false;
	bits = four ? 32 : 128;
	if (slash != SIZE_MAX && !span_u64(span_from(s, slash + 1), bits, &bits))
		return false;
	net->bits = (uint8_t)(four ? bits + 96 : bits);
	return host_bits_clear(net);
}

bool
conf_nets_match(const struct conf_nets *nets, const uint8_t addr[16])
{
	for (size_t i = 0; i < nets->n; i++)
		if (ipnet_has(nets->items[i].addr, nets->items[i].bits, addr))
			return !nets->items[i].negate;
	return false;
}

static bool
unix_addr(struct span path, struct conf_addr *addr, struct fail *why)
{
	if (path.n == 0 || path.p[0] != '/')
		return fail_set(why, FAIL_PERM, 0, "the path of a socket must be whole, from /");
	if (!span_cstr(path, addr->un.sun_path, sizeof(addr->un.sun_path)))
		return fail_set(why, FAIL_PERM, 0, "the path of a socket has at most %zu bytes",
		    sizeof(addr->un.sun_path) - 1);
	addr->un.sun_family = AF_UNIX;
	addr->len = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + path.n + 1);
	return true;
}

bool
conf_value_addr(struct span s, struct conf_addr *addr, struct fail *why)
{
	size_t colon = span_rchr(s, ':');
	struct sockaddr_in in4 = { .sin_family = AF_INET };
	struct sockaddr_in6 in6 = { .sin6_family = AF_INET6 };
	uint8_t bytes[16] = { 0 };
	uint64_t port;
	bool four = false;

	*addr = (struct conf_addr){ .text = s };
	if (span_starts(s, SPAN("unix:")))
		return unix_addr(span_from(s, 5), addr, why);
	if (span_starts(s, SPAN("/")))
		return unix_addr(s, addr, why);
	if (colon == SIZE_MAX || !span_u64(span_from(s, colon + 1), 65535, &port))
		return fail_set(why, FAIL_PERM, 0, "\"%.*s\" is not ADDRESS:PORT nor the path of a socket",
		    SPAN_ARG(s));
	addr->any = span_eq(span_sub(s, 0, colon), SPAN("*"));
	/* without brackets the end of an IPv6 address would pass for a port */
	if (!addr->any && (!address_bytes(span_sub(s, 0, colon), bytes, &four) || (!four && s.p[0] != '[')))
		return fail_set(why, FAIL_PERM, 0, "\"%.*s\" is not an IP address (IPv6 stands in [])",
		    SPAN_ARG(span_sub(s, 0, colon)));
	if (four) {
		in4.sin_port = htons((uint16_t)port);
		memcpy(&in4.sin_addr, bytes + 12, 4);
		memcpy(&addr->sa, &in4, sizeof(in4));
		addr->len = sizeof(in4);
	} else {
		in6.sin6_port = htons((uint16_t)port);
		memcpy(&in6.sin6_addr, bytes, 16);
		memcpy(&addr->sa, &in6, sizeof(in6));
		addr->len = sizeof(in6);
	}
	return true;
}

static in_port_t
port_of(const struct conf_addr *a)
{
	struct sockaddr_in in4;
	struct sockaddr_in6 in6;

	memcpy(&in4, &a->sa, sizeof(in4));
	memcpy(&in6, &a->sa, sizeof(in6));
	return a->sa.ss_family == AF_INET ? in4.sin_port : in6.sin6_port;
}

static bool
is_of(const struct conf_addr *a, sa_family_t family, enum conf_word inet)
{
	if (a->any)
		return inet == CONF_INET_ALL || inet == (family == AF_INET ? CONF_INET_IPV4 : CONF_INET_IPV6);
	return a->sa.ss_family == family;
}

/* "*", 0.0.0.0 or [::] */
static bool
is_wildcard(const uint8_t addr[16])
{
	static const uint8_t four[16] = { [10] = 0xff, [11] = 0xff }, six[16];

	return memcmp(addr, four, sizeof(four)) == 0 || memcmp(addr, six, sizeof(six)) == 0;
}

bool
conf_addr_clash(const struct conf_addr *a, const struct conf_addr *b, enum conf_word inet)
{
	uint8_t x[16], y[16];

	if (!a->len || !b->len)
		return false;
	if (a->sa.ss_family == AF_UNIX || b->sa.ss_family == AF_UNIX)
		return a->sa.ss_family == b->sa.ss_family && strcmp(a->un.sun_path, b->un.sun_path) == 0;
	if (port_of(a) != port_of(b) || port_of(a) == 0)
		return false;
	if (!(is_of(a, AF_INET, inet) && is_of(b, AF_INET, inet)) && !(is_of(a, AF_INET6, inet) && is_of(b, AF_INET6, inet)))
		return false;
	return conf_addr_bytes((const struct sockaddr *)&a->sa, x) && conf_addr_bytes((const struct sockaddr *)&b->sa, y) &&
	    (is_wildcard(x) || is_wildcard(y) || memcmp(x, y, sizeof(x)) == 0);
}
