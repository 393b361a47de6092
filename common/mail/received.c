/* SPDX-License-Identifier: ISC */
#include "mail/received.h"

#include <arpa/inet.h>
#include <string.h>
#include <sys/socket.h>

#include "mail/header.h"
#include "mail/limits.h"

struct span
received_protocol(bool lmtp, bool extended, bool tls, bool auth, bool utf8)
{
	/* tls, auth */
	static const struct span smtp[2][2] = { { SPAN_INIT("ESMTP"), SPAN_INIT("ESMTPA") },
						{ SPAN_INIT("ESMTPS"), SPAN_INIT("ESMTPSA") } };
	static const struct span lmtps[2][2] = { { SPAN_INIT("LMTP"), SPAN_INIT("LMTPA") },
						 { SPAN_INIT("LMTPS"), SPAN_INIT("LMTPSA") } };
	static const struct span utf8smtp[2][2] = { { SPAN_INIT("UTF8SMTP"), SPAN_INIT("UTF8SMTPA") },
		{ SPAN_INIT("UTF8SMTPS"), SPAN_INIT("UTF8SMTPSA") } };
	static const struct span utf8lmtp[2][2] = { { SPAN_INIT("UTF8LMTP"), SPAN_INIT("UTF8LMTPA") },
		{ SPAN_INIT("UTF8LMTPS"), SPAN_INIT("UTF8LMTPSA") } };

	if (lmtp)
		return utf8 ? utf8lmtp[tls][auth] : lmtps[tls][auth];
	if (!extended)
		return SPAN("SMTP");
	return utf8 ? utf8smtp[tls][auth] : smtp[tls][auth];
}

enum { CLAUSE_MAX = 255 };

/* Text of others inside our field: what could end its clause becomes '?'. */
static void
put_clean(struct buf *out, struct span s, bool utf8)
{
	s = span_sub(s, 0, CLAUSE_MAX);
	for (size_t i = 0; i < s.n; i++) {
		char c = s.p[i];
		bool ok = (ascii_print(c) && !strchr("()<>;\\\"", c)) || (utf8 && ((unsigned char)c & 0x80));

		buf_putc(out, ok ? c : '?');
	}
}

/* As put_clean, and no blanks: for what stands where a word is expected. */
static void
put_word(struct buf *out, struct span s)
{
	size_t from = buf_len(out);

	put_clean(out, s, false);
	if (!buf_ok(out) || buf_len(out) == from)
		return;
	for (char *p = out->mem + out->at + from; p < out->mem + out->end; p++)
		if (*p == ' ')
			*p = '?';
}

static void
put_from(struct buf *out, const struct received_new *r)
{
	if (!r->client_ip.n && !r->helo.n)
		return;
	buf_puts(out, " from ");
	put_word(out, r->helo.n ? r->helo : SPAN("unknown"));
	if (!r->client_ip.n)
		return;
	buf_puts(out, " (");
	put_word(out, r->client_name.n ? r->client_name : SPAN("unknown"));
	buf_puts(out, span_chr(r->client_ip, ':') == SIZE_MAX ? " [" : " [IPv6:");
	put_word(out, r->client_ip);
	buf_puts(out, "])\r\n\t");
}

static void
put_comment(struct buf *out, const char *what, struct span s)
{
	if (!s.n)
		return;
	buf_puts(out, " (");
	buf_puts(out, what);
	put_clean(out, s, false);
	buf_puts(out, ")");
}

void
received_build(struct buf *out, const struct received_new *r)
{
	char date[DATE_SIZE];

	buf_puts(out, "Received:");
	put_from(out, r);
	buf_puts(out, buf_len(out) && buf_ok(out) && out->mem[out->end - 1] == '\t' ? "by " : " by ");
	put_word(out, r->by);
	if (r->via.n) {
		buf_puts(out, " via ");
		put_word(out, r->via);
	}
	if (r->protocol.n) {
		buf_puts(out, " with ");
		put_word(out, r->protocol);
	}
	put_comment(out, "", r->tls);
	put_comment(out, "authenticated as ", r->auth_user);
	if (r->id.n) {
		buf_puts(out, " id ");
		put_word(out, r->id);
	}
	if (r->recipient.n) {
		buf_puts(out, "\r\n\tfor <");
		put_clean(out, r->recipient, true);
		buf_puts(out, ">");
	}
	if (r->priority.n) { /* RFC 6710 7 */
		buf_puts(out, " PRIORITY ");
		put_word(out, r->priority);
	}
	buf_puts(out, ";\r\n\t");
	buf_puts(out, date_format(date, r->time, r->zone));
	buf_puts(out, "\r\n");
}

