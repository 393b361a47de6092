/* SPDX-License-Identifier: ISC */
#include "daemons/remoted/tlspolicy.h"

#include <stdio.h>
#include <string.h>


/* --- the administrator's words ------------------------------------------------ */

static bool
take_level(struct span word, enum conf_word *level)
{
	for (enum conf_word w = CONF_TLS_NONE; w <= CONF_TLS_SECURE; w++)
		if (span_eq(word, conf_word_text(w))) {
			*level = w;
			return true;
		}
	return false;
}

static bool
take_match(struct span value, struct tlspolicy *out, struct fail *why)
{
	while (value.n) {
		size_t n = 0;

		while (n < value.n && value.p[n] != ':' && value.p[n] != '|')
			n++;
		if (n > 0 && out->nmatch == TLSPOLICY_NAMES)
			return fail_set(why, FAIL_PERM, 0, "more than %d names in match", TLSPOLICY_NAMES);
		if (n > 0)
			out->match[out->nmatch++] = span_sub(value, 0, n);
		value = span_from(value, n + 1);
	}
	return true;
}

static bool
take_protocols(struct span value, struct tlspolicy *out, struct fail *why)
{
	if (span_eq(value, conf_word_text(CONF_TLS13)))
		out->only13 = true;
	else if (!span_eq(value, conf_word_text(CONF_TLS12)))
		return fail_set(why, FAIL_PERM, 0, "protocols is neither >=TLSv1.2 nor >=TLSv1.3: %.*s", SPAN_ARG(span_sub(value, 0, 40)));
	return true;
}

bool
tlspolicy_parse(struct span value, struct tlspolicy *out, struct fail *why)
{
	struct span word = span_word(&value);

	*out = (struct tlspolicy){ .by_table = true };
	if (!take_level(word, &out->level))
		return fail_set(why, FAIL_PERM, 0, "not a TLS level: %.*s", SPAN_ARG(span_sub(word, 0, 40)));
	while ((word = span_word(&value)).n) {
		struct span name = span_cut(&word, '=');

		if (span_eq(name, SPAN("match"))) {
			if (!take_match(word, out, why))
				return false;
		} else if (span_eq(name, SPAN("protocols"))) {
			if (!take_protocols(word, out, why))
				return false;
		} else if (span_eq(name, SPAN("servername"))) {
			out->servername = word;
		} else {
			return fail_set(why, FAIL_PERM, 0, "not known in a TLS policy: %.*s", SPAN_ARG(span_sub(name, 0, 40)));
		}
	}
	if (out->nmatch && out->level != CONF_TLS_VERIFY && out->level != CONF_TLS_SECURE)
		return fail_set(why, FAIL_PERM, 0, "match makes no sense with %.*s", SPAN_ARG(conf_word_text(out->level)));
	return true;
}

bool
tlspolicy_wants_dane(const struct tlspolicy *p)
{
	if (p->wish == TLSWISH_REQUIRED && !p->by_table && (p->level == CONF_TLS_MAY || p->level == CONF_TLS_ENCRYPT))
		return true;
	return (p->level == CONF_TLS_DANE && p->wish != TLSWISH_OPTIONAL) || p->level == CONF_TLS_DANE_ONLY;
}

bool
tlspolicy_wants_sts(const struct tlspolicy *p)
{
	return !p->by_table && p->wish != TLSWISH_OPTIONAL && (p->level == CONF_TLS_MAY || p->level == CONF_TLS_ENCRYPT || p->level == CONF_TLS_DANE);
}

/* --- MTA-STS ----------------------------------------------------------------------- */

bool
tlspolicy_sts_parse(struct span text, struct tlspolicy_sts *out)
{
	static const char *const modes[] = { [STS_NONE] = "none", [STS_TESTING] = "testing", [STS_ENFORCE] = "enforce" };
	struct span word = span_word(&text);

	for (size_t i = 0; i < sizeof(modes) / sizeof(*modes); i++)
		if (span_eq(word, span_str(modes[i]))) {
			*out = (struct tlspolicy_sts){ (enum tlspolicy_mode)i, span_trim(text) };
			return true;
		}
	*out = (struct tlspolicy_sts){ STS_NONE, SPAN_NONE };
	return false;
}

bool
tlspolicy_sts_has(const struct tlspolicy_sts *sts, struct span host)
{
	struct span rest = sts->patterns, pattern;
	size_t dot = span_chr(host, '.');

	while ((pattern = span_word(&rest)).n) {
		if (span_caseeq(pattern, host))
			return true;
		if (span_starts(pattern, SPAN("*.")) && dot != SIZE_MAX && dot > 0 && span_caseeq(span_from(pattern, 1), span_from(host, dot)))
			return true;
	}
	return false;
}

/* --- the plan ----------------------------------------------------------------------- */

struct making {
	const struct tlspolicy *p;
	const struct tlspolicy_sts *sts;
	const struct tlspolicy_host *host;
	struct span nexthop;
	struct arena *arena;
	struct tlsplan *out;
};

