/* SPDX-License-Identifier: ISC
 *
 * peers: for whom a program worked when it crashed stands in its page (sys/box.h). userd
 * counts and keeps, as it does for mailboxes; what it makes of a peer all processes of the program
 * are told, those that come later, too.  A crash is kept until userd has counted it.
 */
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "daemons/suited/suite.h"
#include "log/log.h"

static struct process *
userd_of(struct suite *s)
{
	for (unsigned i = 0; i < s->nprocesses; i++)
		if (strcmp(s->processes[i].row->name, "userd") == 0)
			return &s->processes[i];
	return NULL;
}

enum { CRASHES_MAX = 64 }; /* more of them while userd is away, and the oldest are forgotten */

static void
tell(struct process *p, struct box_name name, enum box_level level)
{
	char text[BOX_TEXT];

	if (p->ctl)
		(void)ipc_send_ctl_suspect(p->ctl, &(struct ipc_ctl_suspect){ .peer = box_name_text(name, text), .level = (uint8_t)level });
}

static void
report(struct process *userd, const struct crash *c)
{
	char peer[BOX_TEXT];
	struct ipc_ctl_crash m = { .id = c->id, .program = span_str(c->row->name), .peer = box_name_text(c->name, peer), .about = c->about,
		.why = span_str(c->why), .input = buf_span(&c->input) };

	if (userd && userd->ctl)
		(void)ipc_send_ctl_crash(userd->ctl, &m);
	else
		log_put(LOG_quarantine, "userd is away: it will hear of %.*s when it comes", SPAN_ARG(m.peer));
}

static void
crash_forget(struct suite *s, struct crash *c)
{
	list_remove(&c->node);
	buf_free(&c->input);
	free(c);
	s->ncrashes--;
}

static void
crash_counted(struct suite *s, uint64_t id)
{
	LIST_EACH(&s->crashes, it) {
		struct crash *c = OWNER_OF(it, struct crash, node);

		if (c->id == id)
			crash_forget(s, c);
	}
}

void
peers_arm(struct process *p)
{
	struct suite *s = p->suite;
	int fd;

	box_drop(&p->box);
	if (p == userd_of(s))
		LIST_EACH(&s->crashes, it)
			report(p, OWNER_OF(it, struct crash, node));
	if (!p->row->peers)
		return;
	p->box = box_make(&fd);
	if (p->box)
		(void)ipc_send_ctl_file(p->ctl, &(struct ipc_ctl_file){ .purpose = SPAN("box") }, fd);
	else
		log_put(LOG_degraded, "%s %s: no page for whom it works for: no peer is ever to blame", p->row->name, p->label);
	LIST_EACH(&s->peers, it) {
		const struct peer *peer = OWNER_OF(it, struct peer, node);

		if (peer->row == p->row)
			tell(p, peer->name, peer->level);
	}
}

static struct crash *
crash_new(struct process *p, const struct box_now *now, struct span why)
{
	struct suite *s = p->suite;
	struct crash *c = calloc(1, sizeof(*c));

	if (!c)
		return NULL;
	*c = (struct crash){ .row = p->row, .name = now->name, .id = ++s->last_crash, .about = now->about };
	(void)span_cstr(span_sub(why, 0, sizeof(c->why) - 1), c->why, sizeof(c->why));
	buf_init(&c->input, BOX_INPUT);
	list_push(&s->crashes, &c->node);
	if (++s->ncrashes > CRASHES_MAX)
		crash_forget(s, OWNER_OF(s->crashes.next, struct crash, node));
	return c;
}

/* What a page says only a crash makes true: that it crashed is maild's word. */
void
peers_ended(struct process *p, bool crashed, struct span why)
{
	struct box_now now, nobody = { .about = 0 };
	char peer[BOX_TEXT];
	struct crash *c;
	struct buf input;

	if (!p->box)
		return;
	buf_init(&input, BOX_INPUT);
	now = box_read(p->box, &input);
	box_drop(&p->box);
	if (crashed && memcmp(&now.name, &nobody.name, sizeof(now.name)) != 0) {
		log_put(LOG_quarantine, "%s %s crashed while it worked for %.*s", p->row->name, p->label, SPAN_ARG(box_name_text(now.name, peer)));
		if ((c = crash_new(p, &now, why))) {
			buf_put(&c->input, buf_span(&input));
			report(userd_of(p->suite), c);
		}
	}
	buf_free(&input);
}

static struct peer *
find(struct suite *s, const struct process_row *row, struct box_name name)
{
	LIST_EACH(&s->peers, it) {
		struct peer *peer = OWNER_OF(it, struct peer, node);

		if (peer->row == row && memcmp(&peer->name, &name, sizeof(name)) == 0)
			return peer;
	}
	return NULL;
}

/* userd keeps no more than BOX_PEERS of them. */
static void
note(struct suite *s, const struct process_row *row, struct box_name name, enum box_level level)
{
	struct peer *peer = find(s, row, name);

	if (peer && level == BOX_CLEAR) {
		list_remove(&peer->node);
		free(peer);
		s->npeers--;
	} else if (peer) {
		peer->level = level;
	} else if (level != BOX_CLEAR && s->npeers < BOX_PEERS && (peer = calloc(1, sizeof(*peer)))) {
		*peer = (struct peer){ .row = row, .name = name, .level = level };
		list_push(&s->peers, &peer->node);
		s->npeers++;
	}
}

bool
on_ctl_blame(struct channel *c, const struct ipc_ctl_blame *m)
{
	struct process *from = channel_owner(c);
	struct suite *s = from->suite;
	const struct process_row *row = NULL;
	struct box_name name;

	for (unsigned i = 0; i < s->nprocesses && !row; i++)
		if (s->processes[i].row->peers && span_eq(m->program, span_str(s->processes[i].row->name)))
			row = s->processes[i].row;
	if (from != userd_of(s) || !row || !box_name_parse(m->peer, &name))
		return false;
	if (m->crash)
		crash_counted(s, m->crash);
	note(s, row, name, (enum box_level)m->level);
	for (unsigned i = 0; i < s->nprocesses; i++)
		if (s->processes[i].row == row)
			tell(&s->processes[i], name, (enum box_level)m->level);
	return true;
}