enum clause { CLAUSE_NONE, CLAUSE_FROM, CLAUSE_BY, CLAUSE_VIA, CLAUSE_WITH, CLAUSE_ID, CLAUSE_FOR, CLAUSE_COUNT };

static const struct span clauses[CLAUSE_COUNT] = {
	[CLAUSE_FROM] = SPAN_INIT("from"),
	[CLAUSE_BY] = SPAN_INIT("by"),
	[CLAUSE_VIA] = SPAN_INIT("via"),
	[CLAUSE_WITH] = SPAN_INIT("with"),
	[CLAUSE_ID] = SPAN_INIT("id"),
	[CLAUSE_FOR] = SPAN_INIT("for"),
};

/* The clause a word opens: clauses come in their order, and "from" only first, so that a word of that look inside
 * another clause stays what it is. */
static enum clause
clause_of(struct span word, enum clause current, unsigned words)
{
	for (unsigned i = CLAUSE_FROM; i < CLAUSE_COUNT; i++)
		if (span_caseeq(word, clauses[i]) && (enum clause)i > current && (i != CLAUSE_FROM || words == 0))
			return (enum clause)i;
	return CLAUSE_NONE;
}

static size_t
comment_size(struct span s)
{
	size_t depth = 0;

	for (size_t at = 0; at < s.n; at++) {
		if (s.p[at] == '\\')
			at++;
		else if (s.p[at] == '(')
			depth++;
		else if (s.p[at] == ')' && --depth == 0)
			return at + 1;
	}
	return s.n;
}

/* A word ends at a blank, a comment, or the ';' in front of the date. */
static size_t
word_size(struct span s)
{
	size_t n = 0;

	while (n < s.n && !ascii_blank(s.p[n]) && s.p[n] != '(' && s.p[n] != ';') {
		if (s.p[n] == '"')
			for (n++; n < s.n && s.p[n] != '"'; n++)
				continue;
		n += n < s.n;
	}
	return n;
}

static bool
is_ip(struct span s, struct span *ip)
{
	char text[INET6_ADDRSTRLEN];
	unsigned char bytes[16];

	if (span_casestarts(s, SPAN("IPv6:")))
		s = span_from(s, 5);
	if (s.n < 2 || !span_cstr(s, text, sizeof(text)))
		return false;
	if (inet_pton(AF_INET, text, bytes) != 1 && inet_pton(AF_INET6, text, bytes) != 1)
		return false;
	*ip = s;
	return true;
}

static bool
ip_byte(char c)
{
	return ascii_alnum(c) || c == '.' || c == ':';
}

static struct span
find_ip(struct span s)
{
	struct span ip = SPAN_NONE;
	size_t at = 0;

	while (at < s.n) {
		size_t n = 0;

		while (at + n < s.n && ip_byte(s.p[at + n]))
			n++;
		if (n && is_ip(span_sub(s, at, n), &ip))
			return ip;
		at += n + 1;
	}
	return SPAN_NONE;
}

/* What a comment says of encryption. */
static struct span
tls_text(struct span comment)
{
	static const struct span signs[] = { SPAN_INIT("TLS"), SPAN_INIT("SSL"), SPAN_INIT("cipher"),
					     SPAN_INIT("encrypted") };
	bool tls = false;

	for (size_t i = 0; i < sizeof(signs) / sizeof(signs[0]); i++)
		tls = tls || span_casefind(comment, signs[i]) != SIZE_MAX;
	if (!tls || span_casefind(comment, SPAN("no TLS")) != SIZE_MAX ||
	    span_casefind(comment, SPAN("not encrypted")) != SIZE_MAX)
		return SPAN_NONE;
	if (span_caseends(comment, SPAN(" encrypted")))
		comment = span_sub(comment, 0, comment.n - 10);
	if (span_casestarts(comment, SPAN("using ")))
		comment = span_from(comment, 6);
	return comment;
}

