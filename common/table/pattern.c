/* SPDX-License-Identifier: ISC
 *
 * Tables of rules tried in order: pcre and cidr, with if ... endif.
 *
 * PCRE2 runs without its compiler (no writable code pages) and under match and
 * depth limits; a pattern that reaches them fails temporarily, it does not hang.
 */
#define PCRE2_CODE_UNIT_WIDTH 8
#include <arpa/inet.h>
#include <pcre2.h>
#include <stdlib.h>
#include <string.h>

#include "base/cursor.h"
#include "base/ipnet.h"
#include "table/kind.h"
#include "table/maptext.h"

enum { MATCH_LIMIT = 200000, DEPTH_LIMIT = 10000, HEAP_LIMIT_KIB = 4096, RULES_MAX = 100000, IF_DEPTH_MAX = 20,
    GROUPS_MAX = 20 };

enum rule_kind { RULE_MATCH, RULE_IF, RULE_ENDIF };

struct rule {
	enum rule_kind kind;
	bool negate;
	bool broken; /* an if that cannot be understood: nothing that stands in it counts */
	unsigned line;
	pcre2_code *code;  /* pcre */
	uint8_t addr[16];  /* cidr, IPv4 mapped */
	unsigned bits;
	struct span result;
};

struct rules {
	struct rule *v;
	size_t n, room;
	struct arena memory;
	pcre2_match_data *match;
	pcre2_match_context *context;
	/* while they are read */
	struct table *table;
	unsigned depth;
	bool pcre, full;
};

static void
rules_free(struct rules *r)
{
	if (!r)
		return;
	for (size_t i = 0; i < r->n; i++)
		pcre2_code_free(r->v[i].code);
	free(r->v);
	pcre2_match_data_free(r->match);
	pcre2_match_context_free(r->context);
	arena_free(&r->memory);
	free(r);
}

static struct rules *
rules_new(struct table *t, bool pcre)
{
	struct rules *r = calloc(1, sizeof(*r));

	if (!r)
		return NULL;
	arena_init(&r->memory, TABLE_FILE_MAX);
	r->table = t;
	r->pcre = pcre;
	r->match = pcre2_match_data_create(GROUPS_MAX, NULL);
	r->context = pcre2_match_context_create(NULL);
	if (!r->match || !r->context) {
		rules_free(r);
		return NULL;
	}
	pcre2_set_match_limit(r->context, MATCH_LIMIT);
	pcre2_set_depth_limit(r->context, DEPTH_LIMIT);
	pcre2_set_heap_limit(r->context, HEAP_LIMIT_KIB);
	return r;
}

/* ---- reading ---- */

static void
bad_rule(struct rules *r, unsigned line, const char *what)
{
	table_event(r->table, "%.*s, line %u: %s; the rule does not count", SPAN_ARG(r->table->spec), line, what);
}

static bool
pattern_flag(char c, uint32_t *flags)
{
	static const struct {
		char c;
		uint32_t flag;
	} known[] = { { 'i', PCRE2_CASELESS }, { 'm', PCRE2_MULTILINE }, { 's', PCRE2_DOTALL }, { 'x',
	    PCRE2_EXTENDED }, { 'A', PCRE2_ANCHORED },
		{ 'E', PCRE2_DOLLAR_ENDONLY }, { 'U', PCRE2_UNGREEDY } };

	for (size_t i = 0; i < sizeof(known) / sizeof(known[0]); i++) {
		if (known[i].c == c) {
			*flags ^= known[i].flag;
			return true;
		}
	}
	return false;
}

/* /pattern/flags off the front of *rest. */
static bool
take_pattern(struct rules *r, unsigned line, struct span *rest, struct rule *rule)
{
	uint32_t flags = PCRE2_CASELESS | PCRE2_DOTALL;
	size_t end = 1, offset;
	int code;
	PCRE2_UCHAR text[120];
	char delimiter;

	if (rest->n < 2 || ascii_alnum(rest->p[0]) || rest->p[0] == '\\') {
		bad_rule(r, line, "a rule is written /pattern/flags result");
		return false;
	}
	delimiter = rest->p[0];
	while (end < rest->n && rest->p[end] != delimiter)
		end += rest->p[end] == '\\' ? 2 : 1;
	if (end >= rest->n) {
		bad_rule(r, line, "the pattern is not closed");
		return false;
	}
	struct span pattern = span_sub(*rest, 1, end - 1);
	for (end++; end < rest->n && !ascii_blank(rest->p[end]); end++) {
		if (!pattern_flag(rest->p[end], &flags)) {
			bad_rule(r, line, "a flag behind the pattern is unknown");
			return false;
		}
	}
	*rest = span_from(*rest, end);
	rule->code = pcre2_compile((PCRE2_SPTR)pattern.p, pattern.n, flags, &code, &offset, NULL);
	if (!rule->code) {
		pcre2_get_error_message(code, text, sizeof(text));
		bad_rule(r, line, (const char *)text);
	}
	return rule->code != NULL;
}

