/* SPDX-License-Identifier: ISC */
#include "daemons/stsd/policy.h"

#include "mail/domain.h"

const char *
policy_mode_text(enum policy_mode mode)
{
	static const char *const texts[] = { [POLICY_NONE] = "none", [POLICY_TESTING] = "testing", [POLICY_ENFORCE] = "enforce" };

	return texts[mode];
}

/* --- the record ---------------------------------------------------------------- */

static bool
id_valid(struct span id)
{
	for (size_t i = 0; i < id.n; i++)
		if (!ascii_alnum(id.p[i]))
			return false;
	return id.n > 0 && id.n <= POLICY_ID;
}

bool
policy_record(struct span txt, char id[POLICY_ID + 1])
{
	bool found = false;

	if (!span_eq(span_trim(span_cut(&txt, ';')), SPAN("v=STSv1")))
		return false;
	while (txt.n && !found) {
		struct span field = span_trim(span_cut(&txt, ';'));

		if (!span_starts(field, SPAN("id=")))
			continue;
		field = span_from(field, 3);
		if (!id_valid(field))
			return false;
		found = span_cstr(field, id, POLICY_ID + 1);
	}
	return found;
}

/* --- the policy ------------------------------------------------------------------- */

struct reading {
	struct policy *out;
	struct buf *patterns;
	bool version, mode, max_age; /* seen; RFC 8461 3.2: later ones count for nothing */
	size_t nmx;
};

static bool
take_mode(struct reading *r, struct span value, struct fail *why)
{
	for (enum policy_mode m = POLICY_NONE; m <= POLICY_ENFORCE; m++)
		if (span_eq(value, span_str(policy_mode_text(m)))) {
			r->out->mode = m;
			return true;
		}
	return fail_set(why, FAIL_PEER, 0, "no mode: %.*s", SPAN_ARG(span_sub(value, 0, 40)));
}

static bool
take_age(struct reading *r, struct span value, struct fail *why)
{
	uint64_t age;

	if (!span_u64(value, 9999999999, &age))
		return fail_set(why, FAIL_PEER, 0, "no max_age: %.*s", SPAN_ARG(span_sub(value, 0, 40)));
	r->out->max_age_s = age > POLICY_AGE_MAX ? POLICY_AGE_MAX : (int64_t)age;
	return true;
}

static bool
take_mx(struct reading *r, struct span value, struct fail *why)
{
	struct span domain = span_starts(value, SPAN("*.")) ? span_from(value, 2) : value;

	if (!domain_valid(domain, false))
		return fail_set(why, FAIL_PEER, 0, "no mx pattern: %.*s", SPAN_ARG(span_sub(value, 0, 80)));
	if (r->nmx++ == POLICY_MX_MAX)
		return fail_set(why, FAIL_LIMIT, 0, "more than %d mx patterns", POLICY_MX_MAX);
	if (buf_len(r->patterns))
		buf_putc(r->patterns, ' ');
	for (size_t i = 0; i < value.n; i++)
		buf_putc(r->patterns, ascii_lower(value.p[i]));
	return true;
}

static bool
take_version(struct span value, struct fail *why)
{
	return span_eq(value, SPAN("STSv1")) || fail_set(why, FAIL_PEER, 0, "no version that is known: %.*s", SPAN_ARG(span_sub(value, 0, 40)));
}

static bool
take_line(struct reading *r, struct span line, struct fail *why)
{
	struct span name = span_trim(span_cut(&line, ':')), value = span_trim(line);
	bool *seen = span_eq(name, SPAN("version")) ? &r->version : span_eq(name, SPAN("mode")) ? &r->mode : span_eq(name, SPAN("max_age")) ? &r->max_age : NULL;

	if (span_eq(name, SPAN("mx")))
		return take_mx(r, value, why);
	if (!seen || *seen) /* RFC 8461 3.2: what is not known is passed over */
		return true;
	*seen = true;
	return seen == &r->version ? take_version(value, why) : seen == &r->mode ? take_mode(r, value, why) : take_age(r, value, why);
}

bool
policy_parse(struct span body, struct policy *out, struct buf *patterns, struct fail *why)
{
	struct reading r = { .out = out, .patterns = patterns };

	*out = (struct policy){ .mode = POLICY_NONE };
	if (body.n > POLICY_BODY_MAX)
		return fail_set(why, FAIL_LIMIT, 0, "longer than %d bytes", POLICY_BODY_MAX);
	while (body.n)
		if (!take_line(&r, span_cut(&body, '\n'), why))
			return false;
	if (!r.version || !r.mode || !r.max_age)
		return fail_set(why, FAIL_PEER, 0, "no %s", !r.version ? "version" : !r.mode ? "mode" : "max_age");
	if (r.nmx == 0 && out->mode != POLICY_NONE)
		return fail_set(why, FAIL_PEER, 0, "no mx");
	return buf_ok(patterns) || fail_set(why, FAIL_LIMIT, 0, "too many mx patterns");
}