static void
say(struct tlsplan *out, const char *fmt, struct span what)
{
	size_t n = strlen(out->why);

	(void)snprintf(out->why + n, sizeof(out->why) - n, "%s", n ? "; " : "");
	n = strlen(out->why);
	(void)snprintf(out->why + n, sizeof(out->why) - n, fmt, SPAN_ARG(span_sub(what, 0, 120)));
}

static void
add_name(struct tlsplan *out, struct span name)
{
	if (!name.n || out->nnames == TLSPOLICY_NAMES)
		return;
	for (size_t i = 0; i < out->nnames; i++)
		if (span_caseeq(out->names[i], name))
			return;
	out->names[out->nnames++] = name;
}

static void
skip(struct making *m, const char *result)
{
	m->out->skip = true;
	m->out->result = result;
}

static void
take_names(struct making *m)
{
	static const struct span usual[2][3] = { { SPAN_INIT("hostname") }, { SPAN_INIT("nexthop"), SPAN_INIT("dot-nexthop") } };
	const struct tlspolicy *p = m->p;
	const struct span *match = p->nmatch ? p->match : usual[p->level == CONF_TLS_SECURE];
	size_t n = p->nmatch ? p->nmatch : p->level == CONF_TLS_SECURE ? 2 : 1;

	for (size_t i = 0; i < n; i++) {
		if (span_eq(match[i], SPAN("hostname")))
			add_name(m->out, m->host->name);
		else if (span_eq(match[i], SPAN("nexthop")))
			add_name(m->out, m->nexthop);
		else if (span_eq(match[i], SPAN("dot-nexthop")))
			add_name(m->out, m->nexthop.n ? arena_printf(m->arena, ".%.*s", SPAN_ARG(m->nexthop)) : SPAN_NONE);
		else
			add_name(m->out, match[i]);
	}
}

static void
take_sni(struct making *m)
{
	const struct tlspolicy *p = m->p;

	if (span_eq(p->servername, SPAN("nexthop")) || (!p->servername.n && p->level == CONF_TLS_SECURE && !p->nmatch))
		m->out->sni = m->nexthop;
	else if (p->servername.n && !span_eq(p->servername, SPAN("hostname")))
		m->out->sni = p->servername;
	else
		m->out->sni = m->host->name;
}

static void
take_level_of(struct making *m)
{
	static const uint8_t levels[] = {
		[CONF_TLS_NONE] = TLS_LEVEL_NONE, [CONF_TLS_MAY] = TLS_LEVEL_MAY, [CONF_TLS_ENCRYPT] = TLS_LEVEL_ENCRYPT, [CONF_TLS_DANE] = TLS_LEVEL_MAY,
		[CONF_TLS_DANE_ONLY] = TLS_LEVEL_DANE, [CONF_TLS_VERIFY] = TLS_LEVEL_VERIFY, [CONF_TLS_SECURE] = TLS_LEVEL_VERIFY,
	};

	m->out->level = (enum tls_level)levels[m->p->level];
	if (m->p->level == CONF_TLS_VERIFY || m->p->level == CONF_TLS_SECURE)
		take_names(m);
	else
		add_name(m->out, m->host->name); /* is looked at, for the log */
	if (m->out->level == TLS_LEVEL_VERIFY && !m->out->nnames) {
		say(m->out, "%.*s has no name to verify a certificate for", m->host->name);
		skip(m, "validation-failure");
	}
}

/* RFC 7672 2.2, 3.2.2. */
static void
take_tlsa(struct making *m)
{
	struct tlsplan *out = m->out;

	out->level = TLS_LEVEL_DANE;
	out->kind = TLSPLAN_TLSA;
	out->tlsa = m->host->tlsa;
	out->ntlsa = m->host->ntlsa;
	out->nnames = 0;
	add_name(out, m->host->base);
	add_name(out, m->nexthop);
	out->sni = m->host->base;
	say(out, "TLSA records of %.*s decide", m->host->base);
}

static void
take_dane(struct making *m)
{
	const struct tlspolicy_host *host = m->host;
	struct tlsplan *out = m->out;
	bool only = m->p->level == CONF_TLS_DANE_ONLY;

	switch (host->dane) {
	case DANE_UNASKED:
		return;
	case DANE_USABLE:
		if (!host->encrypt_only) {
			take_tlsa(m);
			return;
		}
		out->kind = TLSPLAN_TLSA;
		out->level = TLS_LEVEL_ENCRYPT;
		say(out, "%.*s has TLSA records, and is named by an MX record without DNSSEC", host->name);
		break;
	case DANE_FAILED: /* RFC 7672 2.1.2: may be an attack, so that this host is not used */
		out->kind = TLSPLAN_TLSA;
		say(out, host->forged ? "the TLSA records are forged or badly signed: %.*s" : "TLSA lookup failed for now: %.*s", host->why);
		skip(m, host->forged ? "dnssec-invalid" : "tlsa-invalid");
		return;
	case DANE_USELESS: /* RFC 7672 2.2: encryption is expected, and cannot be verified */
		out->kind = TLSPLAN_TLSA;
		out->level = TLS_LEVEL_ENCRYPT;
		say(out, "no usable one among the TLSA records of %.*s", host->base);
		break;
	case DANE_INSECURE:
		say(out, "%.*s is found without DNSSEC", host->name);
		break;
	case DANE_NONE:
		say(out, "%.*s has no TLSA records", host->name);
		break;
	}
	if (only)
		skip(m, host->dane == DANE_USELESS ? "tlsa-invalid" : "dane-required");
}

