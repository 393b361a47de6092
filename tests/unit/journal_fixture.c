/* SPDX-License-Identifier: ISC */
#include <stdio.h>
#include <string.h>

#include "tests/unit/journal_fixture.h"

void
on_event(void *arg, const struct fail *what)
{
	(void)what;
	((struct seen *)arg)->events++;
}

bool
on_record(void *arg, const struct journal_record *r)
{
	struct seen *s = arg;
	size_t n = strlen(s->heads);

	s->n++;
	if (s->j)
		journal_live(s->j, r->pos, 1);
	s->last = r->pos;
	if (n + r->head.n + 2 < sizeof(s->heads))
		(void)snprintf(s->heads + n, sizeof(s->heads) - n, "%.*s ", SPAN_ARG(r->head));
	return true;
}

struct journal *
open_on(struct memfs *fs, struct seen *seen)
{
	struct journal_options o = { .vfs = &fs->vfs, .dir = "j", .kind = "test", .segment_size = SEGMENT, .on_event = on_event, .arg = seen };
	struct fail why = { 0 };
	struct journal *j;

	*seen = (struct seen){ 0 };
	j = journal_open(&o, &why);
	if (!j)
		fail_msg("%s", why.text);
	seen->j = j;
	if (!journal_replay(j, on_record, seen, &seen->damaged, &why))
		fail_msg("%s", why.text);
	return j;
}

journal_pos
add_dead(struct journal *j, const char *head, size_t body)
{
	static char bytes[SEGMENT];
	struct journal_record r = { .type = 1, .head = span_str(head), .body = span_of(bytes, body) };
	struct fail why;
	journal_pos pos;

	memset(bytes, 'b', sizeof(bytes));
	if (!journal_append(j, &r, 0, NULL, &pos, &why))
		fail_msg("%s", why.text);
	return pos;
}

journal_pos
add(struct journal *j, const char *head, size_t body)
{
	journal_pos pos = add_dead(j, head, body);

	journal_live(j, pos, 1);
	return pos;
}
