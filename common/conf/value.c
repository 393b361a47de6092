/* SPDX-License-Identifier: ISC */
#include "conf/value.h"

#include <arpa/inet.h>
#include <inttypes.h>
#include <limits.h>
#include <string.h>

#include "conf/site.h"

/* ---- quotes and lists ---- */

static bool
unquote_at(struct span *rest, struct buf *out)
{
	size_t i = 1;

	for (; i < rest->n && rest->p[i] != '"'; i++) {
		if (rest->p[i] == '\\' && i + 1 < rest->n)
			i++;
		buf_putc(out, rest->p[i]);
	}
	if (i >= rest->n)
		return false;
	*rest = span_from(*rest, i + 1);
	return true;
}

static bool
dup_text(struct arena *arena, struct span s, struct span *out, struct fail *why)
{
	char *copy = arena_cstr(arena, s);

	if (!copy)
		return fail_set(why, FAIL_LIMIT, 0, "no memory for the value");
	*out = span_of(copy, s.n);
	return true;
}

bool
conf_value_unquote(struct span raw, struct arena *arena, struct span *out, struct fail *why)
{
	struct buf b;
	bool ok;

	if (raw.n == 0 || raw.p[0] != '"')
		return dup_text(arena, raw, out, why);
	buf_init(&b, raw.n);
	if (!unquote_at(&raw, &b))
		ok = fail_set(why, FAIL_PERM, 0, "the quote is not closed");
	else if (raw.n > 0)
		ok = fail_set(why, FAIL_PERM, 0, "text behind the closing quote");
	else
		ok = dup_text(arena, buf_span(&b), out, why);
	buf_free(&b);
	return ok;
}

static bool
bare_char(char c)
{
	return ascii_print(c) && !strchr(" ,;{}\"\\#", c);
}

void
conf_value_quote(struct buf *out, struct span s)
{
	bool bare = s.n > 0;

	for (size_t i = 0; i < s.n; i++)
		bare = bare && bare_char(s.p[i]);
	if (bare) {
		buf_put(out, s);
		return;
	}
	buf_putc(out, '"');
	for (size_t i = 0; i < s.n; i++) {
		if (s.p[i] == '"' || s.p[i] == '\\')
			buf_putc(out, '\\');
		buf_putc(out, s.p[i]);
	}
	buf_putc(out, '"');
}

static bool
separates(char c)
{
	return ascii_blank(c) || c == ',';
}

bool
conf_value_item(struct span *rest, struct arena *arena, struct span *out, struct fail *why)
{
	struct buf b;
	size_t n = 0, depth = 0;
	bool ok;

	why->class = FAIL_NONE;
	while (rest->n > 0 && separates(rest->p[0]))
		*rest = span_from(*rest, 1);
	if (rest->n == 0)
		return false;
	if (rest->p[0] == '"') {
		buf_init(&b, rest->n);
		ok = unquote_at(rest, &b);
		if (ok && rest->n > 0 && !separates(rest->p[0]))
			ok = fail_set(why, FAIL_PERM, 0, "text behind the closing quote");
		else if (!ok)
			fail_set(why, FAIL_PERM, 0, "the quote is not closed");
		ok = ok && dup_text(arena, buf_span(&b), out, why);
		buf_free(&b);
		return ok;
	}
	for (; n < rest->n && (depth > 0 || !separates(rest->p[n])); n++) {
		if (rest->p[n] == '{')
			depth++;
		else if (rest->p[n] == '}' && depth > 0)
			depth--;
	}
	if (depth > 0)
		return fail_set(why, FAIL_PERM, 0, "the { is not closed");
	ok = dup_text(arena, span_sub(*rest, 0, n), out, why);
	*rest = span_from(*rest, n);
	return ok;
}

/* ---- numbers ---- */

static const struct unit {
	struct span text;
	uint64_t factor;
} times[] = {
	{ SPAN_INIT("ms"), 1 },
	{ SPAN_INIT("s"), 1000 },
	{ SPAN_INIT("m"), 60 * 1000 },
	{ SPAN_INIT("h"), 60 * 60 * 1000 },
	{ SPAN_INIT("d"), 24ULL * 60 * 60 * 1000 },
	{ SPAN_INIT("w"), 7 * 24ULL * 60 * 60 * 1000 },
	{ SPAN_INIT(""), 1000 },
}, sizes[] = {
	{ SPAN_INIT(""), 1 },
	{ SPAN_INIT("k"), 1024 },
	{ SPAN_INIT("m"), 1024 * 1024 },
	{ SPAN_INIT("g"), 1024ULL * 1024 * 1024 },
};