static void
take_comment(struct received *r, struct span comment, enum clause current)
{
	struct span tls = tls_text(comment);
	size_t invoked = span_casefind(comment, SPAN("invoked "));

	if (tls.n && !r->tls.n)
		r->tls = tls;
	if (span_casestarts(comment, SPAN("qmail ")) && invoked != SIZE_MAX) {
		r->invoked = span_from(comment, invoked + 8);
	} else if (current == CLAUSE_FROM || current == CLAUSE_NONE) {
		if (!r->from_ip.n)
			r->from_ip = find_ip(comment);
		if (!r->from_comment.n)
			r->from_comment = comment;
		else if (!tls.n) /* qmail gives two: (HELO name) (ip); they lie side by side */
			r->from_comment.n = (size_t)(comment.p + comment.n - r->from_comment.p);
	}
}

static void
take_word(struct received *r, struct span word, enum clause current)
{
	struct span *to[CLAUSE_COUNT] = {
		[CLAUSE_FROM] = &r->from, [CLAUSE_BY] = &r->by, [CLAUSE_VIA] = &r->via,
		[CLAUSE_WITH] = &r->with, [CLAUSE_ID] = &r->id, [CLAUSE_FOR] = &r->for_,
	};

	if (!to[current])
		return;
	if (!to[current]->n)
		*to[current] = word;
	else if (current == CLAUSE_WITH) /* "Microsoft SMTPSVC" */
		to[current]->n = (size_t)(word.p + word.n - to[current]->p);
}

static bool
protocol_encrypted(struct span with)
{
	static const struct span words[] = { SPAN_INIT("SMTPS"), SPAN_INIT("LMTPS"), SPAN_INIT("HTTPS"),
					     SPAN_INIT("IMAPS") };

	for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++) {
		size_t at = span_casefind(with, words[i]);
		struct span behind = at == SIZE_MAX ? SPAN("?") : span_from(with, at + words[i].n);

		if (!behind.n || behind.p[0] == ' ' || ascii_lower(behind.p[0]) == 'a')
			return true;
	}
	return false;
}

bool
received_parse(struct received *r, struct span raw, struct arena *arena)
{
	struct span s = header_unfold(span_sub(raw, 0, LIMIT_FIELD_VALUE), arena);
	enum clause current = CLAUSE_NONE;
	unsigned words = 0;

	*r = (struct received){ .encrypted = false };
	if (!s.p)
		return false;
	while (s.n) {
		size_t n;

		if (ascii_blank(s.p[0])) {
			s = span_from(s, 1);
		} else if (s.p[0] == ';') {
			if (date_parse(&r->date, span_from(s, 1))) {
				r->has_date = true;
				break;
			}
			s = span_from(s, 1);
		} else if (s.p[0] == '(') {
			n = comment_size(s);
			take_comment(r, span_sub(s, 1, n > 1 && s.p[n - 1] == ')' ? n - 2 : n - 1), current);
			s = span_from(s, n);
		} else {
			struct span word;
			enum clause next;

			n = word_size(s);
			word = span_sub(s, 0, n);
			next = clause_of(word, current, words++);
			if (next)
				current = next;
			else
				take_word(r, word, current);
			s = span_from(s, n ? n : 1);
		}
	}
	if (!r->from_ip.n)
		r->from_ip = find_ip(r->from);
	r->for_ = received_return_path(r->for_);
	if (r->for_.n && r->for_.p[r->for_.n - 1] == ';')
		r->for_.n--;
	r->encrypted = r->tls.n > 0 || protocol_encrypted(r->with);
	return true;
}

static bool
local_ip(struct span ip)
{
	return span_starts(ip, SPAN("127.")) || span_eq(ip, SPAN("::1"));
}

/* Both names are one host: equal, or one is the first label of the other. */
static bool
same_host(struct span a, struct span b)
{
	size_t dot_a = span_chr(a, '.'), dot_b = span_chr(b, '.');

	if (!a.n || !b.n)
		return false;
	if (dot_a != SIZE_MAX && dot_b != SIZE_MAX)
		return span_caseeq(a, b);
	return span_caseeq(span_sub(a, 0, dot_a), span_sub(b, 0, dot_b));
}

static bool
inside_one_host(const struct received *r)
{
	if (r->invoked.n)
		return !span_casestarts(r->invoked, SPAN("from network"));
	return span_casestarts(r->from, SPAN("localhost")) || local_ip(r->from_ip) || same_host(r->from, r->by) ||
	    (!r->from.n && !r->from_ip.n);
}