static bool
parse_ip(struct span s, uint8_t out[16], bool *four)
{
	char text[64];
	uint8_t in4[4];

	if (s.n > 1 && s.p[0] == '[' && s.p[s.n - 1] == ']')
		s = span_sub(s, 1, s.n - 2);
	if (span_casestarts(s, SPAN("IPv6:")))
		s = span_from(s, 5);
	if (!span_cstr(s, text, sizeof(text)))
		return false;
	*four = inet_pton(AF_INET, text, in4) == 1;
	if (!*four)
		return inet_pton(AF_INET6, text, out) == 1;
	memset(out, 0, 16);
	out[10] = out[11] = 0xff;
	memcpy(out + 12, in4, 4);
	return true;
}

static bool
take_network(struct rules *r, unsigned line, struct span *rest, struct rule *rule)
{
	struct span word = span_word(rest);
	size_t slash = span_rchr(word, '/');
	uint64_t bits;
	bool four;

	if (parse_ip(span_sub(word, 0, slash), rule->addr, &four)) {
		bits = four ? 32 : 128;
		if (slash == SIZE_MAX || span_u64(span_from(word, slash + 1), bits, &bits)) {
			rule->bits = (unsigned)(four ? bits + 96 : bits);
			return true;
		}
	}
	bad_rule(r, line, "this is not a network such as 192.0.2.0/24");
	return false;
}

static bool
add_rule(struct rules *r, struct rule rule)
{
	if (r->n == r->room) {
		size_t more = r->room ? r->room * 2 : 64;
		struct rule *bigger = more > RULES_MAX * 2 ? NULL : realloc(r->v, more * sizeof(*bigger));

		if (!bigger) {
			pcre2_code_free(rule.code);
			r->full = true;
			return false;
		}
		r->v = bigger;
		r->room = more;
	}
	r->v[r->n++] = rule;
	return true;
}

static bool
on_rule(void *arg, unsigned line, struct span content)
{
	struct rules *r = arg;
	struct rule rule = { .line = line };
	struct span rest = content, word = span_word(&rest);

	if (span_caseeq(word, SPAN("endif"))) {
		if (r->depth == 0) {
			bad_rule(r, line, "an endif without if");
			return true;
		}
		r->depth--;
		rule.kind = RULE_ENDIF;
		return add_rule(r, rule);
	}
	if (span_caseeq(word, SPAN("if"))) {
		rule.kind = RULE_IF;
		content = span_trim(rest);
	}
	if (content.n > 0 && content.p[0] == '!') {
		rule.negate = true;
		content = span_trim(span_from(content, 1));
	}
	rule.broken = !(r->pcre ? take_pattern(r, line, &content, &rule) : take_network(r, line, &content, &rule));
	if (rule.broken && rule.kind != RULE_IF)
		return true;
	if (rule.kind == RULE_IF && r->depth++ >= IF_DEPTH_MAX)
		bad_rule(r, line, "too many ifs in each other");
	content = span_trim(content);
	if (rule.kind == RULE_MATCH && content.n == 0) {
		pcre2_code_free(rule.code);
		bad_rule(r, line, "the rule has no result");
		return true;
	}
	rule.result = arena_dup(&r->memory, content);
	return add_rule(r, rule);
}

static bool
pattern_open(struct table *t, struct span name, struct fail *why)
{
	return table_set_path(t, name, why);
}

static void
pattern_close(struct table *t)
{
	rules_free(t->state);
}

static bool
pattern_load(struct table *t, bool pcre, struct fail *why)
{
	struct rules *r;
	struct stat seen;
	char *text;
	size_t n;

	if (!table_read_source(t, &text, &n, &seen, why))
		return false;
	r = rules_new(t, pcre);
	if (!r || !maptext_lines(span_of(text, n), on_rule, r) || r->full) {
		free(text);
		rules_free(r);
		return fail_set(why, FAIL_TEMP, 0, "no memory for %s, or more than %d rules", t->path, RULES_MAX);
	}
	free(text);
	if (r->depth > 0)
		bad_rule(r, 0, "an if without endif");
	rules_free(t->state);
	t->state = r;
	t->seen = seen;
	return true;
}

static bool
pcre_load(struct table *t, struct fail *why)
{
	return pattern_load(t, true, why);
}