/* Takes one number with its unit off the front. */
static bool
take_unit(struct span *s, const struct unit *units, size_t nunits, uint64_t *out)
{
	size_t digits = 0, letters;
	uint64_t v;

	while (digits < s->n && ascii_digit(s->p[digits]))
		digits++;
	letters = digits;
	while (letters < s->n && ascii_alpha(s->p[letters]))
		letters++;
	if (!span_u64(span_sub(*s, 0, digits), UINT64_MAX / 2, &v))
		return false;
	for (size_t i = 0; i < nunits; i++) {
		if (!span_caseeq(span_sub(*s, digits, letters - digits), units[i].text))
			continue;
		if (v > (UINT64_MAX / 4) / units[i].factor)
			return false;
		*out = v * units[i].factor;
		*s = span_from(*s, letters);
		return true;
	}
	return false;
}

bool
conf_value_duration(struct span s, int64_t *ms)
{
	uint64_t part, sum = 0;

	do {
		if (!take_unit(&s, times, sizeof(times) / sizeof(times[0]), &part) || sum > UINT64_MAX / 4)
			return false;
		sum += part;
	} while (s.n > 0);
	*ms = (int64_t)sum;
	return sum <= INT64_MAX;
}

bool
conf_value_size(struct span s, uint64_t *bytes)
{
	return take_unit(&s, sizes, sizeof(sizes) / sizeof(sizes[0]), bytes) && s.n == 0;
}

static void
duration_text(uint64_t ms, char *out, size_t cap)
{
	struct buf b;
	size_t best = 0;

	/* the largest unit that leaves no rest */
	for (size_t i = 0; i + 1 < sizeof(times) / sizeof(times[0]); i++)
		if (ms % times[i].factor == 0 && ms > 0)
			best = i;
	buf_init(&b, cap - 1);
	buf_put_u64(&b, ms / times[best].factor);
	buf_put(&b, ms ? times[best].text : SPAN(""));
	(void)span_cstr(buf_span(&b), out, cap);
	buf_free(&b);
}

static bool
in_range(const struct conf_option *row, uint64_t v, struct fail *why)
{
	char lo[32], hi[32];

	if (v >= row->min && v <= row->max)
		return true;
	if (row->kind == CONF_KIND_DURATION) {
		duration_text(row->min, lo, sizeof(lo));
		duration_text(row->max, hi, sizeof(hi));
		return fail_set(why, FAIL_PERM, 0, "must be from %s to %s", lo, hi);
	}
	return fail_set(why, FAIL_PERM, 0, "must be from %" PRIu64 " to %" PRIu64, row->min, row->max);
}

static bool
set_number(const struct conf_option *row, struct span s, void *field, struct fail *why)
{
	uint64_t v = 0;
	int64_t ms = 0;
	bool ok;

	if (row->kind == CONF_KIND_DURATION) {
		ok = conf_value_duration(s, &ms);
		v = (uint64_t)ms;
	} else if (row->kind == CONF_KIND_SIZE) {
		ok = conf_value_size(s, &v);
	} else {
		ok = span_u64(s, UINT64_MAX, &v);
	}
	if (!ok)
		return fail_set(why, FAIL_PERM, 0, "\"%.*s\" is not a %s", SPAN_ARG(s), conf_kind_name(row->kind));
	if (!in_range(row, v, why))
		return false;
	if (row->kind == CONF_KIND_DURATION)
		memcpy(field, &ms, sizeof(ms));
	else
		memcpy(field, &v, sizeof(v));
	return true;
}

static bool
set_bool(struct span s, bool *field, struct fail *why)
{
	*field = span_caseeq(s, SPAN("yes"));
	if (*field || span_caseeq(s, SPAN("no")))
		return true;
	return fail_set(why, FAIL_PERM, 0, "\"%.*s\" is neither yes nor no", SPAN_ARG(s));
}

