/* SPDX-License-Identifier: ISC */
#include "daemons/mailboxd/subject.h"

#include "daemons/mailboxd/fold.h"
#include "mail/word.h"

static bool
blank(char c)
{
	return c == ' ' || c == '\t' || c == '\r' || c == '\n';
}

static struct span
skip_blanks(struct span s)
{
	while (s.n && blank(s.p[0]))
		s = span_from(s, 1);
	return s;
}

/* RFC 5256 2.1 (1): runs of blanks become one. */
static void
squeeze(struct span s, struct buf *out)
{
	for (size_t i = 0; i < s.n; i++)
		if (!blank(s.p[i]))
			buf_putc(out, s.p[i]);
		else if (i == 0 || !blank(s.p[i - 1]))
			buf_putc(out, ' ');
}

/* subj-trailer: "(fwd)" and blanks; (2) */
static struct span
cut_trailers(struct span s, bool *reply)
{
	for (;;) {
		while (s.n && blank(s.p[s.n - 1]))
			s.n--;
		if (s.n < 5 || !span_eq(span_from(s, s.n - 5), SPAN("(fwd)")))
			return s;
		s.n -= 5;
		*reply = true;
	}
}

/* subj-blob: "[" *BLOBCHAR "]" *WSP.  False: none stands here. */
static bool
cut_blob(struct span *s)
{
	if (!s->n || s->p[0] != '[')
		return false;
	for (size_t i = 1; i < s->n; i++) {
		if (s->p[i] == '[')
			return false;
		if (s->p[i] == ']') {
			*s = skip_blanks(span_from(*s, i + 1));
			return true;
		}
	}
	return false;
}

/* subj-leader: *subj-blob ("re" / "fw" ["d"]) *WSP [subj-blob] ":" (3).  Blobs
 * are looked at once: `from` only grows. */
static bool
cut_leader(struct span *s)
{
	struct span from = skip_blanks(*s);

	while (cut_blob(&from))
		;
	if (span_starts(from, SPAN("re")))
		from = span_from(from, 2);
	else if (span_starts(from, SPAN("fwd")))
		from = span_from(from, 3);
	else if (span_starts(from, SPAN("fw")))
		from = span_from(from, 2);
	else
		return false;
	from = skip_blanks(from);
	(void)cut_blob(&from);
	if (!from.n || from.p[0] != ':')
		return false;
	*s = skip_blanks(span_from(from, 1));
	return true;
}

static struct span
cut_front(struct span s, bool *reply)
{
	for (;;) {
		struct span rest = s = skip_blanks(s);

		if (cut_leader(&s)) {
			*reply = true;
			continue;
		}
		/* (4): a blob goes if something stays behind it */
		if (!cut_blob(&rest) || !rest.n)
			return s;
		s = rest;
	}
}

bool
subject_base(struct span raw, struct buf *out)
{
	struct buf decoded, folded;
	bool reply = false;
	struct span s;

	buf_init(&decoded, 1 << 20);
	buf_init(&folded, 1 << 20);
	(void)word_decode(raw, &decoded);
	fold_text(buf_span(&decoded), &folded);
	buf_reset(&decoded);
	squeeze(buf_span(&folded), &decoded);
	s = buf_span(&decoded);
	for (;;) {
		s = cut_front(cut_trailers(s, &reply), &reply);
		if (s.n < 6 || !span_starts(s, SPAN("[fwd:")) || s.p[s.n - 1] != ']')
			break;
		s = span_sub(s, 5, s.n - 6); /* (6) */
		reply = true;
	}
	buf_put(out, s);
	buf_free(&decoded);
	buf_free(&folded);
	return reply;
}
