/* SPDX-License-Identifier: ISC */
#include "owner.h"

#include "mail/status.h"

/* Logins between blanks and commas. */
static bool
lists(struct span owners, struct span login)
{
	while (owners.n) {
		size_t n = 0;

		while (n < owners.n && !ascii_blank(owners.p[n]) && owners.p[n] != ',')
			n++;
		if (n && span_caseeq(span_sub(owners, 0, n), login))
			return true;
		owners = span_from(owners, n + 1);
	}
	return false;
}

static unsigned
judge(struct rules *rules, struct span login, struct span owners, bool listed)
{
	const struct conf *conf = rules_conf(rules);

	if (login.n)
		return conf->reject_authenticated_sender_login_mismatch && !lists(owners, login) ? STATUS_SENDER_NOT_OWNED : 0;
	return conf->reject_unauthenticated_sender_login_mismatch && listed ? STATUS_SENDER_NOT_OWNED : 0;
}

unsigned
owner_check(struct rules *rules, struct span login, struct span sender, bool local, struct arena *arena, struct span *why)
{
	struct span base = rules_without_extension(rules, sender, arena), owners = SPAN_NONE, which = SPAN_NONE;
	struct rules_key keys[] = { rules_whole(sender), rules_part(base), rules_part(span_from(sender, span_rchr(sender, '@'))) };
	struct fail failure = { 0 };
	bool listed = false;
	unsigned status;

	*why = SPAN_NONE;
	if (!sender.n || (local && !login.n)) /* reports come from nobody */
		return 0;
	if (login.n && (span_caseeq(sender, login) || span_caseeq(base, login)))
		return 0;
	for (size_t i = 0; i < 3 && !listed && rules_has_map(rules, RULES_SENDER_LOGIN); i++) {
		enum table_found found = keys[i].text.n ? rules_lookup(rules, RULES_SENDER_LOGIN, keys[i], arena, &owners, &which, &failure) : TABLE_NONE;

		if (found == TABLE_FAILED) {
			*why = arena_printf(arena, "smtpd_sender_login_maps: %.*s", SPAN_ARG(fail_text(&failure)));
			return STATUS_MISCONFIGURED;
		}
		listed = found == TABLE_FOUND;
	}
	status = judge(rules, login, owners, listed);
	if (status)
		*why = arena_printf(arena, "smtpd_sender_login_maps: %.*s belongs to %.*s, not to %.*s", SPAN_ARG(sender),
		    SPAN_ARG(listed ? span_sub(owners, 0, 200) : SPAN("nobody there")), SPAN_ARG(login.n ? login : SPAN("who has not logged in")));
	return status;
}