/* One of the words from first to last. */
static bool
set_word(uint64_t first, uint64_t last, struct span s, enum conf_word *field, struct fail *why)
{
	struct buf known;

	for (uint64_t w = first; w <= last; w++) {
		if (span_caseeq(s, conf_word_text((enum conf_word)w))) {
			*field = (enum conf_word)w;
			return true;
		}
	}
	buf_init(&known, 200);
	for (uint64_t w = first; w <= last; w++) {
		buf_puts(&known, w == first ? "" : w == last ? " or " : ", ");
		buf_put(&known, conf_word_text((enum conf_word)w));
	}
	fail_set(why, FAIL_PERM, 0, "\"%.*s\" is not known here: must be %.*s", SPAN_ARG(s),
	    SPAN_ARG(buf_span(&known)));
	buf_free(&known);
	return false;
}

/* ---- texts ---- */

static bool
ip_ok(int family, struct span s)
{
	char text[INET6_ADDRSTRLEN];
	struct in6_addr addr;

	return span_cstr(s, text, sizeof(text)) && inet_pton(family, text, &addr) == 1;
}

/* IPv6 with brackets or without. */
static bool
interface_ok(struct span s, struct fail *why)
{
	bool bare = s.n < 3 || s.p[0] != '[' || s.p[s.n - 1] != ']';

	if (span_eq(s, SPAN("all")) || span_eq(s, SPAN("loopback-only")) || ip_ok(AF_INET, s) || ip_ok(AF_INET6, bare ? s : span_sub(s, 1, s.n - 2)))
		return true;
	return fail_set(why, FAIL_PERM, 0, "\"%.*s\" is neither all, loopback-only nor an address", SPAN_ARG(s));
}

static bool
server_ok(struct span s, struct fail *why)
{
	size_t at = span_chr(s, '@');
	struct span addr = span_sub(s, 0, at);
	size_t zone = span_chr(addr, '%'); /* of a link-local one: fe80::53%eth0 */
	uint64_t port = 53;

	if ((at == SIZE_MAX || (span_u64(span_from(s, at + 1), 65535, &port) && port)) && (ip_ok(AF_INET, addr) || ip_ok(AF_INET6, span_sub(addr, 0, zone))))
		return true;
	return fail_set(why, FAIL_PERM, 0, "\"%.*s\" is not the address of a name server, such as 192.0.2.53, 192.0.2.53@5353 or 2001:db8::53", SPAN_ARG(s));
}

/* At most one step up, to begin with. */
static bool
nearby_ok(struct span s, struct fail *why)
{
	return span_is_below(span_from(s, span_starts(s, SPAN("../")) ? 3 : 0), UINT_MAX) ||
	       fail_set(why, FAIL_PERM, 0, "\"%.*s\" is not a path from a mailbox directory, such as .forward or ../.forward", SPAN_ARG(s));
}

static bool
host_ok(struct span s)
{
	size_t label = 0;

	if (s.n == 0 || s.n > 255)
		return false;
	if (s.p[0] == '[') /* an address literal */
		return s.n > 2 && s.p[s.n - 1] == ']';
	for (size_t i = 0; i < s.n; i++) {
		unsigned char c = (unsigned char)s.p[i];

		if (c == '.') {
			if (label == 0)
				return false;
			label = 0;
		} else if (ascii_alnum((char)c) || c == '-' || c == '_' || c >= 0x80) {
			if (++label > 63)
				return false;
		} else {
			return false;
		}
	}
	return label > 0;
}

