/* SPDX-License-Identifier: ISC */
#include <string.h>

#include "tests/unit/mailbox_fixture.h"

static struct session *
session_of(struct view *v)
{
	return v->owner;
}

static void
on_pending(struct view *v)
{
	session_of(v)->pending++;
}

static void
on_expunge(struct view *v, uint32_t seq, uint32_t uid)
{
	(void)uid;
	session_of(v)->expunged++;
	session_of(v)->last_seq = seq;
}

static void
on_exists(struct view *v, uint32_t count, uint32_t recent)
{
	session_of(v)->exists++;
	session_of(v)->last_count = count;
	session_of(v)->recent = recent;
}

static void
on_flags(struct view *v, uint32_t seq, const struct message *m)
{
	(void)m;
	session_of(v)->flags++;
	session_of(v)->last_seq = seq;
}

const struct view_events events = { on_expunge, on_exists, on_flags };

void
enter(struct session *s, struct fixture *f, const char *folder)
{
	struct fail why = { .text = "" };

	memset(s, 0, sizeof(*s));
	s->view.on_pending = on_pending;
	s->view.owner = s;
	if (!view_open(&s->view, f->store, span_str(folder), false, &why))
		fail_msg("%s", why.text);
}

void
turn_until(struct fixture *f, bool (*is)(void *), void *arg)
{
	for (int i = 0; i < 300 && !is(arg); i++)
		(void)loop_turn(f->loop, 10);
	assert_true(is(arg));
}

bool
has_pending(void *arg)
{
	return ((struct session *)arg)->pending > 0;
}
