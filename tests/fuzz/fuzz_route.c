/* SPDX-License-Identifier: ISC
 *
 * A foreign recipient (first line) against tables whose texts are foreign too
 * (the other lines: aliases, virtual aliases, transports, the include file).
 */
#include <stdlib.h>

#include "daemons/routed/route.h"
#include "option.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static bool
include(void *arg, struct span path, struct arena *a, struct span *text, struct fail *why)
{
	(void)path;
	(void)why;
	*text = arena_dup(a, *(struct span *)arg);
	return true;
}

static void
run(struct rules *rules, enum route_mode mode, struct span address, struct span *list)
{
	struct route_question q = { mode, address, SPAN("s@far.example"), false, true };
	struct route_job_ops ops = { include, NULL, list };
	struct route_job *job = route_new(rules, &q, &ops);
	unsigned turn = 0;

	while (job && route_run(job) == ROUTE_ASK_USER) {
		struct route_user user = { .exists = turn++ % 3 == 1, .home = SPAN("h") };

		route_answer_user(job, &user);
	}
	if (job && !route_targets(job))
		abort();
	route_free(&job);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct conf_errors errors;
	struct span rest = span_of(data, size), address = span_cut(&rest, '\n'), list;
	const struct conf *conf;
	struct rules *rules;
	struct arena arena;
	struct buf text;
	struct fail why;

	arena_init(&arena, 16 << 20);
	buf_init(&text, 1 << 20);
	buf_puts(&text,
	    "myhostname = h.example\nmydestination = h.example\nvirtual_mailbox_domains = v.example\nrelay_domains = .r.example\n"
			"alias_expansion_limit = 100\nalias_recursion_limit = 10\nroute b.example { transport = lmtp; nexthop = unix:/x }\n");
	option(&text, "alias_maps", span_cut(&rest, '\n'));
	option(&text, "virtual_alias_maps", span_cut(&rest, '\n'));
	option(&text, "transport_maps", span_cut(&rest, '\n'));
	list = rest;
	conf = conf_parse(buf_span(&text), &arena, &errors);
	rules = conf ? rules_new(conf, NULL, NULL, NULL, &why) : NULL;
	if (rules) {
		run(rules, ROUTE_CHECK, address, &list);
		run(rules, ROUTE_RESOLVE, address, &list);
	}
	rules_free(&rules);
	buf_free(&text);
	arena_free(&arena);
	return 0;
}