static bool
set_text(const struct conf_option *row, struct span s, struct span *field, struct fail *why)
{
	if (s.n < row->min || s.n > row->max) {
		if (s.n == 0)
			return fail_set(why, FAIL_PERM, 0, "must not be empty");
		return fail_set(why, FAIL_PERM, 0, "must have %" PRIu64 " to %" PRIu64 " bytes", row->min, row->max);
	}
	if (row->kind == CONF_KIND_HOST && !host_ok(s))
		return fail_set(why, FAIL_PERM, 0, "\"%.*s\" is not a host name", SPAN_ARG(s));
	if (row->kind == CONF_KIND_PATH && s.n > 0 && s.p[0] != '/')
		return fail_set(why, FAIL_PERM, 0, "\"%.*s\" must be a whole path, from /", SPAN_ARG(s));
	if (row->kind == CONF_KIND_IPV4 && s.n > 0 && !ip_ok(AF_INET, s))
		return fail_set(why, FAIL_PERM, 0, "\"%.*s\" is not an IPv4 address, such as 192.0.2.1", SPAN_ARG(s));
	if (row->kind == CONF_KIND_IPV6 && s.n > 0 && !ip_ok(AF_INET6, s))
		return fail_set(why, FAIL_PERM, 0, "\"%.*s\" is not an IPv6 address, such as 2001:db8::1", SPAN_ARG(s));
	if (row->kind == CONF_KIND_NEXTHOP && span_chr(s, '[') == 0 && span_chr(s, ']') == SIZE_MAX)
		return fail_set(why, FAIL_PERM, 0, "\"%.*s\" has no closing ]", SPAN_ARG(s));
	*field = s;
	return true;
}

static const struct span table_types[] = { SPAN_INIT("db"), SPAN_INIT("hash"), SPAN_INIT("btree"), SPAN_INIT("file"),
    SPAN_INIT("texthash"),
	SPAN_INIT("pcre"), SPAN_INIT("cidr"), SPAN_INIT("inline"), SPAN_INIT("static") };

static bool
table_ok(struct span s, struct fail *why)
{
	size_t colon = span_chr(s, ':');

	for (size_t i = 0; i < sizeof(table_types) / sizeof(table_types[0]); i++)
		if (colon != SIZE_MAX && colon + 1 < s.n && span_eq(span_sub(s, 0, colon), table_types[i]))
			return true;
	if (colon == SIZE_MAX)
		return fail_set(why, FAIL_PERM, 0, "\"%.*s\" is not a table: tables are written type:name",
		    SPAN_ARG(s));
	return fail_set(why, FAIL_PERM, 0,
	    "\"%.*s\" is no type of table: there are db, hash, btree, file, pcre, cidr, inline, static",
	    SPAN_ARG(span_sub(s, 0, colon)));
}

static bool
domain_ok(struct span s, struct fail *why)
{
	struct span host = s.n > 1 && s.p[0] == '.' ? span_from(s, 1) : s;

	if (host_ok(host))
		return true;
	if (span_chr(s, ':') != SIZE_MAX)
		return table_ok(s, why);
	return fail_set(why, FAIL_PERM, 0, "\"%.*s\" is neither a domain nor a table", SPAN_ARG(s));
}

/* inet:127.0.0.1:11332, inet:filter.example.org:8891, unix:/run/opendkim.sock, local:/run/... */
static bool
filter_ok(struct span s, struct fail *why)
{
	struct span rest = s, kind = span_cut(&rest, ':');
	bool unix_socket = span_eq(kind, SPAN("unix")) || span_eq(kind, SPAN("local"));
	struct conf_addr addr;
	struct fail other;
	uint64_t port;

	if (unix_socket && rest.n && rest.p[0] == '/')
		return conf_value_addr(rest, &addr, why);
	if (span_eq(kind, SPAN("inet"))) {
		size_t colon = span_rchr(rest, ':');
		struct span host = span_sub(rest, 0, colon);

		if (colon != SIZE_MAX && colon && !ascii_digit(host.p[host.n - 1]) && host.p[0] != '[' && host_ok(host) && span_u64(span_from(rest, colon + 1), 65535, &port) && port)
			return true;
		if (conf_value_addr(rest, &addr, &other) && !addr.any)
			return true;
	}
	return fail_set(why, FAIL_PERM, 0, "\"%.*s\" is not a filter's socket: inet:HOST:PORT or unix:/PATH", SPAN_ARG(s));
}

/* ---- lists ---- */