static bool
cidr_load(struct table *t, struct fail *why)
{
	return pattern_load(t, false, why);
}

/* ---- matching ---- */

struct subject {
	struct span text;
	uint8_t addr[16];
	int groups; /* of the last pcre match */
};

/* 1 yes, 0 no, -1 a limit was reached. */
static int
rule_matches(struct rules *r, const struct rule *rule, struct subject *s)
{
	bool hit;

	if (rule->broken)
		return 0;
	if (r->pcre) {
		int rc = pcre2_match(rule->code, (PCRE2_SPTR)s->text.p, s->text.n, 0, 0, r->match, r->context);

		if (rc < 0 && rc != PCRE2_ERROR_NOMATCH)
			return -1;
		s->groups = rc == 0 ? GROUPS_MAX : rc;
		hit = rc >= 0;
	} else if (ipnet_is_ipv4(rule->addr) == ipnet_is_ipv4(s->addr))
		hit = ipnet_has(rule->addr, rule->bits, s->addr);
	else
		return 0; /* nor does "!network" speak of the other family */
	return hit != rule->negate;
}

static bool
digit(char c)
{
	return ascii_digit(c);
}

/* $1, ${1}, $(1) in a result; $$ is a $. */
static void
put_group(struct rules *r, const struct subject *s, struct cursor *c, struct buf *out)
{
	char close = cursor_char(c, '{') ? '}' : cursor_char(c, '(') ? ')' : '\0';
	PCRE2_SIZE *at = pcre2_get_ovector_pointer(r->match);
	uint64_t group;

	if (!span_u64(cursor_while(c, digit), GROUPS_MAX - 1, &group) || (close && !cursor_char(c, close)))
		return;
	if ((int)group < s->groups && at[2 * group] != PCRE2_UNSET && at[2 * group] <= at[2 * group + 1])
		buf_put(out, span_sub(s->text, at[2 * group], at[2 * group + 1] - at[2 * group]));
}

static struct span
result_of(struct rules *r, const struct rule *rule, const struct subject *s, struct arena *arena)
{
	struct cursor c = cursor_of(rule->result);
	struct span done;
	struct buf out;

	if (!r->pcre)
		return arena_dup(arena, rule->result);
	buf_init(&out, TABLE_VALUE_MAX);
	while (!cursor_end(&c)) {
		char ch = (char)cursor_u8(&c);

		if (ch != '$' || cursor_char(&c, '$'))
			buf_putc(&out, ch);
		else if (!rule->negate)
			put_group(r, s, &c, &out);
	}
	done = buf_ok(&out) ? arena_dup(arena, buf_len(&out) ? buf_span(&out) : SPAN("")) : SPAN_NONE;
	buf_free(&out);
	return done;
}

static bool
skip_to_endif(const struct rules *r, size_t *i)
{
	size_t depth = 1;

	while (++*i < r->n && depth > 0) {
		if (r->v[*i].kind == RULE_IF)
			depth++;
		else if (r->v[*i].kind == RULE_ENDIF && --depth == 0)
			return true;
	}
	return false;
}

static enum table_found
pattern_lookup(struct table *t, struct span key, struct arena *arena, struct span *value, struct fail *why)
{
	struct rules *r = t->state;
	struct subject s = { .text = key };
	bool four;

	if (!r->pcre && !parse_ip(key, s.addr, &four))
		return TABLE_NONE;
	for (size_t i = 0; i < r->n; i++) {
		int hit = r->v[i].kind == RULE_ENDIF ? 0 : rule_matches(r, &r->v[i], &s);

		if (hit < 0) {
			fail_set(why, FAIL_TEMP, 0, "%.*s, line %u: the pattern takes too long", SPAN_ARG(t->spec),
			    r->v[i].line);
			return TABLE_FAILED;
		}
		if (r->v[i].kind == RULE_IF && !hit && !skip_to_endif(r, &i))
			break;
		if (r->v[i].kind == RULE_MATCH && hit) {
			*value = result_of(r, &r->v[i], &s, arena);
			if (value->p || r->v[i].result.n == 0)
				return TABLE_FOUND;
			fail_set(why, FAIL_TEMP, 0, "no memory for a value of %.*s", SPAN_ARG(t->spec));
			return TABLE_FAILED;
		}
	}
	return TABLE_NONE;
}

const struct table_kind table_kind_pcre = { "pcre", pattern_open, pattern_close, pcre_load, pattern_lookup, true };
const struct table_kind table_kind_cidr = { "cidr", pattern_open, pattern_close, cidr_load, pattern_lookup, false };
