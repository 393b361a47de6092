/* SPDX-License-Identifier: ISC
 *
 * What parses prints, and what was printed parses to the same.
 */
#include "net/cidr.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct span text = span_of(data, size), host;
	char out[NETADDR_TEXT];
	struct netaddr a, b;
	struct cidr_list l;
	struct arena mem;
	struct fail why;
	uint16_t port = 0;

	if (netaddr_parse(text, 25, &a)) {
		struct span s = netaddr_text(&a, out);

		if (!netaddr_parse(s, 25, &b) || !netaddr_eq(&a, &b))
			__builtin_trap();
	}
	if (hostport_split(text, &host, &port, NULL) && (host.n == 0 || host.n > text.n))
		__builtin_trap();
	if (netaddr_unix(text, &a))
		(void)netaddr_text_port(&a, out);
	if (netaddr_of(data, size, &a)) {
		(void)netaddr_text_port(&a, out);
		(void)netaddr_loopback(&a);
	}
	arena_init(&mem, 1 << 20);
	if (cidr_list_parse(text, &mem, &l, &why) && netaddr_parse(SPAN("192.0.2.1"), 0, &a))
		(void)cidr_list_match(&l, &a);
	arena_free(&mem);
	return 0;
}
