/* SPDX-License-Identifier: ISC */
#include "daemons/mailboxd/pattern.h"

#include <string.h>

/* All positions in the pattern that the name read so far may have reached:
 * no backtracking, whatever the pattern. */
struct states {
	bool at[PATTERN_MAX + 1];
};

static void
skip_wildcards(struct states *s, struct span pattern)
{
	for (size_t i = 0; i < pattern.n; i++)
		if (s->at[i] && (pattern.p[i] == '*' || pattern.p[i] == '%'))
			s->at[i + 1] = true;
}

bool
pattern_match_in(struct span pattern, struct span name, char delimiter)
{
	bool inbox = span_casestarts(name, SPAN("INBOX"));
	struct states now = { .at = { [0] = true } };

	if (pattern.n > PATTERN_MAX)
		return false;
	skip_wildcards(&now, pattern);
	for (size_t n = 0; n < name.n; n++) {
		struct states next = { .at = { [0] = false } };
		char c = name.p[n];

		for (size_t i = 0; i < pattern.n; i++) {
			char p = pattern.p[i];

			if (!now.at[i])
				continue;
			if (p == '*' || (p == '%' && c != delimiter))
				next.at[i] = true;
			else if (p == c || (inbox && n < 5 && ascii_lower(p) == ascii_lower(c)))
				next.at[i + 1] = true;
		}
		skip_wildcards(&next, pattern);
		now = next;
	}
	return now.at[pattern.n];
}
