/* SPDX-License-Identifier: ISC
 *
 * DNS data as it comes: record data from the wire (dnsd), the hosts file, and
 * whole answers as remoted takes them.
 */
#include <stdlib.h>

#include "daemons/dnsd/hosts.h"
#include "daemons/dnsd/rdata.h"
#include "daemons/remoted/destination.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void
parse_records(struct span in, struct arena *arena)
{
	struct rdata r;

	for (int type = DNS_MX; type <= DNS_CNAME; type++)
		if (rdata_parse((enum dns_type)type, in, arena, &r)) {
			for (size_t i = 0; i < r.name.n; i++)
				if (!ascii_alnum(r.name.p[i]) && r.name.p[i] != '-' && r.name.p[i] != '_' && r.name.p[i] != '.')
					abort();
			if (r.name.n > 253 || r.data.n > RDATA_DATA)
				abort();
		}
}

/* Bytes as the script of a resolver: how many records, of what, with what result. */
static void
walk(struct span in, struct arena *arena)
{
	struct destination_rules rules = { .myself = SPAN("us"), .own_port = 25, .v4 = true, .v6 = true };
	struct destination d;
	enum destination_type type;
	struct span name, text = span_cut(&in, '\n');
	struct hop hop;
	unsigned slot;

	if (!hop_parse(text, 25, &hop, NULL))
		return;
	destination_start(&d, &hop, &rules, arena);
	while (destination_question(&d, &slot, &type, &name)) {
		struct span line = span_cut(&in, '\n');
		unsigned char result = line.n ? (unsigned char)line.p[0] : 2;

		line = span_from(line, 1);
		while (line.n) {
			struct span record = span_cut(&line, ' ');

			destination_mx(&d, slot, (uint16_t)record.n, record);
			destination_address(&d, slot, record);
		}
		destination_answer(&d, slot, (enum destination_result)(result % 5), result & 8, SPAN("why"));
	}
	if (d.state == DESTINATION_ASKING || (d.state == DESTINATION_READY && (d.ntargets == 0 || d.ntargets > DESTINATION_TARGETS_MAX)))
		abort();
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct span in = span_of(data, size);
	struct arena arena;
	struct hosts hosts;
	char reverse[RDATA_NAME];

	arena_init(&arena, 1 << 20);
	parse_records(in, &arena);
	walk(in, &arena);
	(void)rdata_reverse(in, reverse);
	hosts_init(&hosts, in);
	(void)hosts_addresses(&hosts, in);
	(void)hosts_name(&hosts, in);
	hosts_free(&hosts);
	arena_free(&arena);
	return 0;
}
