/* SPDX-License-Identifier: ISC */
#include "greylist.h"

#include "base/buf.h"
#include "net/netaddr.h"

enum {
	KEY_MAX = 1000,
	VERSION = 1,
};

struct entry {
	uint64_t first, last; /* Unix seconds */
	uint32_t passed;
};

/* ---- keys and values ---- */

static bool
put_network(struct buf *key, struct span client_addr)
{
	struct netaddr a;
	uint8_t b[16];

	if (!netaddr_parse(client_addr, 0, &a) || !netaddr_bytes(&a, b))
		return false;
	if (b[10] == 0xff && b[11] == 0xff && !b[0] && !b[1])
		buf_printf(key, "%u.%u.%u", b[12], b[13], b[14]);
	else
		for (size_t i = 0; i < 8; i++)
			buf_printf(key, "%02x", b[i]);
	return true;
}

static void
put_lower(struct buf *key, struct span s)
{
	buf_putc(key, '\0');
	for (size_t i = 0; i < s.n; i++)
		buf_putc(key, ascii_lower(s.p[i]));
}

static uint64_t
number(const char *p, size_t bytes)
{
	uint64_t v = 0;

	while (bytes--)
		v = v << 8 | (unsigned char)p[bytes];
	return v;
}

static bool
decode(struct span value, struct entry *e)
{
	if (value.n != 21 || value.p[0] != VERSION)
		return false;
	*e = (struct entry){ number(value.p + 1, 8), number(value.p + 9, 8), (uint32_t)number(value.p + 17, 4) };
	return true;
}

static void
encode(const struct entry *e, char out[21])
{
	out[0] = VERSION;
	for (size_t i = 0; i < 8; i++) {
		out[1 + i] = (char)(e->first >> (8 * i));
		out[9 + i] = (char)(e->last >> (8 * i));
	}
	for (size_t i = 0; i < 4; i++)
		out[17 + i] = (char)(e->passed >> (8 * i));
}

/* ---- the database ---- */

static bool
get(struct greylist *g, struct span key, struct entry *e, bool *found, struct fail *why)
{
	struct arena mem;
	struct span value;
	enum bdb_found f;

	arena_init(&mem, 4096);
	f = memo_get(&g->memo, key, &mem, &value, why);
	*found = f == BDB_FOUND && decode(value, e);
	arena_free(&mem);
	return f != BDB_FAILED;
}

static bool
put(struct greylist *g, struct span key, const struct entry *e, struct fail *why)
{
	char value[21];

	encode(e, value);
	return memo_put(&g->memo, key, span_of(value, sizeof(value)), false, why);
}

static uint64_t
seconds(int64_t ms)
{
	return (uint64_t)(ms / 1000);
}

static bool
outdated(const struct greylist *g, const struct entry *e, uint64_t now_s)
{
	return e->last + seconds(e->passed ? g->conf->smtpd_greylist_lifetime : g->conf->smtpd_greylist_retry_window) < now_s;
}

static bool
value_outdated(const struct memo *m, struct span value, uint64_t now_s)
{
	struct entry e;

	return !decode(value, &e) || outdated(OWNER_OF(m, const struct greylist, memo), &e, now_s);
}

void
greylist_init(struct greylist *g, struct loop *loop, const struct conf *conf)
{
	*g = (struct greylist){ .conf = conf };
	memo_init(&g->memo, loop, "greylist", value_outdated);
}

/* ---- the question ---- */

/* One more of the network came through. */
static bool
credit(struct greylist *g, struct span network, struct entry *n, bool known, uint64_t now, struct fail *why)
{
	if (!known)
		*n = (struct entry){ .first = now };
	n->last = now;
	n->passed++;
	return put(g, network, n, why);
}

static enum greylist_verdict
judge(struct greylist *g, struct span network, struct span triplet, uint64_t now, int64_t *waited_s, struct fail *why)
{
	uint64_t enough = g->conf->smtpd_greylist_auto_whitelist;
	struct entry n = { 0 }, t = { 0 };
	bool net_known, known, came_through;

	if (!get(g, network, &n, &net_known, why) || !get(g, triplet, &t, &known, why))
		return GREYLIST_UNABLE;
	net_known = net_known && !outdated(g, &n, now);
	known = known && !outdated(g, &t, now);
	if (enough && net_known && n.passed >= enough)
		return credit(g, network, &n, true, now, why) ? GREYLIST_NETWORK : GREYLIST_UNABLE;
	if (known && t.passed) {
		t.last = now;
		return put(g, triplet, &t, why) ? GREYLIST_KNOWN : GREYLIST_UNABLE;
	}
	came_through = known && t.first <= now && now - t.first >= seconds(g->conf->smtpd_greylist_delay);
	if (!known || t.first > now) /* new, or a clock that was set back */
		t = (struct entry){ .first = now, .last = now };
	if (!came_through)
		return known || put(g, triplet, &t, why) ? GREYLIST_WAIT : GREYLIST_UNABLE;
	*waited_s = (int64_t)(now - t.first);
	t.last = now;
	t.passed = 1;
	return put(g, triplet, &t, why) && credit(g, network, &n, net_known, now, why) ? GREYLIST_PASSED : GREYLIST_UNABLE;
}

enum greylist_verdict
greylist_check(struct greylist *g, struct span client_addr, struct span sender, struct span recipient, int64_t now_s,
    int64_t *waited_s, struct fail *why)
{
	enum greylist_verdict v = GREYLIST_UNABLE;
	struct buf network, triplet;

	*waited_s = 0;
	*why = (struct fail){ .text = "" };
	buf_init(&network, 64);
	buf_init(&triplet, KEY_MAX);
	buf_putc(&network, 'N');
	buf_putc(&triplet, 'T');
	if (memo_is_open(&g->memo) && put_network(&network, client_addr)) {
		(void)put_network(&triplet, client_addr);
		put_lower(&triplet, sender);
		put_lower(&triplet, recipient);
		if (buf_ok(&triplet))
			v = judge(g, buf_span(&network), buf_span(&triplet), (uint64_t)now_s, waited_s, why);
	}
	buf_free(&network);
	buf_free(&triplet);
	return v;
}