bool
received_trail(struct received_trail *t, struct span message, struct arena *arena)
{
	struct header_walk w = header_walk(message);
	struct header_field f;
	struct received_hop *hops = arena_alloc(arena, LIMIT_TRAIL_HOPS * sizeof(*hops)), *last = NULL;
	unsigned n = 0;

	*t = (struct received_trail){ .hops = hops };
	if (!hops)
		return false;
	while (header_next(&w, &f)) {
		t->delivered_to += span_caseeq(f.name, SPAN("Delivered-To"));
		if (n == LIMIT_TRAIL_HOPS || !span_caseeq(f.name, SPAN("Received")))
			continue;
		n++; /* filled from the end: the newest stands first in the header */
		if (!received_parse(&hops[LIMIT_TRAIL_HOPS - n].r, f.value, arena))
			return false;
	}
	t->hops = hops + LIMIT_TRAIL_HOPS - n;
	t->count = n;
	for (unsigned i = 0; i < n; i++) {
		struct received_hop *h = &t->hops[i];

		h->filter = inside_one_host(&h->r);
		if (!h->r.has_date)
			continue;
		h->has_delay = last != NULL;
		h->delay = last ? h->r.date.time - last->r.date.time : 0;
		last = h;
	}
	return true;
}

static void
put_name(struct buf *out, struct span name, const char *otherwise)
{
	if (name.n)
		put_clean(out, name, true);
	else
		buf_puts(out, otherwise);
}

void
received_trail_text(const struct received_trail *t, struct buf *out)
{
	for (unsigned i = 0; i < t->count; i++) {
		const struct received_hop *h = &t->hops[i];
		char date[DATE_SIZE];

		buf_printf(out, "%u. ", i + 1);
		put_name(out, h->r.from.n ? h->r.from : h->r.invoked.n ? h->r.invoked : h->r.from_comment, "local");
		if (h->r.from_ip.n) {
			buf_puts(out, " [");
			put_clean(out, h->r.from_ip, false);
			buf_putc(out, ']');
		}
		buf_puts(out, " -> ");
		put_name(out, h->r.by, "?");
		buf_puts(out, "  ");
		put_name(out, h->r.with, "-");
		buf_puts(out, h->r.encrypted ? "  TLS" : "  plain");
		if (h->r.tls.n) {
			buf_puts(out, " (");
			put_clean(out, h->r.tls, false);
			buf_putc(out, ')');
		}
		if (h->r.has_date)
			buf_printf(out, "  %s", date_format_iso(date, h->r.date.time));
		if (h->has_delay)
			buf_printf(out, "  %+llds", (long long)h->delay);
		buf_puts(out, h->filter ? "  (inside the host)\n" : "\n");
	}
}

enum { CIRCLES_MAX = 4 }; /* visits to one host with others between that still may be lists and forwards */

/* Visits of the trail to the host of hop i, hops inside the host not counted as leaving it. */
static unsigned
visits(const struct received_trail *t, unsigned i, bool *again)
{
	unsigned n = 0;
	bool there = false;

	for (unsigned k = 0; k < t->count; k++) {
		const struct received *r = &t->hops[k].r;
		bool here = same_host(r->by, t->hops[i].r.by);

		if (!r->by.n)
			continue;
		if (here && there)
			*again = true;
		if (here && !there)
			n++;
		there = here;
	}
	return n;
}

enum received_verdict
received_judge(const struct received_trail *t, struct span message, unsigned max_hops, struct span delivered_to)
{
	enum received_verdict verdict = RECEIVED_FINE;

	if (max_hops && t->count > max_hops)
		return RECEIVED_LOOP;
	if (delivered_to.n && received_delivered_to(message, delivered_to))
		return RECEIVED_LOOP;
	for (unsigned i = 0; i < t->count; i++) {
		bool again = false;
		unsigned n = visits(t, i, &again);

		if (n > CIRCLES_MAX)
			return RECEIVED_LOOP;
		if (n > 1 || again)
			verdict = RECEIVED_REINJECTED;
	}
	return verdict;
}

bool
received_delivered_to(struct span message, struct span address)
{
	struct header_walk w = header_walk(message);
	struct header_field f;

	while (header_next(&w, &f))
		if (span_caseeq(f.name, SPAN("Delivered-To")) && span_caseeq(received_return_path(f.value), address))
			return true;
	return false;
}

struct span
received_return_path(struct span raw)
{
	struct span s = span_trim(raw);

	if (s.n && s.p[0] == '<') {
		size_t end = span_chr(s, '>');

		s = span_sub(s, 1, end == SIZE_MAX ? SIZE_MAX : end - 1);
	}
	return s;
}
