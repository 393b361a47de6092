/* SPDX-License-Identifier: ISC */
#include "net/cidr.h"

#include "base/ipnet.h"

bool
cidr_parse(struct span text, struct cidr *out, struct fail *why)
{
	struct span rest = text;
	struct span host = span_cut(&rest, '/');
	bool given = rest.p != NULL;
	struct netaddr a;
	uint64_t bits, most;

	if (host.n >= 2 && host.p[0] == '[' && host.p[host.n - 1] == ']')
		host = span_sub(host, 1, host.n - 2);
	if (!netaddr_parse(host, 0, &a))
		return fail_set(why, FAIL_PERM, 0, "not a network: %.*s", SPAN_ARG(span_sub(text, 0, 64)));
	most = bits = netaddr_family(&a) == AF_INET ? 32 : 128;
	if (given && !span_u64(rest, most, &bits))
		return fail_set(why, FAIL_PERM, 0, "not a prefix length: %.*s", SPAN_ARG(span_sub(text, 0, 64)));
	(void)netaddr_bytes(&a, out->net);
	out->bits = (uint8_t)(bits + (most == 32 ? 96 : 0));
	if (netaddr_mask(out->net, out->bits))
		return fail_set(why, FAIL_PERM, 0, "host bits are set in network %.*s", SPAN_ARG(span_sub(text, 0, 64)));
	return true;
}

bool
cidr_match(const struct cidr *c, const struct netaddr *a)
{
	uint8_t bytes[16];

	return netaddr_bytes(a, bytes) && ipnet_has(c->net, c->bits, bytes);
}

static bool
is_separator(char c)
{
	return c == ' ' || c == '\t' || c == ',' || c == '\n' || c == '\r';
}

static struct span
next_entry(struct span *rest)
{
	size_t from = 0, to;

	while (from < rest->n && is_separator(rest->p[from]))
		from++;
	for (to = from; to < rest->n && !is_separator(rest->p[to]); to++)
		;
	*rest = (struct span){ rest->p + to, rest->n - to };
	return span_of(rest->p - (to - from), to - from);
}

bool
cidr_list_parse(struct span text, struct arena *mem, struct cidr_list *out, struct fail *why)
{
	struct span rest = text, word;
	size_t n = 0;

	*out = (struct cidr_list){ 0 };
	if (text.n == 0)
		return true;
	while (next_entry(&rest).n)
		n++;
	out->entries = arena_alloc(mem, (n ? n : 1) * sizeof(*out->entries));
	if (!out->entries)
		return fail_set(why, FAIL_LIMIT, 0, "too many networks");
	rest = text;
	while ((word = next_entry(&rest)).n) {
		struct cidr_entry *entry = &out->entries[out->count];

		entry->exclude = word.p[0] == '!';
		if (!cidr_parse(span_from(word, entry->exclude ? 1 : 0), &entry->cidr, why))
			return false;
		out->count++;
	}
	return true;
}

bool
cidr_list_match(const struct cidr_list *l, const struct netaddr *a)
{
	for (size_t i = 0; i < l->count; i++)
		if (cidr_match(&l->entries[i].cidr, a))
			return !l->entries[i].exclude;
	return false;
}
