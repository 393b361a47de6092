/* SPDX-License-Identifier: ISC */
#include "store/uidlist.h"

#include "store/mailbox.h"

/* "V1275660208", "N25022": fields of the header, behind the version. */
static bool
header_fields(struct uidlist *l, struct span line)
{
	for (struct span word; (word = span_word(&line)).n;) {
		uint64_t v;
		char key = word.p[0];

		if ((key != 'V' && key != 'N') || !span_u64(span_from(word, 1), UINT32_MAX, &v))
			continue;
		if (key == 'V')
			l->uidvalidity = (uint32_t)v;
		else
			l->uidnext = (uint32_t)v;
	}
	return l->uidvalidity != 0;
}

static bool
header_version_1(struct uidlist *l, struct span line)
{
	uint64_t validity, next;

	if (!span_u64(span_word(&line), UINT32_MAX, &validity) || !span_u64(span_word(&line), UINT32_MAX, &next))
		return false;
	l->uidvalidity = (uint32_t)validity;
	l->uidnext = (uint32_t)next;
	return validity != 0;
}

bool
uidlist_open(struct uidlist *l, struct span text)
{
	struct span line = span_cut(&text, '\n'), version = span_word(&line);

	*l = (struct uidlist){ .uidnext = 1, .rest = text };
	if (span_eq(version, SPAN("3")))
		return header_fields(l, line);
	return span_eq(version, SPAN("1")) && header_version_1(l, line);
}

static bool
parse_line(struct span line, struct uidlist_entry *e)
{
	uint64_t uid;

	if (!span_u64(span_word(&line), UINT32_MAX - 1, &uid) || uid == 0)
		return false;
	*e = (struct uidlist_entry){ .uid = (uint32_t)uid };
	/* Version 3: fields, each a letter and its value, then ":name". */
	for (struct span word; (word = span_word(&line)).n;) {
		if (word.p[0] == ':') {
			e->base = span_from(word, 1);
			break;
		}
		if (line.n == 0) { /* version 1: the name alone */
			e->base = word;
			break;
		}
		if (word.p[0] == 'P')
			e->uidl = span_from(word, 1);
	}
	e->base = span_sub(e->base, 0, span_chr(e->base, ':'));
	return e->base.n > 0 && e->base.n <= UINT8_MAX && e->uidl.n <= 128;
}

bool
uidlist_next(struct uidlist *l, struct uidlist_entry *out)
{
	while (l->rest.p) {
		struct span line = span_cut(&l->rest, '\n');

		if (!parse_line(line, out) || out->uid <= l->last)
			continue;
		l->last = out->uid;
		return true;
	}
	return false;
}

bool
keywords_next(struct span *rest, unsigned *number, struct span *name)
{
	while (rest->p) {
		struct span line = span_cut(rest, '\n');
		uint64_t v;

		if (!span_u64(span_word(&line), MAILBOX_KEYWORDS_MAX - 1, &v))
			continue;
		*name = span_trim(line);
		*number = (unsigned)v;
		if (name->n > 0 && name->n <= MAILBOX_KEYWORD_LEN)
			return true;
	}
	return false;
}
