/* SPDX-License-Identifier: ISC
 *
 * crash: keeps for userd, which has no file, how often users' mailbox processes
 * have crashed; told back on each new channel, before any ticket.
 */
#include "daemons/authd/authd.h"
#include "sys/box.h"

static bool
tell(void *arg, const struct crash_row *row)
{
	struct ipc_ticket_crashed m = { .user = row->user, .count = row->count, .last_ms = row->last_ms, .why = span_sub(row->why, 0, 63),
		.input = row->input };

	return ipc_send_ticket_crashed(arg, &m);
}

void
crash_tell(struct authd *a)
{
	struct fail why;

	if (!a->db || !a->ticket)
		return;
	if (!userdb_crashes(a->db, tell, a->ticket, &why))
		log_put(LOG_failure, "crashes: %s", why.text);
	(void)ipc_send_ticket_crashed(a->ticket, &(struct ipc_ticket_crashed){ .user = SPAN("") });
}

/* "program address" */
static bool
is_peer(struct span key)
{
	struct span program = span_cut(&key, ' ');
	struct box_name name;

	return program.n && span_chr(program, '@') == SIZE_MAX && box_name_parse(key, &name);
}

bool
crash_keep(struct authd *a, const struct ipc_ticket_crash *m)
{
	struct crash_row row = { .user = m->user, .count = m->count, .last_ms = m->last_ms, .why = m->why, .input = m->input };
	struct fail why = { .text = "authd is starting or stopping" };
	char name[USERDB_NAME + 1];

	if (!is_peer(m->user) && (!userdb_name(m->user, name, &why) || !span_eq(span_str(name), m->user)))
		return false;
	if (!a->db || !userdb_crash(a->db, &row, &why))
		log_put(LOG_failure, "crashes of %.*s are not kept: %s", SPAN_ARG(m->user), why.text);
	return true;
}