static bool
item_ok(const struct conf_option *row, struct span item, struct conf_net *net, struct fail *why)
{
	struct conf_site site;
	enum conf_word word;

	switch (row->kind) {
	case CONF_KIND_TABLES:
		return table_ok(item, why);
	case CONF_KIND_DOMAINS:
		return domain_ok(item, why);
	case CONF_KIND_SITES:
		return conf_site_parse(item, &site, why);
	case CONF_KIND_FILTERS:
		return filter_ok(item, why);
	case CONF_KIND_MECHANISMS:
		/* What remoted can do as a client is less than what clients may do with us. */
		return set_word(row->see & CONF_REMOTED ? CONF_SASL_SCRAM_SHA_256_PLUS : CONF_SASL_EXTERNAL, CONF_SASL_LOGIN, item, &word, why);
	case CONF_KIND_SERVERS:
		return server_ok(item, why);
	case CONF_KIND_INTERFACES:
		return interface_ok(item, why);
	case CONF_KIND_NEARBY:
		return nearby_ok(item, why);
	case CONF_KIND_NETS:
		return conf_value_net(item, net) || fail_set(why, FAIL_PERM, 0,
		    "\"%.*s\" is not a network such as 192.0.2.0/24 or [2001:db8::]/32", SPAN_ARG(item));
	default:
		return true;
	}
}

static bool
count_items(const struct conf_option *row, struct span raw, struct arena *arena, size_t *n, struct fail *why)
{
	struct span item;

	for (*n = 0; conf_value_item(&raw, arena, &item, why); ++*n)
		if (*n >= row->max)
			return fail_set(why, FAIL_LIMIT, 0, "more than %" PRIu64 " items", row->max);
	if (why->class != FAIL_NONE)
		return false;
	return *n >= row->min || fail_set(why, FAIL_PERM, 0, "must have %" PRIu64 " items or more", row->min);
}

static bool
set_list(const struct conf_option *row, struct span raw, void *field, struct arena *arena, struct buf *normal,
    struct fail *why)
{
	size_t n;
	struct span *items;
	struct conf_net *nets;

	if (!count_items(row, raw, arena, &n, why))
		return false;
	items = arena_alloc(arena, n * sizeof(*items) + 1);
	nets = arena_alloc(arena, (row->kind == CONF_KIND_NETS ? n * sizeof(*nets) : 0) + 1);
	if (!items || !nets)
		return fail_set(why, FAIL_LIMIT, 0, "no memory for the list");
	for (size_t i = 0; i < n; i++) {
		if (!conf_value_item(&raw, arena, &items[i], why))
			return false;
		if (!item_ok(row, items[i], row->kind == CONF_KIND_NETS ? &nets[i] : nets, why))
			return false;
		buf_puts(normal, i ? ", " : "");
		conf_value_quote(normal, items[i]);
	}
	if (row->kind == CONF_KIND_NETS)
		*(struct conf_nets *)field = (struct conf_nets){ nets, n };
	else
		*(struct conf_list *)field = (struct conf_list){ items, n };
	return true;
}

bool
conf_value_set(const struct conf_option *row, struct span raw, void *base, struct arena *arena, struct span *text,
    struct fail *why)
{
	void *field = (char *)base + row->offset;
	struct buf normal;
	bool ok;

	buf_init(&normal, CONF_FILE_MAX);
	*text = SPAN("");
	switch (row->kind) {
	case CONF_KIND_LIST:
	case CONF_KIND_DOMAINS:
	case CONF_KIND_TABLES:
	case CONF_KIND_FILTERS:
	case CONF_KIND_MECHANISMS:
	case CONF_KIND_SITES:
	case CONF_KIND_SERVERS:
	case CONF_KIND_INTERFACES:
	case CONF_KIND_NEARBY:
	case CONF_KIND_NETS:
		ok = set_list(row, raw, field, arena, &normal, why) && dup_text(arena, buf_span(&normal), text, why);
		buf_free(&normal);
		return ok;
	default:
		break;
	}
	if (!conf_value_unquote(raw, arena, text, why))
		return false;
	switch (row->kind) {
	case CONF_KIND_BOOL:
		return set_bool(*text, field, why);
	case CONF_KIND_WORD:
		return set_word(row->min, row->max, *text, field, why);
	case CONF_KIND_NUMBER:
	case CONF_KIND_SIZE:
	case CONF_KIND_DURATION:
		return set_number(row, *text, field, why);
	case CONF_KIND_ADDR:
		return conf_value_addr(*text, field, why);
	default:
		return set_text(row, *text, field, why);
	}
}
