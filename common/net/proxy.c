/* SPDX-License-Identifier: ISC */
#include "net/proxy.h"

#include <string.h>

enum {
	V1_MAX = 107, /* with CRLF */
	V2_HEAD = 16,
	V2_IPV4 = 12, V2_IPV6 = 36,
};

static const struct span v1 = SPAN_INIT("PROXY ");
static const char v2[12] = { '\r', '\n', '\r', '\n', '\0', '\r', '\n', 'Q', 'U', 'I', 'T', '\n' };

static size_t
take(struct proxy *p, struct span in, size_t wanted)
{
	size_t n = wanted < p->n ? 0 : wanted - p->n;

	if (n > in.n)
		n = in.n;
	memcpy(p->bytes + p->n, in.p, n);
	p->n += n;
	return n;
}

static bool
parse_v1(struct proxy *p)
{
	struct span rest = span_of(p->bytes, p->n - 2), family, source, target, ports[2];
	struct netaddr other;
	uint64_t port[2];

	(void)span_cut(&rest, ' ');
	family = span_cut(&rest, ' ');
	if (span_eq(family, SPAN("UNKNOWN")))
		return true;
	source = span_cut(&rest, ' ');
	target = span_cut(&rest, ' ');
	ports[0] = span_cut(&rest, ' ');
	ports[1] = rest;
	for (int i = 0; i < 2; i++)
		if (!span_u64(ports[i], 65535, &port[i]))
			return false;
	if (!netaddr_parse(source, (uint16_t)port[0], &p->peer) || !netaddr_parse(target, (uint16_t)port[1], &other))
		return false;
	return netaddr_family(&p->peer) == netaddr_family(&other) &&
	       netaddr_family(&p->peer) == (span_eq(family, SPAN("TCP4")) ? AF_INET : span_eq(family, SPAN("TCP6")) ? AF_INET6 : AF_UNSPEC);
}

static enum proxy_step
next_v1(struct proxy *p, struct span in, size_t *use)
{
	size_t lf = span_chr(in, '\n');

	*use = take(p, in, p->n + (lf == SIZE_MAX ? in.n : lf + 1) < V1_MAX ? p->n + (lf == SIZE_MAX ? in.n : lf + 1) : V1_MAX);
	if (p->bytes[p->n - 1] == '\n')
		return p->bytes[p->n - 2] == '\r' && !memchr(p->bytes, '\0', p->n) && parse_v1(p) ? PROXY_DONE : PROXY_BAD;
	return p->n < V1_MAX ? PROXY_MORE : PROXY_BAD;
}

static unsigned
be16(const char *at)
{
	return (unsigned)(unsigned char)at[0] << 8 | (unsigned char)at[1];
}

static bool
parse_v2(struct proxy *p)
{
	unsigned command = (unsigned char)p->bytes[12], family = (unsigned char)p->bytes[13];
	size_t n = p->n - V2_HEAD;
	const char *at = p->bytes + V2_HEAD;
	struct sockaddr_in in4 = { .sin_family = AF_INET };
	struct sockaddr_in6 in6 = { .sin6_family = AF_INET6 };

	if (command == 0x20) /* LOCAL: the balancer itself */
		return true;
	if (command != 0x21)
		return false;
	if (family == 0x11 && n >= V2_IPV4) {
		memcpy(&in4.sin_addr, at, 4);
		memcpy(&in4.sin_port, at + 8, 2);
		return netaddr_of(&in4, sizeof(in4), &p->peer);
	}
	if (family == 0x21 && n >= V2_IPV6) {
		memcpy(&in6.sin6_addr, at, 16);
		memcpy(&in6.sin6_port, at + 32, 2);
		return netaddr_of(&in6, sizeof(in6), &p->peer);
	}
	return family == 0; /* UNSPEC: as if it were LOCAL; other kinds carry no mail */
}

static enum proxy_step
next_v2(struct proxy *p, struct span in, size_t *use)
{
	size_t whole = V2_HEAD;

	*use = take(p, in, V2_HEAD);
	if (p->n < V2_HEAD)
		return PROXY_MORE;
	whole += be16(p->bytes + 14);
	if (whole > PROXY_MAX)
		return PROXY_BAD;
	*use += take(p, span_from(in, *use), whole);
	if (p->n < whole)
		return PROXY_MORE;
	return parse_v2(p) ? PROXY_DONE : PROXY_BAD;
}

enum proxy_step
proxy_next(struct proxy *p, struct span in, size_t *use)
{
	enum proxy_step step;
	size_t first = take(p, in, v1.n), more = 0;

	*use = first;
	in = span_from(in, first);
	if (p->n < v1.n)
		return memcmp(p->bytes, v1.p, p->n) == 0 || memcmp(p->bytes, v2, p->n) == 0 ? PROXY_MORE : PROXY_BAD;
	if (memcmp(p->bytes, v1.p, v1.n) == 0) {
		step = in.n ? next_v1(p, in, &more) : PROXY_MORE;
	} else {
		*use += take(p, in, sizeof(v2));
		in = span_from(in, *use - first);
		if (memcmp(p->bytes, v2, p->n < sizeof(v2) ? p->n : sizeof(v2)) != 0)
			return PROXY_BAD;
		step = p->n < sizeof(v2) ? PROXY_MORE : next_v2(p, in, &more);
	}
	*use += more;
	return step;
}