/* RFC 8461 2: never in the place of TLSA records, but beside them. */
static void
take_sts(struct making *m)
{
	struct tlsplan *out = m->out;
	bool listed = tlspolicy_sts_has(m->sts, m->host->name);

	if (m->sts->mode == STS_NONE)
		return;
	if (m->sts->mode == STS_TESTING) { /* RFC 8461 5: only to be reported */
		if (out->kind == TLSPLAN_NO_POLICY) {
			out->kind = TLSPLAN_STS;
			out->testing = true;
		}
		say(out, listed ? "MTA-STS is being tested%.*s" : "MTA-STS is being tested and does not list %.*s", listed ? SPAN_NONE : m->host->name);
		return;
	}
	if (!listed) {
		out->kind = TLSPLAN_STS;
		say(out, "the MTA-STS policy does not list %.*s", m->host->name);
		skip(m, "validation-failure");
	} else if (out->level != TLS_LEVEL_DANE) {
		out->kind = TLSPLAN_STS;
		out->level = TLS_LEVEL_VERIFY;
		out->nnames = 0;
		add_name(out, m->host->name);
		out->sni = m->host->name; /* RFC 8461 4.2 */
		say(out, "the MTA-STS policy is enforced%.*s", SPAN_NONE);
	}
}

/* RFC 8689 4.2.1 (2), (4): a name from a DNS without signatures proves nothing: then the certificate must be for the domain. */
static void
take_wish(struct making *m)
{
	struct tlsplan *out = m->out;

	if (m->p->wish != TLSWISH_REQUIRED || out->level >= TLS_LEVEL_VERIFY)
		return;
	out->level = TLS_LEVEL_VERIFY;
	out->nnames = 0;
	out->sni = m->host->name;
	if (m->host->secure || !m->nexthop.n || span_caseeq(m->host->name, m->nexthop)) {
		add_name(out, m->host->name);
	} else {
		add_name(out, m->nexthop);
		add_name(out, arena_printf(m->arena, ".%.*s", SPAN_ARG(m->nexthop)));
		out->sni = m->nexthop;
	}
	say(out, "the message has REQUIRETLS%.*s", SPAN_NONE);
}

void
tlspolicy_plan(const struct tlspolicy *p, const struct tlspolicy_sts *sts, const struct tlspolicy_host *host, struct span nexthop,
    struct arena *arena, struct tlsplan *out)
{
	struct making m = { p, sts, host, nexthop, arena, out };

	*out = (struct tlsplan){ .only13 = p->only13 };
	take_sni(&m);
	take_level_of(&m);
	if (tlspolicy_wants_dane(p) && !out->skip)
		take_dane(&m);
	if (tlspolicy_wants_sts(p) && !out->skip)
		take_sts(&m);
	if (!out->skip)
		take_wish(&m);
}

/* --- words --------------------------------------------------------------------------- */

const char *
tlsplan_level_text(enum tls_level level)
{
	static const char *const texts[] = {
		[TLS_LEVEL_NONE] = "none", [TLS_LEVEL_MAY] = "when offered, any certificate", [TLS_LEVEL_ENCRYPT] = "required, any certificate",
		[TLS_LEVEL_VERIFY] = "required, certificate trusted and for its name", [TLS_LEVEL_DANE] = "required, certificate by TLSA records",
	};

	return texts[level];
}

const char *
tlsplan_kind_text(enum tlsplan_kind kind)
{
	static const char *const texts[] = { [TLSPLAN_NO_POLICY] = "no-policy-found", [TLSPLAN_STS] = "sts", [TLSPLAN_TLSA] = "tlsa" };

	return texts[kind];
}

const char *
tlsplan_result(enum tls_problem problem, bool offered)
{
	static const char *const texts[] = {
		[TLS_PROBLEM_NONE] = "successful", [TLS_PROBLEM_HANDSHAKE] = "validation-failure", [TLS_PROBLEM_UNTRUSTED] = "certificate-not-trusted",
		[TLS_PROBLEM_NAME] = "certificate-host-mismatch", [TLS_PROBLEM_EXPIRED] = "certificate-expired", [TLS_PROBLEM_TLSA] = "validation-failure",
	};

	return offered ? texts[problem] : "starttls-not-supported";
}
